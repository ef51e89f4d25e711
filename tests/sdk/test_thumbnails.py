"""Thumbnails in a store: made by `index`, shown by results, missed by no search."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
import dataclasses
import gc
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle, fields
from tests.making.shops import make_shop, product_row, write_csv

from pocketlens import Lens, index
from pocketlens.cli import main
from pocketlens.description import describe
from pocketlens.errors import StoreError, StoreFull
from pocketlens.formats.thumbnail_pack import ENTRY_BYTES, key_of, pack_bytes
from pocketlens.indexing import IndexReport
from pocketlens.products import Image as CatalogueImage
from pocketlens.store import installs, thumbnails
from pocketlens.store.reader import Reader
from pocketlens.store.thumbnails import Thumbnails, ThumbnailWriter
from pocketlens.store.verification import verify

PRODUCTS = 6


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder list of pictures, and `shop.tflite` beside it."""
    folder, rng = tmp_path / "shop", np.random.default_rng(2)
    for number in range(PRODUCTS):
        (folder / f"p{number}").mkdir(parents=True)
        Image.fromarray(fields(rng)).resize((200, 200)).save(folder / f"p{number}/front.png")
    (tmp_path / "shop.tflite").write_bytes(colour_bundle())
    return folder


def made(shop: Path, name: str = "store", *, drawn: bool = True) -> IndexReport:
    directory = shop.parent / name
    return index(shop, model=shop.parent / "shop.tflite", out=directory, thumbnails=drawn)


def pack_of(directory: Path) -> Path:
    (path,) = installs.current(directory).glob(f"*{thumbnails.SUFFIX}")
    return path


def size_of(data: bytes | None) -> tuple[int, int]:
    assert data is not None
    image = Image.open(io.BytesIO(data))
    assert image.format == "WEBP"
    return image.size


def test_a_match_shows_its_image(shop: Path) -> None:
    report = made(shop)

    with Lens.open(report.directory) as lens:
        found = lens.search(shop / "p3/front.png", k=2)
        first, second = (match.image for match in found.matches)
        assert first.id == "p3/front.png"
        assert size_of(first.thumbnail()) == (128, 128)
        assert first.thumbnail() == lens.thumbnail("p3/front.png") != second.thumbnail()
        assert found.best is not None
        assert found.best.image.thumbnail() == first.thumbnail()
        assert lens.thumbnail("no such image") is None
    assert (report.thumbnails, report.thumbnail_bytes) == (
        PRODUCTS,
        pack_of(report.directory).stat().st_size,
    )
    assert verify(report.directory).is_whole
    assert not list(report.directory.rglob("*.tmp"))


def test_without_the_option_there_are_none(shop: Path) -> None:
    report = made(shop, drawn=False)

    with Lens.open(report.directory) as lens:
        assert lens.search(shop / "p3/front.png").matches[0].image.thumbnail() is None
        assert lens.thumbnail("p3/front.png") is None
    assert (report.thumbnails, report.thumbnail_bytes) == (0, 0)
    assert not list(report.directory.rglob(f"*{thumbnails.SUFFIX}"))
    assert (
        b"thumbnail_packs" not in (installs.current(report.directory) / "store.sqlite").read_bytes()
    )


def test_results_stay_values(shop: Path) -> None:
    report = made(shop)
    with Lens.open(report.directory) as lens:
        match = lens.search(shop / "p3/front.png").matches[0]
    plain = CatalogueImage("p3/front.png")

    assert match.image == plain
    assert hash(match.image) == hash(plain)
    assert repr(match.image) == repr(plain)
    assert dataclasses.asdict(match.image) == {"id": "p3/front.png", "url": ""}
    for same in (pickle.loads(pickle.dumps(match.image)), copy.deepcopy(match.image)):  # noqa: S301
        assert same == match.image
        assert same.thumbnail() is None
    assert dataclasses.replace(match.image, url="x").thumbnail() is None


def test_what_was_found_is_shown_when_the_lens_has_moved_on_or_closed(shop: Path) -> None:
    directory = made(shop).directory
    lens = Lens.open(directory)
    image = lens.search(shop / "p3/front.png").matches[0].image
    before = image.thumbnail()
    shutil.copy(shop / "p4/front.png", shop / "p3/front.png")

    made(shop)
    assert lens.refresh()

    assert image.thumbnail() == before  # of the store that was searched, whose install is gone
    now = lens.thumbnail("p3/front.png")
    assert now == lens.thumbnail("p4/front.png") != before
    lens.close()
    assert image.thumbnail() == before
    with pytest.raises(StoreError, match="closed"):
        lens.thumbnail("p3/front.png")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's list of open files")
def test_files_are_closed_with_the_last_result(shop: Path) -> None:
    directory = made(shop).directory
    with Lens.open(directory) as lens:
        image = lens.search(shop / "p3/front.png").matches[0].image

    def opened() -> list[str]:
        links = [each.resolve() for each in Path("/proc/self/fd").iterdir()]
        return [str(link) for link in links if link == pack_of(directory)]

    assert len(opened()) == 1
    del image
    gc.collect()
    assert opened() == []


