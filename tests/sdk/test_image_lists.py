"""Image lists: what is read, what is refused with its place, what is only reported."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketlens.errors import ImageListError
from pocketlens.image_lists import Line, Problem, count_rows, iterate, read
from pocketlens.products import Price

HEADER = "image,product_id,price,currency,stock,image_id\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines_of(path: Path) -> tuple[list[Line], list[Problem]]:
    problems: list[Problem] = []
    return list(iterate(path, problems)), problems


def test_every_column_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "image,product_id,title,category,price,currency,stock,url,image_id,image_url,attr.colour\n"
        'a/1.jpg,p1,"Mug, blue",kitchen,12.50,EUR,3,https://s/p1,i1,https://s/i1,blue\n',
    )

    (line,), problems = lines_of(path)

    assert line.path == tmp_path / "a/1.jpg"
    assert (line.number, line.row) == (2, 0)
    assert (line.image.id, line.image.url) == ("i1", "https://s/i1")
    assert line.product.price == Price(1250, "EUR")
    assert line.product.price.amount == Decimal("12.50")
    assert (line.product.title, line.product.category) == ("Mug, blue", "kitchen")
    assert (line.product.stock, line.product.url) == (3, "https://s/p1")
    assert dict(line.product.attributes) == {"colour": "blue"}
    assert problems == []


def test_empty_cells_are_unknown_and_the_image_names_itself(tmp_path: Path) -> None:
    (line,), _ = lines_of(written(tmp_path, HEADER + "a.jpg,p,,,,\n"))

    assert line.image.id == "a.jpg"
    assert (line.product.price, line.product.stock, line.product.title) == (None, None, "")


def test_byte_order_mark_blank_lines_and_other_line_ends_are_accepted(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbfimage,product_id\r\n\r\na.jpg,p\r\nb.jpg,q\r\n")

    lines, _ = lines_of(path)

    assert [(line.number, line.row) for line in lines] == [(3, 0), (4, 1)]
    assert count_rows(path) == 2


def test_quoted_line_breaks_keep_numbers_right(tmp_path: Path) -> None:
    text = 'image,product_id,title\na.jpg,p,"two\nlines"\nb.jpg,q,\n'

    lines, _ = lines_of(written(tmp_path, text))

    assert [line.number for line in lines] == [2, 4]


FATAL = {
    "no rows": (HEADER, None, None, "Expected lines below the header"),
    "empty file": ("", None, None, "empty file"),
    "no product_id": ("image,title\na.jpg,x\n", 1, "product_id", "Expected the columns"),
    "semicolons": ("image;product_id\na.jpg;p\n", 1, "image", "Separate columns with commas"),
    "a column twice": ("image,product_id,image\na,p,b\n", 1, "image", "each column once"),
    "price is no number": (HEADER + "a.jpg,p,cheap,EUR,,\n", 2, "price", "12.50"),
    "price with a comma": (HEADER + 'a.jpg,p,"1,50",EUR,,\n', 2, "price", "12.50"),
    "price with underscores": (HEADER + "a.jpg,p,1_000,EUR,,\n", 2, "price", "1_000"),
    "negative price": (HEADER + "a.jpg,p,-1,EUR,,\n", 2, "price", "-1"),
    "price not finite": (HEADER + "a.jpg,p,NaN,EUR,,\n", 2, "price", "NaN"),
    "price finer than cents": (HEADER + "a.jpg,p,1.005,EUR,,\n", 2, "price", "2 decimals"),
    "yen with decimals": (HEADER + "a.jpg,p,1.5,JPY,,\n", 2, "price", "0 decimals"),
    "price without currency": (HEADER + "a.jpg,p,1,,,\n", 2, "currency", "three capital"),
    "currency in small letters": (HEADER + "a.jpg,p,1,eur,,\n", 2, "currency", "'eur'"),
    "stock is no number": (HEADER + "a.jpg,p,,,many,\n", 2, "stock", "'many'"),
    "stock below zero": (HEADER + "a.jpg,p,,,-1,\n", 2, "stock", "'-1'"),
    "no picture": (HEADER + ",p,,,,\n", 2, "image", "Received 0 bytes"),
    "no product": (HEADER + "a.jpg,,,,,\n", 2, "product_id", "Received 0 bytes"),
    "id too long": (HEADER + f"a.jpg,{'p' * 201},,,,\n", 2, "product_id", "201 bytes"),
    "too few cells": (HEADER + "a.jpg,p\n", 2, None, "Expected 6 cells"),
    "too many cells": ("image,product_id\na.jpg,p,x\n", 2, None, "Received 3"),
    "one image, two files": (
        HEADER + "a.jpg,p,,,,i\nb.jpg,p,,,,i\n",
        3,
        "image_id",
        "another picture",
    ),
    "unclosed quote": ('image,product_id\na.jpg,"p\n', 2, None, "unclosed quote"),
    "latin-1": (b"image,product_id\na.jpg,p\nb.jpg,caf\xe9\n", 3, None, "Expected UTF-8"),
    "utf-16": ("image,product_id\na.jpg,p\n".encode("utf-16"), 1, None, "Expected UTF-8"),
}


@pytest.mark.parametrize("case", FATAL)
def test_what_is_wrong_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    text, line, column, what = FATAL[case]
    path = written(tmp_path, text)

    with pytest.raises(ImageListError) as caught:
        read(path, need_files=False)

    assert (caught.value.path, caught.value.line, caught.value.column) == (path, line, column)
    assert what in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageListError, match="no such file or folder"):
        read(tmp_path / "none.csv")


def test_duplicate_lines_and_unknown_columns_are_reported_once(tmp_path: Path) -> None:
    text = "image,product_id,weight\na.jpg,p,1\na.jpg,p,1\nb.jpg,p,1\n"

    lines, problems = lines_of(written(tmp_path, text))

    assert [(line.image.id, line.row) for line in lines] == [("a.jpg", 0), ("b.jpg", 2)]
    assert [(each.line, each.column) for each in problems] == [(1, "weight"), (3, None)]
    assert str(problems[0]) == "line 1, column 'weight': an unknown column; ignored"
    assert str(problems[1]) == "line 3: repeats an earlier line exactly; ignored"


def test_missing_pictures_are_left_out_where_files_are_needed(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"-")
    path = written(tmp_path, "image,product_id\na.jpg,p\nb.jpg,q\n")

    found = read(path)

    assert [entry.image.id for entry in found.entries] == ["a.jpg"]
    assert list(found.products) == ["p"]
    assert [(each.line, each.column) for each in found.problems] == [(3, "image")]
    assert len(read(path, need_files=False).entries) == 2


def test_products_and_images_are_many_to_many(tmp_path: Path) -> None:
    text = "image,product_id\na.jpg,p\na.jpg,q\nb.jpg,p\n"

    found = read(written(tmp_path, text), need_files=False)

    assert [(e.image.id, e.product_ids, e.line) for e in found.entries] == [
        ("a.jpg", ("p", "q"), 2),
        ("b.jpg", ("p",), 4),
    ]


def test_first_text_of_a_product_stays_and_contradictions_are_reported(tmp_path: Path) -> None:
    text = (
        "image,product_id,title,stock,image_url,attr.size\n"
        "a.jpg,p,,1,,\n"
        "b.jpg,p,Mug,2,,L\n"
        "c.jpg,p,Cup,,,\n"
        "a.jpg,q,,,https://s/a,\n"
    )

    found = read(written(tmp_path, text), need_files=False)

    product = found.products["p"]
    assert (product.title, product.stock, dict(product.attributes)) == ("Mug", 1, {"size": "L"})
    assert [(each.line, each.column) for each in found.problems] == [(3, "stock"), (4, "title")]
    assert found.entries[0].image.url == "https://s/a"


def test_a_folder_has_a_folder_a_product(tmp_path: Path) -> None:
    for name in (
        "mug/b.JPG",
        "mug/a.webp",
        "cup/x.png",
        "mug/notes.txt",
        "stray.jpg",
        ".git/x.jpg",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"-")
    (tmp_path / "empty").mkdir()

    found = read(tmp_path)

    assert [(e.image.id, e.product_ids, e.path) for e in found.entries] == [
        ("cup/x.png", ("cup",), tmp_path / "cup/x.png"),
        ("mug/a.webp", ("mug",), tmp_path / "mug/a.webp"),
        ("mug/b.JPG", ("mug",), tmp_path / "mug/b.JPG"),
    ]
    reported = "\n".join(map(str, found.problems))
    assert len(found.problems) == 3
    for name in ("notes.txt", "stray.jpg", "empty"):
        assert name in reported
    assert count_rows(tmp_path) == 3


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mug").mkdir()

    with pytest.raises(ImageListError, match="a folder a product"):
        read(tmp_path)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=200))
def test_any_bytes_give_lines_or_one_kind_of_error(tmp_path: Path, data: bytes) -> None:
    path = written(tmp_path, b"image,product_id\n" + data)

    try:
        lines, _ = lines_of(path)
    except ImageListError:
        return
    assert all(line.image.id and line.product.id for line in lines)
