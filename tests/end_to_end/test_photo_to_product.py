"""Real grocery pictures to a store, and photos to products, offline."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from tests.making.colour_bundle import colour_bundle

from pocketlens import Filter, Lens, Verdict, index
from pocketlens.cli import main


@pytest.fixture(scope="module")
def catalogue(shared: Path) -> Path:
    return shared / "data" / "grocery" / "catalog.csv"


@pytest.fixture(scope="module")
def store(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grocery")
    (folder / "shop.tflite").write_bytes(colour_bundle())
    index(catalogue, model=folder / "shop.tflite", out=folder / "store")
    return folder / "store"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a connection fails."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def rows_of(catalogue: Path) -> list[dict[str, str]]:
    with catalogue.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def taken_again(path: Path) -> bytes:
    """The picture a little darker, smaller, with a border, compressed harder: as if taken anew."""
    with Image.open(path) as image:
        changed = image.convert("RGB")
    changed.thumbnail((200, 200))
    changed = ImageEnhance.Brightness(changed).enhance(0.92)
    data = io.BytesIO()
    changed.save(data, "JPEG", quality=60)
    return data.getvalue()


def test_pictures_taken_again_find_their_product(store: Path, catalogue: Path) -> None:
    rows = rows_of(catalogue)[::4]
    with Lens.open(store) as lens:
        found = [lens.search(taken_again(catalogue.parent / row["image"]), 3) for row in rows]

    right = [
        row["product_id"] in {each.product.id for each in answer.matches}
        for row, answer in zip(rows, found, strict=True)
    ]
    assert sum(right) >= 0.95 * len(rows)  # the model sees colours, and these hardly changed
    assert {answer.accelerator for answer in found} == {"cpu"}
    assert Verdict.MATCH in {answer.verdict for answer in found}
    assert all(0 < (answer.confidence or 0) < 1 for answer in found)
    assert all(answer.timings.decode_ms > 0 and answer.timings.embed_ms > 0 for answer in found)


def test_every_photo_gets_ten_different_products(store: Path, shared: Path) -> None:
    folder = shared / "data" / "grocery"
    photos = [folder / row["image"] for row in rows_of(folder / "photo_val.csv")[::29]]
    with Lens.open(store) as lens:
        for photo in photos:
            found = lens.search(photo, 10)
            assert len(found.matches) == 10
            assert len({match.product.id for match in found.matches}) == 10
            similarities = [match.similarity for match in found.matches]
            assert similarities == sorted(similarities, reverse=True)


def test_a_category_gives_only_its_products(store: Path, catalogue: Path) -> None:
    rows = rows_of(catalogue)
    apples = {row["product_id"] for row in rows if row["category"] == "Apple"}
    photo = catalogue.parent / rows[-1]["image"]
    with Lens.open(store) as lens:
        found = lens.search(photo, 100, filter=Filter(category="Apple"))

    shown = {match.product.id for match in found.matches}
    shown |= {each.id for match in found.matches for each in match.alternatives}
    assert shown == apples
    assert found.matches_in_filter == len(apples)


def test_every_kind_of_picture_gives_one_answer(store: Path, catalogue: Path) -> None:
    path = catalogue.parent / rows_of(catalogue)[0]["image"]
    with Image.open(path) as image:
        whole = image.convert("RGB")
    with Lens.open(store) as lens, path.open("rb") as file:
        answers = [lens.search(each, 3) for each in (path, str(path), path.read_bytes(), file)]
        decoded = [lens.search(each, 3) for each in (whole, np.asarray(whole))]

    assert len({tuple(m.product.id for m in each.matches) for each in answers}) == 1
    for each in (*answers, *decoded):  # whole pixels are averaged otherwise than scaled ones
        assert each.matches[0].product.id == answers[0].matches[0].product.id


def test_box_searches_a_part_of_the_photo(store: Path, catalogue: Path) -> None:
    rows = rows_of(catalogue)
    left, right = (catalogue.parent / rows[number]["image"] for number in (2, 40))
    photo = Image.new("RGB", (400, 200), "white")
    for place, path in enumerate((left, right)):
        with Image.open(path) as image:
            photo.paste(image.convert("RGB").resize((200, 200)), (200 * place, 0))
    with Lens.open(store) as lens:
        for place, path in enumerate((left, right)):
            with Image.open(path) as image:
                alone = lens.search(image.convert("RGB").resize((200, 200)), 1)
            boxed = lens.search(photo, 1, box=(200 * place, 0, 200 * place + 200, 200))
            assert boxed.matches[0].product.id == alone.matches[0].product.id
            assert boxed.matches[0].similarity == pytest.approx(
                alone.matches[0].similarity, abs=0.02
            )


def test_threads_share_a_lens(store: Path, catalogue: Path) -> None:
    photos = [catalogue.parent / row["image"] for row in rows_of(catalogue)[:24]]
    with Lens.open(store) as lens, ThreadPoolExecutor(4) as pool:
        together = [each.matches[0] for each in pool.map(lens.search, photos)]
        alone = [lens.search(each).matches[0] for each in photos]

    assert together == alone


def test_command_answers_people_and_programs(
    store: Path, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = rows_of(catalogue)[5]
    photo = str(catalogue.parent / row["image"])

    assert main(["search", str(store), photo, "-k", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["search", str(store), photo, photo, "-k", "3", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)

    best = first["matches"][0]
    verdict = first["verdict"].upper().replace("_", " ")
    assert lines[0].startswith(verdict)
    assert f"{row['title']} ({row['product_id']})" in lines[0]
    assert lines[1].split() == ["#", "product", "price", "similarity", "image"]
    assert len([line for line in lines[2:] if line.lstrip()[0].isdigit()]) == 3
    assert (best["product"]["id"], best["image"]["id"]) == (row["product_id"], row["image"])
    assert best["rank"] == 1
    assert first["matches"] == second["matches"]
    assert first["gallery_size"] == 81


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to become another")
def test_store_opens_from_a_read_only_folder_as_an_ordinary_user(
    store: Path, catalogue: Path, tmp_path: Path
) -> None:
    writable = shutil.copytree(store, tmp_path / "writable")
    store = shutil.copytree(store, tmp_path / "store")
    folders = [store, *(path for path in store.rglob("*") if path.is_dir())]
    for path in store.rglob("*"):
        path.chmod(0o444 if path.is_file() else 0o555)
    store.chmod(0o555)
    traversed = [parent for parent in store.parents if not parent.stat().st_mode & stat.S_IXOTH]
    modes = [parent.stat().st_mode for parent in traversed]
    for parent in traversed:
        parent.chmod(0o755)
    photo = catalogue.parent / rows_of(catalogue)[5]["image"]
    script = (  # the first search loads what may lie where only root reads
        "import os, sys, pocketlens\n"
        "data = sys.stdin.buffer.read()\n"
        "with pocketlens.Lens.open(sys.argv[2]) as lens: lens.search(data)\n"
        "os.setuid(65534)\n"
        "assert not os.access(sys.argv[1], os.W_OK)\n"
        "with pocketlens.Lens.open(sys.argv[1]) as lens: found = lens.search(data)\n"
        "print(found.matches[0].image.id)\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(store), str(writable)],
            input=photo.read_bytes(),
            capture_output=True,
            check=False,
        )
    finally:
        for parent, mode in zip(traversed, modes, strict=True):
            parent.chmod(mode)
        for folder in folders:
            folder.chmod(0o755)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().strip() == rows_of(catalogue)[5]["image"]