def test_given_vectors_pictures_that_are_there_are_drawn(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", products=4)
    rows = [product_row(number) for number in (0, 1, 2)]
    rows.append({**product_row(2), "product_id": "another"})  # an image of two products
    write_csv(shop.list, rows)
    (tmp_path / "shop/pictures").mkdir()
    for number, data in ((0, b"no picture"), (2, None)):
        path = tmp_path / "shop" / rows[number]["image"]
        if data is None:
            Image.new("RGB", (60, 40), "red").save(path)
        else:
            path.write_bytes(data)
    stages = []

    report = index(
        shop.list,
        model=shop.bundle,
        vectors=shop.vectors,
        out=tmp_path / "s",
        thumbnails=True,
        progress=lambda *step: stages.append(step),
    )

    assert (report.images, report.thumbnails) == (3, 1)
    assert [(each.line, each.what.endswith("has no thumbnail.")) for each in report.problems] == [
        (2, True),
        (3, True),
    ]
    assert stages[0][0] == "thumbnails"
    with Lens.open(tmp_path / "s") as lens:
        assert size_of(lens.thumbnail(rows[2]["image"])) == (60, 40)
        assert lens.thumbnail(rows[0]["image"]) is None
    assert verify(tmp_path / "s").is_whole


def test_a_list_whose_pictures_are_all_gone_has_no_pack(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", products=3)

    report = index(
        shop.list, model=shop.bundle, vectors=shop.vectors, out=tmp_path / "s", thumbnails=True
    )

    assert (report.images, report.thumbnails, len(report.problems)) == (3, 0, 3)
    assert not list((tmp_path / "s").rglob("*thumbnails*"))
    assert verify(tmp_path / "s").is_whole


def test_a_picture_that_cannot_be_read_is_left_out_with_its_thumbnail(shop: Path) -> None:
    (shop / "p1/front.png").write_bytes(b"no picture")

    report = made(shop)

    assert (report.images, report.thumbnails) == (PRODUCTS - 1, PRODUCTS - 1)


def test_a_damaged_thumbnail_is_none_and_told(shop: Path) -> None:
    directory = made(shop).directory
    pack = pack_of(directory)
    with Lens.open(directory) as lens:
        whole = {f"p{n}/front.png": lens.thumbnail(f"p{n}/front.png") for n in range(PRODUCTS)}
    data = bytearray(pack.read_bytes())
    place = data.index(whole["p3/front.png"] or b"-")
    data[place + 20] ^= 1
    pack.write_bytes(data)

    with Lens.open(directory) as lens:
        assert lens.search(shop / "p3/front.png").matches[0].image.thumbnail() is None
        assert lens.thumbnail("p2/front.png") == whole["p2/front.png"]
    found = verify(directory)
    assert len(found.findings) == 1
    assert "(1 of 6)" in found.findings[0]
    assert "pocketlens index --thumbnails" in found.findings[0]


@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "another file", "a folder"])
def test_no_search_minds_a_pack_that_is_none(shop: Path, damage: str) -> None:
    directory = made(shop).directory
    pack = pack_of(directory)
    data = pack.read_bytes()
    pack.unlink()
    if damage == "a folder":
        pack.mkdir()
    elif damage != "missing":
        pack.write_bytes({"cut": data[:-100], "empty": b""}.get(damage, b"something else"))

    with Lens.open(directory) as lens:
        found = lens.search(shop / "p3/front.png")
        assert found.matches[0].product.id == "p3"
        assert found.matches[0].image.thumbnail() is None
    assert len(verify(directory).findings) == 1
    assert describe(directory).thumbnails.count == 0


def test_any_flipped_bit_shows_a_whole_thumbnail_or_none(tmp_path: Path) -> None:
    with ThumbnailWriter(tmp_path) as writer:
        for number in range(5):
            writer.put(f"image {number}", bytes([number]) * 9)
        (sha256,) = writer.finish()
    path = thumbnails.pack_path(tmp_path, sha256)
    data = path.read_bytes()

    for place in range(len(data) * 8):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        shown = Thumbnails(tmp_path, [sha256])
        for number in range(5):
            assert shown.of(f"image {number}") in (bytes([number]) * 9, None)
        assert len(list(thumbnails.findings(tmp_path, [sha256]))) == 1
    path.write_bytes(data)
    assert list(thumbnails.findings(tmp_path, [sha256])) == []


