"""Rot, cuts, deletions and kills: a damaged store says so or answers as if it were whole.

The short form of what a full run does with thousands of flips: set POCKETLENS_FLIPS to choose.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.making.shops import Shop, make_shop

from pocketlens.errors import (
    BundleError,
    PocketLensError,
    StoreCorrupt,
    StoreError,
    StoreNotFound,
)
from pocketlens.formats import bundle as bundles
from pocketlens.indexing import index
from pocketlens.store import database, installs
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify

FLIPS = int(os.environ.get("POCKETLENS_FLIPS", "200"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("torn"), products=60, images_each=2)


@pytest.fixture(scope="module")
def whole(shop: Shop) -> Path:
    directory = shop.list.parent / "whole"
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=directory)
    return directory


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "s")


def answers(directory: Path) -> object:
    """Everything that a search, with filters or without, can learn from a store."""
    with Reader.open(directory) as reader:
        facts = reader.facts
        keys = np.arange(1, facts.max_image_key + 1, dtype=np.uint32)
        columns = reader.columns()
        return (
            facts.generation,
            facts.version,
            facts.as_of,
            facts.probes,
            facts.scale.tobytes(),
            reader.centroids().tobytes(),
            [tuple(each.tobytes() for each in reader.read_list(n)) for n in range(facts.lists)],
            reader.codes_of(keys).tobytes(),
            reader.images(keys.tolist()),
            reader.products(range(1, facts.max_product_key + 1)),
            columns.keys.tobytes(),
            columns.categories.tobytes(),
            columns.category_names,
            columns.prices.tobytes(),
            columns.currencies.tobytes(),
            columns.stock.tobytes(),
            columns.link_image_keys.tobytes(),
            columns.link_product_keys.tobytes(),
            [reader.products_with("colour", c).tobytes() for c in ("red", "green", "pink")],
            [reader.products_with("size", str(size)).tobytes() for size in range(5)],
            bundles.decode(reader.bundle_path.read_bytes()).spec,
        )


def noticed_or_identical(directory: Path, expected: object) -> bool:
    """Whether damage was noticed; fails if an answer differs or another error escapes."""
    try:
        found = answers(directory)
    except (StoreError, BundleError):
        return True
    except FileNotFoundError as exc:
        assert exc.filename.endswith(".tflite")  # noqa: PT017 # the Lens says so as StoreCorrupt
        return True
    assert found == expected, "a damaged store gave another answer"
    return False


def test_every_flipped_bit_of_the_database_is_noticed_or_changes_nothing(
    whole: Path, store: Path
) -> None:
    expected = answers(whole)
    path = installs.current(store) / database.FILE_NAME
    data = path.read_bytes()
    rng = np.random.default_rng(9)
    noticed = 0
    for place in rng.integers(0, 8 * len(data), FLIPS):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        noticed += noticed_or_identical(store, expected)

    assert noticed > FLIPS / 10  # most of a small store's pages are empty


def test_every_flipped_bit_of_the_head_is_noticed_or_changes_nothing(
    whole: Path, store: Path
) -> None:
    expected = answers(whole)
    path = installs.current(store) / database.FILE_NAME
    data = path.read_bytes()
    for place in range(0, 8 * 100, 5):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        noticed_or_identical(store, expected)


def test_every_flipped_bit_of_current_and_bundle_is_noticed(whole: Path, store: Path) -> None:
    expected = answers(whole)
    for path in (store / "CURRENT", next((store / "files").iterdir())):
        data = path.read_bytes()
        for place in range(0, 8 * len(data), 8 * len(data) // 60):
            damaged = bytearray(data)
            damaged[place // 8] ^= 1 << (place % 8)
            path.write_bytes(damaged)
            assert noticed_or_identical(store, expected), f"{path.name}, bit {place}"
        path.write_bytes(data)


def test_every_cut_is_noticed_or_changes_nothing(whole: Path, store: Path) -> None:
    expected = answers(whole)
    for path in [each for each in store.rglob("*") if each.is_file() and each.stat().st_size]:
        data = path.read_bytes()
        for size in np.linspace(0, len(data) - 1, 25).astype(int):
            path.write_bytes(data[:size])
            assert noticed_or_identical(store, expected), f"{path.name} cut to {size}"
        path.write_bytes(data)


def test_pages_overwritten_or_swapped_are_noticed_or_change_nothing(
    whole: Path, store: Path
) -> None:
    expected = answers(whole)
    path = installs.current(store) / database.FILE_NAME
    data = path.read_bytes()
    pages = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    for number in range(1, len(pages)):
        for other in (bytes(4096), pages[-number]):
            path.write_bytes(b"".join([*pages[:number], other, *pages[number + 1 :]]))
            noticed_or_identical(store, expected)


def test_every_deleted_file_is_noticed(whole: Path, store: Path) -> None:
    expected = answers(whole)
    for path in [each for each in store.rglob("*") if each.is_file() and each.name != "lock"]:
        data = path.read_bytes()
        path.unlink()
        assert noticed_or_identical(store, expected), path.name
        path.write_bytes(data)


def test_verify_finds_rot_and_index_heals_it(shop: Shop, whole: Path, store: Path) -> None:
    path = installs.current(store) / database.FILE_NAME
    title = b"Thing number 33"  # every copy: SQLite may have left an old one in a page's free room
    path.write_bytes(path.read_bytes().replace(title, b"U" + title[1:]))
    assert not verify(store).is_whole

    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=store)

    assert verify(store).is_whole


INDEX = """
import sys
from pathlib import Path
from pocketlens.indexing import index
shop, out = Path(sys.argv[1]), Path(sys.argv[2])
def tell(stage, done, total):
    print(stage, flush=True)
