"""Lists of Vision Product Search: what is read, what is refused at its place, what is reported."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.making.pictures import drawn, encoded
from tests.making.vision_files import row, vision_csv, written

from pocketlens import image_lists
from pocketlens.errors import CatalogError, ImageListError, PictureError, PictureTooLarge
from pocketlens.image_lists import Problem
from pocketlens.options import PictureLimits
from pocketlens_server.catalogue.cropping import Area, cropped
from pocketlens_server.catalogue.vision_lists import (
    COLUMNS,
    is_vision,
    iterate,
    read,
    read_any,
)

HEADER = ",".join(COLUMNS)
UNHURRIED = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


def listed(folder: Path, *rows: list[str]) -> Path:
    return written(folder / "products.csv", rows)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(drawn(16, 16)))
    return path


# --- telling the forms apart --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_theirs"),
    {
        "a line of theirs": ("gs://b/a.jpg,,s,p,toys,,,\n", True),
        "quoted": ('"gs://b/a.jpg","","s","p","toys","","",""\n', True),
        "with a byte order mark": ("\ufeffgs://b/a.jpg,,s,p,toys,,,\n", True),
        "too few cells": ("gs://b/a.jpg,p\n", True),
        "with a header": (f"{HEADER}\n", True),
        "ours": ("image,product_id\na.jpg,p\n", False),
        "ours with a column of theirs": ("image-uri,image,product_id\nx,a.jpg,p\n", False),
        "ours with a picture of that name": ("image,product_id\ngs://b/a.jpg,p\n", False),
        "something else": ("sku,picture\n1,gs://b/a.jpg\n", False),
        "broken": ('"gs://b/a.jpg\n', False),
        "empty": ("", False),
    }.values(),
)
def test_the_first_line_says_which_form_a_list_has(
    text: str, is_theirs: bool, tmp_path: Path
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text, "utf-8")

    assert is_vision(path) == is_theirs


def test_a_folder_or_nothing_is_no_list_of_theirs(tmp_path: Path) -> None:
    assert not is_vision(tmp_path)
    assert not is_vision(tmp_path / "absent.csv")


# --- what is read -------------------------------------------------------------------------------


def test_every_column_is_read(tmp_path: Path) -> None:
    file = picture(tmp_path / "a" / "1.jpg")
    path = listed(
        tmp_path,
        row(
            "gs://b/a/1.jpg",
            "i1",
            "summer",
            "bag",
            "apparel-v2",
            "Bag, tan",
            "color=tan,style=formal,style=mens",
            "0.1,0.2,0.9,0.2,0.9,0.8,0.1,0.8",
        ),
    )

    found = read(path)

    (entry,) = found.images.entries
    assert (entry.path, entry.image.id, entry.image.url) == (file, "i1", "")
    assert (entry.product_ids, entry.line) == (("bag",), 1)
    product = found.images.products["bag"]
    assert (product.title, product.category) == ("Bag, tan", "apparel-v2")
    assert (product.url, product.price, product.stock) == ("", None, None)
    assert dict(product.attributes) == {
        "color": "tan",
        "style": "formal, mens",
        "product-set": "summer",
    }
    assert found.areas == {"i1": Area(0.1, 0.2, 0.9, 0.8, is_normalized=True)}
    assert (found.missing, found.images.problems) == ({}, ())


@pytest.mark.parametrize(
    ("polygon", "area"),
    {
        "none": ("", None),
        "blank": ("  ", None),
        "shares": ("0.1,.2,1,0.2,1.,8e-1", Area(0.1, 0.2, 1, 0.8, is_normalized=True)),
        "pixels": ("100,150,450,150,450,550", Area(100, 150, 450, 550, is_normalized=False)),
        "blanks between": ("1, 2, 30, 40", Area(1, 2, 30, 40, is_normalized=False)),
        "a triangle": ("10,50,30,10,50,50", Area(10, 10, 50, 50, is_normalized=False)),
        "two corners": ("0.5,0.6,0.1,0.2", Area(0.1, 0.2, 0.5, 0.6, is_normalized=True)),
        "whole numbers to 1": ("0,0,1,0,1,1,0,1", Area(0, 0, 1, 1, is_normalized=True)),
    }.values(),
)
def test_a_polygon_is_its_box(polygon: str, area: Area | None, tmp_path: Path) -> None:
    path = listed(tmp_path, row(polygon=polygon))

    (line,) = iterate(path, [])

    assert line.area == area


def test_a_polygon_may_stand_without_quotes_as_in_googles_examples(tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_text('gs://b/1.jpg,i,s,p,toys,,"a=b",670,790,980,790,980,920,670,920\n')

    (line,) = iterate(path, [])

    assert line.area == Area(670, 790, 980, 920, is_normalized=False)
    assert line.product.attributes == {"a": "b"}


def test_a_header_is_passed_over(tmp_path: Path) -> None:
    path = listed(tmp_path, list(COLUMNS), row())

    (line,) = iterate(path, problems := [])

    assert (line.number, problems) == (2, [])


def test_what_is_left_empty_is_unknown(tmp_path: Path) -> None:
    path = listed(tmp_path, row(product_set="", category="", name=" ", labels="size=, ,"))

    product = read(path).images.products["p"]

    assert (product.title, product.category, dict(product.attributes)) == ("", "", {})


def test_a_product_is_what_its_first_line_says_in_all_its_sets(tmp_path: Path) -> None:
    path = listed(
        tmp_path,
        row("gs://b/1.jpg", name="Bag", labels="color=tan"),
        row("gs://b/2.jpg", product_set="sale"),
        row("gs://b/3.jpg", name="Sack", category="toys", labels="color=red,size=l"),
        row("gs://b/1.jpg", product_set="new"),
    )

    images = read(path).images

    product = images.products["p"]
    assert (product.title, product.category) == ("Bag", "apparel-v2")
    assert dict(product.attributes) == {
        "color": "tan",
        "size": "l",
        "product-set": "shop, sale, new",
    }
    stays = "in an earlier line of the same, which stays"
    assert images.problems == (
        Problem(3, "product-display-name", f"'Sack' differs from 'Bag' {stays}"),
        Problem(3, "product-category", f"'toys' differs from 'apparel-v2' {stays}"),
        Problem(3, "labels", f"color: 'red' differs from 'tan' {stays}"),
    )
    assert len(images.entries) == 3


def test_a_label_that_is_called_like_the_sets_keeps_its_values(tmp_path: Path) -> None:
    path = listed(tmp_path, row(labels="product-set=mine"), row(product_set="sale"))

    assert read(path).images.products["p"].attributes["product-set"] == "mine, shop, sale"


def test_exact_repetitions_are_ignored_and_reported(tmp_path: Path) -> None:
    path = listed(tmp_path, row(), row(), row(product_set="sale"))

    images = read(path).images

    assert images.problems == (Problem(2, None, "repeats an earlier line exactly; ignored"),)
    assert len(images.entries) == 1


# --- ids of images ------------------------------------------------------------------------------


def test_an_image_without_id_is_named_after_its_part_of_its_picture(tmp_path: Path) -> None:
    rows = [
        row("gs://b/1.jpg"),
        row("gs://b/1.jpg", product_id="q"),
        row("gs://b/1.jpg", polygon="0.10,0.1,0.9,0.9"),
        row("gs://b/1.jpg", polygon="0.1,0.1,0.9,0.1,0.9,0.9", product_id="q"),
        row("gs://c/1.jpg"),
    ]

    whole, part, other = read(listed(tmp_path, *rows)).images.entries
    again = read(listed(tmp_path, *reversed(rows))).images.entries

    assert (whole.product_ids, part.product_ids) == (("p", "q"), ("p", "q"))
    assert {each.image.id for each in again} == {whole.image.id, part.image.id, other.image.id}
    assert len({whole.image.id, part.image.id, other.image.id}) == 3


def test_derived_ids_stay_as_they_are(tmp_path: Path) -> None:
    rows = [row("gs://b/1.jpg"), row("gs://b/1.jpg", polygon="0.1,0,0.90,1")]

    whole, part = read(listed(tmp_path, *rows)).images.entries

    # Others would make every such image of a catalogue a new one.
    assert whole.image.id == hashlib.blake2b(b"gs://b/1.jpg", digest_size=12).hexdigest()
    text = b"gs://b/1.jpg\n0.1\n0.0\n0.9\n1.0"
    assert part.image.id == hashlib.blake2b(text, digest_size=12).hexdigest()


def test_one_id_for_several_parts_is_that_of_the_first(tmp_path: Path) -> None:
    part = row("gs://b/1.jpg", "i", polygon="0,0,90,90", product_id="q")
    path = listed(
        tmp_path,
        row("gs://b/1.jpg", "i"),
        part,
        row("gs://b/1.jpg", "i", product_id="r"),
        [*part[:3], "r", *part[4:]],
    )

    found = read(path)

    first, second = found.images.entries
    assert (first.image.id, first.product_ids) == ("i", ("p", "r"))
    assert (second.image.id != "i", second.product_ids) == (True, ("q", "r"))
    assert list(found.areas) == [second.image.id]
    assert [(each.line, each.column) for each in found.images.problems] == [
        (2, "image-id"),
        (4, "image-id"),
    ]
    assert second.image.id in found.images.problems[0].what


# --- pictures -----------------------------------------------------------------------------------


def test_what_is_embedded_is_the_file_or_a_part_of_it(tmp_path: Path) -> None:
    picture(tmp_path / "1.jpg")
    path = listed(
        tmp_path, row("gs://b/1.jpg", "whole"), row("gs://b/1.jpg", "part", polygon="0,0,9,9")
    )

    found = read(path)

    data = (tmp_path / "1.jpg").read_bytes()
    whole, part = (found.picture(entry) for entry in found.images.entries)
    assert whole == data
    assert part == cropped(data, found.areas["part"])
    with pytest.raises(PictureTooLarge):
        found.picture(found.images.entries[1], limits=PictureLimits(max_side=15))


def test_what_has_no_picture_is_named_with_all_that_was_tried(tmp_path: Path) -> None:
    picture(tmp_path / "1.jpg")
    path = listed(
        tmp_path,
        row("gs://b/1.jpg", "i"),
        row("gs://b/x/2.jpg", "j", product_id="q", polygon="0,0,9,9"),
    )

    found = read(path)

    assert [entry.image.id for entry in found.images.entries] == ["i", "j"]
    assert list(found.images.products) == ["p", "q"]
    assert list(found.missing) == ["j"]
    assert (
        f"no picture at {tmp_path / 'x/2.jpg'} nor {tmp_path / 'b/x/2.jpg'}" in found.missing["j"]
    )
    with pytest.raises(PictureError, match="There is no picture at"):
        found.picture(found.images.entries[1])


def test_either_form_is_read(tmp_path: Path) -> None:
    file = picture(tmp_path / "1.jpg")
    own = tmp_path / "list.csv"
    own.write_text("image,product_id\n1.jpg,p\nabsent.jpg,q\n")

    found = read_any(own)

    assert not found.is_vision
    assert found.images == image_lists.read(own, need_files=False)
    assert found.picture(found.images.entries[0]) == file.read_bytes()
    with pytest.raises(FileNotFoundError):
        found.picture(found.images.entries[1])
    assert read_any(listed(tmp_path, row("gs://b/1.jpg"))).is_vision
    for path in (own, tmp_path):
        with pytest.raises(CatalogError, match="says itself where its pictures are"):
            read_any(path, pictures=tmp_path)


# --- what is refused ----------------------------------------------------------------------------

FATAL = {
    "another scheme": (row("https://b/a.jpg"), "image-uri", "Expected an address"),
    "no name": (row("gs://b/"), "image-uri", "Expected an address"),
    "out of the folder": (row("gs://b/../a.jpg"), "image-uri", "Expected an address"),
    "long image id": (row(image_id="i" * 201), "image-id", "Expected a image id of 1 to 200"),
    "no product": (row(product_id=""), "product-id", "Expected a product id of 1 to 200"),
    "long product": (row(product_id="é" * 101), "product-id", "Received 202 bytes"),
    "label without value": (row(labels="color=tan,formal"), "labels", "Received 'formal'"),
    "label without key": (row(labels="=tan"), "labels", "Expected labels such as"),
    "an odd number": (row(polygon="1,2,3,4,5"), "bounding-poly", "two corners or more"),
    "one corner": (row(polygon="10,20"), "bounding-poly", "two corners or more"),
    "negative": (row(polygon="-1,2,3,4"), "bounding-poly", "none of them negative"),
    "words": (row(polygon="a,b,c,d"), "bounding-poly", "two corners or more"),
    "no number": (row(polygon="nan,0,1,1"), "bounding-poly", "two corners or more"),
    "endless": (row(polygon="inf,0,1,1"), "bounding-poly", "two corners or more"),
    "half pixels": (row(polygon="10.5,0,20,30"), "bounding-poly", "whole pixels, or shares"),
    "seven cells": (row()[:7], None, "Expected 8 cells. Received 7"),
    "nine cells": ([*row(), "more"], None, "Expected 8 cells. Received 9"),
    "labels without quotes": (
        [*row()[:6], "a=b", "c=d", "0.1,0.1,0.9,0.9"],
        None,
        'into "quotes"',
    ),
}


@pytest.mark.parametrize(("cells", "column", "message"), FATAL.values(), ids=FATAL.keys())
def test_a_line_that_cannot_be_understood_is_an_error_with_its_place(
    cells: list[str], column: str | None, message: str, tmp_path: Path
) -> None:
    path = listed(tmp_path, row("gs://b/first.jpg"), cells, row("gs://b/last.jpg"))

    with pytest.raises(ImageListError, match=re.escape(message)) as caught:
        read(path)
    assert (caught.value.path, caught.value.line, caught.value.column) == (path, 2, column)

    errors: list[ImageListError] = []
    found = read(path, refused=errors)
    assert [str(error) for error in errors] == [str(caught.value)]
    assert len(found.images.entries) == 2


@pytest.mark.parametrize(
    ("data", "line", "message"),
    {
        "no lines": (HEADER.encode() + b"\n", None, "Expected lines. Received none"),
        "another header": (b"image-uri,product-id\n", 1, "Expected no header, or image-uri,"),
        "not UTF-8": (b"gs://b/a.jpg,,s,p,toys,,,\ngs://\xff,,,,,,,\n", 2, "Expected UTF-8"),
        "an open quote": (b'gs://b/a.jpg,,s,p,toys,"Bag,,\n', 1, "unclosed quote"),
        "nothing": (b"", None, "empty file"),
    }.values(),
)
def test_a_list_that_cannot_be_understood_is_an_error(
    data: bytes, line: int | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "products.csv"
    path.write_bytes(data)

    with pytest.raises(ImageListError, match=message) as caught:
        read(path, refused=[])
    assert caught.value.line == line
    with pytest.raises(ImageListError, match="no such file"):
        read(tmp_path / "absent.csv")


# --- everything ---------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
IDS = TEXT.filter(bool)
KEYS = st.text(st.characters(codec="utf-8", exclude_characters=",="), min_size=1, max_size=8)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters=","), max_size=8)
POLYGONS = st.one_of(
    st.none(),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6),
    st.lists(st.tuples(st.integers(2, 9999), st.integers(0, 9999)), min_size=2, max_size=6),
)


@UNHURRIED
@given(
    rows=st.lists(
        st.tuples(IDS, IDS, TEXT, IDS, TEXT, TEXT, st.lists(st.tuples(KEYS, WORDS)), POLYGONS),
        min_size=1,
        max_size=6,
        unique_by=lambda cells: cells[1],
    )
)
def test_what_is_written_is_read(rows: list, tmp_path: Path) -> None:  # type: ignore[type-arg]
    rows = [
        (f"gs://b/{number}{name.replace('/', '').replace('..', '')}x", *rest)
        for number, (name, *rest) in enumerate(rows)
    ]
    path = listed(
        tmp_path,
        *(
            [
                *cells[:6],
                ",".join(f"{key.strip()}={value}" for key, value in cells[6] if key.strip()),
                ",".join(f"{x},{y}" for x, y in cells[7] or ()),
            ]
            for cells in rows
        ),
    )

    lines = list(iterate(path, problems := []))

    assert problems == []
    for (uri, image, shop, product, category, name, labels, polygon), line in zip(
        rows, lines, strict=True
    ):
        assert (line.address, line.image.id, line.product_set) == (uri, image, shop)
        found = line.product
        assert (found.id, found.title, found.category) == (product, name.strip(), category)
        values: dict[str, list[str]] = {}
        for key, value in labels:
            if key.strip() and value.strip():
                values.setdefault(key.strip(), []).append(value.strip())
        assert dict(found.attributes) == {key: ", ".join(each) for key, each in values.items()}
        if polygon is None:
            assert line.area is None
        else:
            across, down = zip(*polygon, strict=True)
            assert line.area == Area(
                min(across), min(down), max(across), max(down), isinstance(across[0], float)
            )


PIECES = st.sampled_from(
    [
        *'gs://b/a.jpg gs:// , ,, " image-uri a=b 0.5 1,2,3,4 p .. / 1e99'.split(),
        *(HEADER, "\n", "\r\n", "\0", "\ufeff", " ", "é" * 120),
    ]
)


TEXTS = st.one_of(
    st.binary(max_size=200),
    st.lists(PIECES, max_size=40).map("".join),
    st.lists(st.lists(PIECES, min_size=8, max_size=9).map(",".join)).map("\n".join),
)


@UNHURRIED
@given(text=TEXTS)
def test_no_text_leads_to_another_error(text: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    is_vision(path)
    with suppress(ImageListError):
        assert read(path).images.entries


def test_a_shops_list_becomes_its_catalogue(tmp_path: Path) -> None:
    path = vision_csv(tmp_path, products=12, rng=np.random.default_rng(0))

    assert is_vision(path)
    found = read(path, pictures=tmp_path / "pictures")

    images = found.images
    assert (len(images.products), len(images.entries), images.problems) == (12, 24, ())
    assert found.missing == {}
    product = images.products["sku-004"]
    assert product.title == "Product 4"
    assert dict(product.attributes) == {
        "colour": "colour-4",
        "style": "a, b",
        "product-set": "shop, sale",
    }
    assert len(found.areas) == 12
    assert {area.box((96, 64)) for area in found.areas.values()} == {(24, 16, 72, 48)}
    assert all(entry.path.parent.name in entry.product_ids for entry in images.entries)
    with pytest.raises(ImageListError):
        image_lists.read(path)