def test_a_pack_that_is_cut_while_it_is_read_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThumbnailWriter(tmp_path) as writer:
        for number in range(5):
            writer.put(f"image {number}", bytes([number]) * 9)
        (sha256,) = writer.finish()
    read = os.pread

    def cut(descriptor: int, size: int, offset: int) -> bytes:
        if size == 5 * ENTRY_BYTES:  # that there are so many was read already
            os.truncate(thumbnails.pack_path(tmp_path, sha256), offset + size // 2 + 7)
        return read(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", cut)
    shown = Thumbnails(tmp_path, [sha256])
    assert {shown.of(f"image {number}") for number in range(5)} == {None}
    assert shown.facts.count == 0


def test_the_newest_pack_goes_first(tmp_path: Path) -> None:
    packs = []
    for text in (b"old", b"new"):
        with ThumbnailWriter(tmp_path) as writer:
            writer.put("image", text)
            writer.put(f"only {text.decode()}", text)
            packs += writer.finish()

    shown = Thumbnails(tmp_path, packs)

    assert shown.of("image") == b"new"
    assert (shown.of("only old"), shown.of("only new")) == (b"old", b"new")
    assert shown.facts.count == 3


def test_threads_read_one_pack(shop: Path) -> None:
    directory = made(shop).directory
    names = [f"p{n % PRODUCTS}/front.png" for n in range(200)]
    with Lens.open(directory) as lens:
        alone = {name: lens.thumbnail(name) for name in names}
    with Lens.open(directory) as lens, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lens.thumbnail, names)) == [alone[name] for name in names]


def test_an_exported_store_is_copied_with_its_thumbnails(shop: Path, tmp_path: Path) -> None:
    directory = made(shop).directory

    installs.copy(directory, tmp_path / "copy")

    with Reader.open(tmp_path / "copy") as copied, Reader.open(directory) as reader:
        assert copied.thumbnails.of("p1/front.png") == reader.thumbnails.of("p1/front.png")
        assert copied.thumbnails.of("p1/front.png") is not None


def test_a_full_disk_leaves_the_store_as_it_was(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = made(shop).directory
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}

    def full(self: Path, *_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", full)
        with pytest.raises(StoreFull):
            made(shop)

    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(os.name != "posix", reason="has no SIGKILL")
def test_an_index_that_is_killed_while_it_draws_leaves_the_store_as_it_was(shop: Path) -> None:
    made(shop)
    store, pack = shop.parent / "store", pack_of(shop.parent / "store")
    for number in range(100):
        shutil.copytree(shop / "p0", shop / f"more{number}")
    program = "import sys; from pocketlens.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "index", str(shop), "--out", str(store)]
    command += ["--model", str(shop.parent / "shop.tflite"), "--thumbnails"]

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(store.rglob(f".*{thumbnails.SUFFIX}.tmp")):
        time.sleep(0.001)
    process.kill()

    assert process.wait() == -signal.SIGKILL
    assert list(store.rglob(f".*{thumbnails.SUFFIX}.tmp"))
    assert (pack_of(store), verify(store).is_whole) == (pack, True)
    assert made(shop).thumbnails == PRODUCTS + 100
    assert not list(store.rglob(f".*{thumbnails.SUFFIX}.tmp"))
    assert len(list(store.rglob(f"*{thumbnails.SUFFIX}"))) == 1


def test_commands_tell_of_them(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, out = shop.parent / "store", shop.parent / "out"
    model = str(shop.parent / "shop.tflite")
    assert main(["index", str(shop), "--model", model, "--out", str(store), "--thumbnails"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("6 thumbnails (")
    assert main(["info", str(store)]) == 0
    assert "thumbnails   6, " in capsys.readouterr().out
    assert main(["info", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["thumbnails"] == {
        "count": 6,
        "size_bytes": pack_of(store).stat().st_size,
    }
    out.mkdir()
    (out / "009-01.webp").write_bytes(b"of an earlier search")
    (out / "mine.webp").write_bytes(b"of somebody else")
    photos = [str(shop / "p3/front.png"), str(shop / "none.png"), str(shop / "p4/front.png")]

    assert main(["search", str(store), *photos, "-k", "2", "--thumbnails", str(out)]) == 1

    names = {path.name for path in out.iterdir()}
    assert names == {"001-01.webp", "001-02.webp", "003-01.webp", "003-02.webp", "mine.webp"}
    with Lens.open(store) as lens:
        assert (out / "003-01.webp").read_bytes() == lens.thumbnail("p4/front.png")


def test_a_thumbnail_that_is_no_picture_ends_no_explanation(shop: Path) -> None:
    made(shop)
    store, file = shop.parent / "store", shop.parent / "why.png"
    with Lens.open(store) as lens:
        image = lens.search(shop / "p0/front.png").matches[0].image
    pack_of(store).write_bytes(pack_bytes({key_of(image.id): b"no picture"}))

    assert main(["search", str(store), str(shop / "p0/front.png"), "--explain", str(file)]) == 0

    with Image.open(file) as drawn:
        assert drawn.format == "PNG"


def test_search_says_when_the_store_has_none(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(shop, drawn=False)
    capsys.readouterr()

    arguments = ["search", str(shop.parent / "store"), str(shop / "p3/front.png")]
    assert main([*arguments, "--thumbnails", str(shop.parent / "out")]) == 1

    assert "has no thumbnails" in capsys.readouterr().err
    assert not (shop.parent / "out").exists()
