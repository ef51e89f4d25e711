"""The sample shop: the same for a seed, unlike between lists, and indexed like any other shop."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens import image_lists
from pocketlens.testing import (
    SampleShop,
    ShopSize,
    assortment,
    catalogue_picture,
    make_sample_shop,
    photo,
)
from pocketlens.testing.assortment import KINDS
from pocketlens.testing.photography import SIDE

SMALL = ShopSize(
    products=16,
    past_products=3,
    absent_products=2,
    elsewhere_products=3,
    train_photos=2,
    held_out_photos=1,
    query_photos=2,
    past_photos=2,
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> SampleShop:
    return make_sample_shop(tmp_path_factory.mktemp("sample") / "shop", seed=3, size=SMALL)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float64)


def test_every_list_can_be_read_without_a_problem(shop: SampleShop) -> None:
    lists = {
        name: image_lists.read(getattr(shop, name))
        for name in ("catalog", "train", "held_out", "queries", "absent", "elsewhere")
    }

    assert {name: found.problems for name, found in lists.items()} == dict.fromkeys(lists, ())
    assert len(lists["catalog"].products) == 16
    assert len(lists["train"].products) == 16 + 3
    assert len(lists["held_out"].entries) == 16
    assert len(lists["queries"].entries) == 16 * 2
    assert len(lists["absent"].entries) == 2 * 2
    assert len(lists["elsewhere"].entries) == 3


def test_catalogue_says_what_is_sold(shop: SampleShop) -> None:
    products = image_lists.read(shop.catalog).products.values()

    assert len({product.category for product in products}) == len(KINDS)
    assert len({product.title for product in products}) == len(products)
    for product in products:
        assert product.price is not None
        assert product.price.currency == "EUR"
        assert product.stock is not None
        assert set(product.attributes) == {"brand", "colour", "size"}


def test_some_products_have_more_than_one_picture(shop: SampleShop) -> None:
    pictures = [row["product_id"] for row in rows(shop.catalog)]

    assert {pictures.count(each) for each in pictures} == {1, 2}


def test_absent_products_are_in_no_other_list(shop: SampleShop) -> None:
    absent, elsewhere, known = (
        {row["product_id"] for each in lists for row in rows(each)}
        for lists in (
            [shop.absent],
            [shop.elsewhere],
            [shop.catalog, shop.train, shop.held_out, shop.queries],
        )
    )

    assert (len(absent), len(elsewhere)) == (2, 3)
    assert not absent & (known | elsewhere)
    assert not elsewhere & known


def test_no_picture_is_in_two_lists(shop: SampleShop) -> None:
    seen: dict[bytes, str] = {}
    lists = (shop.catalog, shop.train, shop.held_out, shop.queries, shop.absent, shop.elsewhere)
    for each in lists:
        for row in rows(each):
            data = (shop.folder / row["image"]).read_bytes()
            assert data not in seen, f"{row['image']} is {seen[data]} again"
            seen[data] = row["image"]


def test_every_picture_is_a_square_jpeg(shop: SampleShop) -> None:
    for each in (shop.catalog, shop.queries):
        for row in rows(each):
            with Image.open(shop.folder / row["image"]) as picture:
                assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (SIDE, SIDE))


def test_same_seed_draws_the_same_shop(shop: SampleShop, tmp_path: Path) -> None:
    again = make_sample_shop(tmp_path / "again", seed=3, size=SMALL)

    for first in sorted(path for path in shop.folder.rglob("*") if path.is_file()):
        second = again.folder / first.relative_to(shop.folder)
        assert first.read_bytes() == second.read_bytes(), first.name


def test_another_seed_draws_another_shop() -> None:
    ours, theirs = assortment(3, range(8)), assortment(4, range(8))

    assert all(a.look != b.look for a, b in zip(ours, theirs, strict=True))


def test_an_article_depends_on_its_number_alone() -> None:
    assert assortment(3, [11]) == assortment(3, range(12))[11:]


def test_siblings_share_shape_and_pattern_but_not_the_label() -> None:
    for first, second in zip(assortment(3, range(8)), assortment(3, range(8, 16)), strict=True):
        assert first.kind == second.kind
        shared = ("ground", "second", "pattern", "glyph", "badge")
        assert [getattr(first.look, name) for name in shared] == [
            getattr(second.look, name) for name in shared
        ]
        assert first.look.emblem != second.look.emblem
        assert first.look.words[1] != second.look.words[1]
        assert np.linalg.norm(np.subtract(first.look.accent, second.look.accent)) > 60


@pytest.mark.parametrize("number", range(8), ids=KINDS)
def test_a_catalogue_picture_shows_its_thing_on_white(number: int) -> None:
    (article,) = assortment(3, [number])

    picture = pixels(catalogue_picture(article, 0))

    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert border.min() > 245
    assert 0.08 < (picture.min(axis=2) < 235).mean() < 0.9


@pytest.mark.parametrize("number", range(8), ids=KINDS)
def test_a_photo_is_determined_by_its_generator_and_differs_from_the_next(number: int) -> None:
    (article,) = assortment(3, [number])

    first, again, other = (photo(article, np.random.default_rng(key)) for key in (1, 1, 2))

    assert first == again
    assert np.abs(pixels(first) - pixels(other)).mean() > 10
    assert np.abs(pixels(first) - pixels(catalogue_picture(article, 0))).mean() > 10


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    size = ShopSize(2, 1, 1, 1, 1, 1, 1)

    shop = make_sample_shop(
        tmp_path / "shop", seed=3, size=size, progress=lambda *report: told.append(report)
    )

    ends = {name: (done, total) for name, done, total in told}
    for name, (done, total) in ends.items():
        assert done == total == len(rows(getattr(shop, name)))


def test_a_list_appears_only_with_its_pictures(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(name: str, done: int, total: int) -> None:
        if (name, done) == ("held_out", 1):
            raise Stopped

    with pytest.raises(Stopped):
        make_sample_shop(tmp_path / "shop", seed=3, size=SMALL, progress=stop)

    written = {path.name for path in (tmp_path / "shop").glob("*.csv")}
    assert written == {"catalog.csv", "train.csv"}
