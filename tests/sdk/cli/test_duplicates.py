"""`pocketlens duplicates` and `report`: JSON alone on stdout, files, usage."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from PIL import Image
from tests.making.copies import ALTERATIONS, CopyShop, jpeg, picture, write_shop

from pocketlens import index
from pocketlens.cli import main


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> CopyShop:
    pictures = {f"image-{n}": jpeg(picture(n)) for n in range(4)}
    pictures |= {"twin": jpeg(picture(0)), "flipped": jpeg(ALTERATIONS["mirrored"](picture(1)))}
    return write_shop(tmp_path_factory.mktemp("catalogue"), pictures)


def test_json_has_every_group(shop: CopyShop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["duplicates", str(shop.store), str(shop.list), "--json"]) == 0

    said = json.loads(capsys.readouterr().out)
    assert (said["images"], said["pictures"], said["version"]) == (6, 6, 1)
    assert [image["id"] for image in said["exact"][0]["images"]] == ["image-0", "twin"]
    (near,) = said["near"]
    assert [image["id"] for image in near["images"]] == ["image-1", "flipped"]
    assert near["images"][0]["product_ids"] == ["product-image-1"]
    assert (near["kind"], near["products"]) == ("near", 2)
    assert Path(near["images"][0]["path"]).exists()


def test_people_get_counts_and_a_table(shop: CopyShop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["duplicates", str(shop.store), str(shop.list)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "the same bytes: 1 groups of 2 images"
    assert lines[1] == "one picture, altered: 1 groups of 2 images"
    assert any(line.startswith("exact") and "image-0, twin" in line for line in lines)


def test_sheet_is_a_picture(
    shop: CopyShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"

    assert main(["duplicates", str(shop.store), str(shop.list), "--sheet", str(sheet)]) == 0

    with Image.open(io.BytesIO(sheet.read_bytes())) as drawn:
        assert drawn.format == "PNG"
        assert drawn.height > 200


def test_sheet_without_pictures_is_wrong_usage(
    shop: CopyShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["duplicates", str(shop.store), "--sheet", str(tmp_path / "s.png")]) == 2

    assert not (tmp_path / "s.png").exists()


def test_photos_are_answered_and_a_broken_one_reported(
    shop: CopyShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, broken, other = tmp_path / "photo.jpg", tmp_path / "broken.jpg", tmp_path / "other.jpg"
    photo.write_bytes(jpeg(ALTERATIONS["cropped"](picture(2))))
    broken.write_bytes(b"no picture")
    other.write_bytes(jpeg(picture(50)))
    asked = [part for each in (photo, broken, other) for part in ("--photo", str(each))]

    assert main(["duplicates", str(shop.store), str(shop.list), *asked, "--json"]) == 1

    first, second, third = json.loads(capsys.readouterr().out)
    assert (first["kind"], first["seen"][0]["image"]["id"]) == ("near", "image-2")
    assert second["error"]["type"] == "PictureFormat"
    assert third["kind"] is None
    assert main(["duplicates", str(shop.store), str(shop.list), *asked]) == 1
    printed = capsys.readouterr()
    assert "OURS, altered: image-2 of product-image-2" in printed.out
    assert "not ours; nearest is" in printed.out
    assert str(broken) in printed.err


def test_report_is_written(
    shop: CopyShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"

    assert main(["report", str(shop.store), str(shop.list), "--out", str(page), "--json"]) == 0

    said = json.loads(capsys.readouterr().out)
    assert (said["images"], said["products"]) == (6, 6)
    assert len(said["duplicates"]["exact"]) == 1
    assert set(said["table_bytes"]) >= {"images", "products"}
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_report_of_a_folder_with_a_name_that_is_no_text(
    shop: CopyShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    products = tmp_path / "products" / "mug"
    products.mkdir(parents=True)
    (products / "a.jpg").write_bytes(jpeg(picture(1)))
    try:
        (products / os.fsdecode(b"note\xff.txt")).write_bytes(b"no picture")
    except OSError:
        pytest.skip("the file system takes no such name")
    store, page = tmp_path / "store", tmp_path / "report.html"
    index(products.parent, model=shop.list.parent / "colours.tflite", out=store)

    assert main(["report", str(store), str(products.parent), "--out", str(page)]) == 0

    assert "is no picture; left out" in page.read_text()
    assert "problem: " in capsys.readouterr().err


def test_report_without_a_place_to_go_is_wrong_usage(shop: CopyShop) -> None:
    assert main(["report", str(shop.store)]) == 2


@pytest.mark.parametrize("command", ["duplicates", "report"])
def test_missing_store_is_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(tmp_path), "--json"]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"There is no store in {tmp_path}" in printed.err