print("started", flush=True)
index(shop / "list.csv", vectors=shop / "vectors.npy", model=shop / "shop.tflite", out=out,
      progress=tell)
print("done", flush=True)
"""

KILLS = [("started", 0.0), ("reading", 0.0), ("clustering", 0.0), ("encoding", 0.0)]
KILLS += [("writing", delay) for delay in (0.0, 0.02, 0.04, 0.06, 0.08, 0.12)]


@pytest.mark.parametrize("exists", [True, False], ids=["over a store", "into a new folder"])
def test_a_killed_index_harms_nothing_and_the_next_one_cleans_up(
    shop: Shop, whole: Path, tmp_path: Path, *, exists: bool
) -> None:
    directory = tmp_path / "s"
    if exists:
        shutil.copytree(whole, directory)
    larger = make_shop(tmp_path / "larger", products=1500)
    old, ends = answers(whole), []
    for stage, delay in KILLS if exists else KILLS[::3]:
        killed_at(larger.list.parent, directory, stage, delay)
        ends.append(outcome(directory, old))

    assert set(ends) <= ({"old", "new"} if exists else {"none", "new"})
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=directory)
    assert verify(directory).is_whole
    assert len(list((directory / "installs").iterdir())) == 1
    assert len(list((directory / "files").iterdir())) == 1
    assert sorted(each.name for each in directory.iterdir()) == [
        "CURRENT",
        "cache",
        "files",
        "installs",
        "lock",
    ]


def killed_at(shop: Path, directory: Path, stage: str, delay_s: float) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INDEX, str(shop), str(directory)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.decode().strip() == stage:
                break
        time.sleep(delay_s)  # the moment of the kill, not a wait for anything
        process.kill()


def outcome(directory: Path, old: object) -> str:
    try:
        facts_and_more = answers(directory)
    except StoreNotFound:
        return "none"
    except StoreCorrupt:
        # Killed before the first CURRENT, behind the install that it would have named: there is no
        # store either, and the error says what makes one.
        assert not (directory / "CURRENT").exists()
        return "none"
    if facts_and_more == old:
        return "old"
    return "new" if verify(directory).is_whole else "mixed"


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small file system")
def test_a_full_disk_harms_nothing(
    shop: Shop, whole: Path, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    old = answers(whole)
    room = sum(each.stat().st_size for each in whole.rglob("*")) + 64 * 1024
    directory = shutil.copytree(whole, small_disk(room) / "s")
    larger = make_shop(tmp_path / "larger", products=3000)

    with pytest.raises(PocketLensError, match="No room"):
        index(larger.list, vectors=larger.vectors, model=larger.bundle, out=directory)

    assert answers(directory) == old
    assert not list((directory / "installs").glob(".*"))
