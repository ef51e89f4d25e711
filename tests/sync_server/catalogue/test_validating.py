"""`validate` says what a push would refuse or leave out, and touches nothing."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from tests.making.pictures import drawn, encoded, flat_jpeg, png
from tests.making.vision_files import BUCKET, row, vision_csv, written

from pocketlens import image_lists
from pocketlens.errors import CatalogError, InvalidOperation
from pocketlens.image_lists import Problem
from pocketlens.options import PictureLimits
from pocketlens_server.catalogue.currencies import CURRENCIES
from pocketlens_server.catalogue.operations import PutImage, PutProduct, apply
from pocketlens_server.catalogue.validating import Report, validate
from pocketlens_server.storage import migrations
from pocketlens_server.storage.history import History

LONG = "x" * 8193
HEADER = "image,product_id,title,category,url,price,currency,stock,image_id,image_url".split(",")


def line(image: str = "a.png", product_id: str = "p", **cells: str) -> list[str]:
    named = {"image": image, "product_id": product_id} | cells
    return [named.get(name, "") for name in HEADER]


def ours(folder: Path, *rows: list[str]) -> Path:
    """A CSV with a picture a.png beside it."""
    (folder / "a.png").write_bytes(encoded(drawn(20, 16), "PNG"))
    return written(folder / "list.csv", [HEADER, *rows])


def theirs(folder: Path, *rows: list[str]) -> Path:
    (folder / "a.jpg").write_bytes(encoded(drawn(20, 16)))
    return written(folder / "products.csv", rows)


def places(problems: tuple[Problem, ...]) -> list[tuple[int | None, str | None]]:
    return [(problem.line, problem.column) for problem in problems]


# --- nothing to say -------------------------------------------------------------------------------


def test_a_good_list_of_either_form_has_nothing_to_say(tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    path = vision_csv(tmp_path, products=3, rng=np.random.default_rng(0))

    report = validate(
        path,
        pictures=tmp_path / "pictures",
        progress=lambda *stage: stages.append(stage),
    )
    own = validate(ours(tmp_path, line(price="1.50", currency="EUR", stock="3", title="Mug")))
    folder = validate(tmp_path / "pictures" / BUCKET)

    assert report == Report(3, 6, (), ())
    assert stages == [("checking", done, 6) for done in range(1, 7)]
    assert own == Report(1, 1, (), ())
    assert folder == Report(3, 6, (), ())


def test_nothing_is_written_anywhere(tmp_path: Path) -> None:
    path = vision_csv(tmp_path, products=3, rng=np.random.default_rng(0))
    before = {each: each.stat().st_mtime_ns for each in (tmp_path, *tmp_path.rglob("*"))}

    validate(path, pictures=tmp_path / "pictures")

    assert {each: each.stat().st_mtime_ns for each in (tmp_path, *tmp_path.rglob("*"))} == before


# --- lists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "column", "what"),
    {
        "price": (line(price="-1", currency="EUR"), "price", "Expected a price"),
        "not a number": (line(price="NaN", currency="EUR"), "price", "Expected a price"),
        "currency": (line(price="1", currency="euro"), "currency", "three capital letters"),
        "stock": (line(stock="-3"), "stock", "Expected a stock"),
        "product": (line(product_id="p" * 10_000), "product_id", "Received 10000 bytes"),
        "image": (line(image_id="i" * 201), "image_id", "1 to 200 bytes"),
    }.values(),
)
def test_a_line_of_ours_that_is_refused_is_told_with_its_place(
    cells: list[str], column: str, what: str, tmp_path: Path
) -> None:
    folder = tmp_path / "list: of"
    folder.mkdir()

    report = validate(ours(folder, line(), cells))

    assert places(report.refused) == [(3, column)]
    assert what in report.refused[0].what
    assert "list.csv" not in report.refused[0].what


def test_every_line_of_theirs_that_is_refused_is_told(tmp_path: Path) -> None:
    report = validate(
        theirs(
            tmp_path,
            row(),
            row(product_id=""),
            row(labels="tan"),
            row(polygon="1,2,3"),
            row()[:5],
            row(product_id="q"),
        )
    )

    assert places(report.refused) == [
        (2, "product-id"),
        (3, "labels"),
        (4, "bounding-poly"),
        (5, None),
    ]
    assert (report.products, report.images) == (2, 1)


def test_a_list_that_cannot_be_read_is_refused_with_all_that_was_found(tmp_path: Path) -> None:
    path = theirs(tmp_path, row(), row(labels="tan"))
    with path.open("ab") as file:
        file.write(b'"gs://b/a.jpg')

    assert places(validate(path).refused) == [(2, "labels"), (3, None)]
    assert places(validate(tmp_path / "absent.csv").refused) == [(None, None)]


def test_pictures_elsewhere_are_for_lists_that_do_not_name_them(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="says itself where its pictures are"):
        validate(ours(tmp_path, line()), pictures=tmp_path)


def test_what_a_push_only_mentions_is_a_notice(tmp_path: Path) -> None:
    report = validate(
        theirs(
            tmp_path,
            row(image_id="i", name="Bag"),
            row(image_id="i", name="Bag"),
            row(image_id="i", name="Sack"),
            row(image_id="i", polygon="0,0,10,10"),
        )
    )

    assert report.refused == ()
    assert places(report.notices) == [
        (2, None),
        (3, "product-display-name"),
        (4, "image-id"),
    ]


# --- products -------------------------------------------------------------------------------------


def history() -> History:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrations.create(connection)
    return History(connection)


def is_taken(path: Path) -> bool:
    """Whether a catalogue takes all that a list says, by the operations that change it."""
    listed = image_lists.read(path)
    catalogue = history()
    try:
        for product in listed.products.values():
            apply(catalogue, PutProduct(product))
        for entry in listed.entries:
            apply(catalogue, PutImage(entry.image, bytes(32), entry.product_ids))
    except InvalidOperation:
        return False
    return True


def products(count: int) -> list[list[str]]:
    return [line(product_id=f"p{number}") for number in range(count)]


@pytest.mark.parametrize(
    ("rows", "place"),
    {
        "title": ([line(), line(title=LONG)], (3, "title")),
        "title at its limit": ([line(title=LONG[1:])], None),
        "a title that does not count": ([line(title="a"), line(title=LONG)], None),
        "two bytes a letter": ([line(category="é" * 4097)], (2, "category")),
        "url": ([line(url=LONG)], (2, "url")),
        "picture's url": ([line(), line("b.png", image_url=LONG)], (3, "image_url")),
        "1,001 products": (products(1001), (2, "product_id")),
        "1,000 products": (products(1000), None),
    }.values(),
)
def test_limits_are_those_of_the_catalogue(
    rows: list[list[str]], place: tuple[int, str] | None, tmp_path: Path
) -> None:
    path = ours(tmp_path, *rows)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())

    report = validate(path)

    assert places(report.refused) == ([place] if place else [])
    assert is_taken(path) == (place is None)


@pytest.mark.parametrize("count", [100, 101])
def test_attributes_are_counted_over_all_lines(count: int, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(drawn(20, 16), "PNG"))
    names = [f"attr.{number}" for number in range(count)]
    half = ["x"] * 50
    path = written(
        tmp_path / "list.csv",
        [
            ["image", "product_id", *names],
            ["a.png", "p", *half, *[""] * (count - 50)],
            ["a.png", "p", *[""] * 50, *["x"] * (count - 50)],
        ],
    )

    assert places(validate(path).refused) == ([(2, "attr.*")] if count > 100 else [])
    assert is_taken(path) == (count == 100)


def test_long_labels_are_told_at_their_column(tmp_path: Path) -> None:
    labels = f"size={LONG},{LONG}=1"

    report = validate(theirs(tmp_path, row(), row(labels=labels, name=LONG)))

    assert places(report.refused) == [(2, "product-display-name"), (2, "labels"), (2, "labels")]


def test_problems_come_in_the_order_of_the_list(tmp_path: Path) -> None:
    report = validate(
        ours(tmp_path, line("absent.png"), line(title=LONG), line("gone.png"), line(url=LONG))
    )

    assert [problem.line for problem in report.refused] == [2, 3, 4, 5]


def test_a_currency_that_nobody_pays_in_is_refused(tmp_path: Path) -> None:
    path = ours(
        tmp_path,
        line(product_id="p", price="1", currency="EUR"),
        line(product_id="q"),
        line(product_id="q", price="1", currency="EUX"),
    )

    report = validate(path)

    assert places(report.refused) == [(4, "currency")]
    assert "'EUX'" in report.refused[0].what
    assert {"EUR", "JPY", "KWD", "CLF", "XCG", "ZWG"} <= CURRENCIES
    assert CURRENCIES.isdisjoint({"HRK", "DEM", "XAU", "XTS", "XXX"})
    assert len(CURRENCIES) == 164  # 178 of list one, without metals, funds of banks and tests


# --- pictures -------------------------------------------------------------------------------------


def test_pictures_that_a_push_would_leave_out_are_refused(tmp_path: Path) -> None:
    pictures = {
        "cut.jpg": encoded(drawn(64, 64))[:-200],
        "small.png": encoded(drawn(7, 64), "PNG"),
        "text.jpg": b"no picture",
        "empty.jpg": b"",
        "large.png": png(30_001, 8),
        "huge.jpg": flat_jpeg(16_000, 16_000),
        "gif.jpg": encoded(drawn(64, 64), "GIF"),
    }
    for name, data in pictures.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.jpg").mkdir()
    names = [*pictures, "folder.jpg", "absent.jpg", "x" * 300, "nul\0.jpg"]
    path = ours(
        tmp_path, line(), *(line(name, f"p-{name[:9]}", image_id=name[:9]) for name in names)
    )

    report = validate(path)

    assert places(report.refused) == [(number, "image") for number in range(3, 14)]
    for name, problem in zip(names, report.refused, strict=True):
        assert name in problem.what
    assert (
        report.refused[names.index("absent.jpg")].what == f"no picture at {tmp_path / 'absent.jpg'}"
    )
    assert [problem.line for problem in report.notices] == [None] * 11
    assert "'p-cut.jpg' has no picture that can be used" in report.notices[0].what


def test_a_94_megapixel_picture_is_taken(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(flat_jpeg(11_700, 8_050))

    assert validate(ours(tmp_path, line("b.jpg"))).refused == ()


def test_limits_of_pictures_are_the_callers(tmp_path: Path) -> None:
    path = ours(tmp_path, line())
    size = (tmp_path / "a.png").stat().st_size

    assert validate(path, limits=PictureLimits(encoded_bytes=size)).refused == ()
    report = validate(path, limits=PictureLimits(encoded_bytes=size - 1))
    assert places(report.refused) == [(2, "image")]


def test_pictures_and_boxes_of_theirs_are_told_by_column(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    path = theirs(
        tmp_path,
        row(),
        row("gs://b/bad.jpg", product_id="q"),
        row("gs://b/absent.jpg", product_id="r"),
        row(polygon="0,0,7,7", product_id="s"),
        row(polygon="2,2,10,10"),
        row(polygon="0,0,20,16", image_id="whole"),
    )

    report = validate(path)

    assert places(report.refused) == [
        (2, "image-uri"),
        (3, "image-uri"),
        (4, "bounding-poly"),
    ]
    assert f"{tmp_path}/absent.jpg nor {tmp_path}/b/absent.jpg" in report.refused[1].what
    assert [each.what for each in report.notices] == [
        f"product {name!r} has no picture that can be used" for name in "qrs"
    ]


def test_one_picture_of_several_products_is_a_notice(tmp_path: Path) -> None:
    data = encoded(drawn(20, 16), "PNG")
    for name in "bcd":
        (tmp_path / f"{name}.png").write_bytes(data)
    path = ours(
        tmp_path,
        line("a.png", "p"),
        line("b.png", "p"),
        line("c.png", "q"),
        line("d.png", "p"),
        line("d.png", "q"),
    )

    report = validate(path)

    assert report.refused == ()
    assert places(report.notices) == [(4, "image"), (5, "image")]
    assert "the same picture as image 'a.png'" in report.notices[0].what


def test_two_parts_of_a_picture_are_two_pictures(tmp_path: Path) -> None:
    path = theirs(
        tmp_path,
        row(polygon="0,0,10,16", product_id="p"),
        row(polygon="10,0,20,16", product_id="q"),
        row(polygon="0.5,0,1,1", product_id="r"),
        row(polygon="0,0,20,16", product_id="s"),
        row(product_id="t"),
    )

    report = validate(path)

    assert (report.refused, report.images) == ((), 5)
    assert places(report.notices) == [(3, "image-uri"), (5, "image-uri")]


def test_a_folder_is_told_by_paths(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    for name in ("mug/1.jpg", "cup/1.jpg", "cup/2.jpg", "cup/note.txt", "bowl/1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(drawn(20, 16)))
    (folder / "cup" / "2.jpg").write_bytes(b"no picture")
    (folder / "empty").mkdir()

    report = validate(folder)

    assert (report.products, report.images) == (3, 4)
    assert places(report.refused) == [(None, None)]
    assert str(folder / "cup" / "2.jpg") in report.refused[0].what
    assert len(report.notices) == 4  # a note, nothing in `empty`, the same picture twice
