"""Likely categories on a server: told, searched as its devices do, fitted beside the answers."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.making.colour_shops import COLOURS, ColourShop, between

from pocketlens import Filter, Lens, SearchResult
from pocketlens.errors import QueryError, ServerUnavailable
from pocketlens_server.folders import ServerFolder
from pocketlens_server.query.queries import Queries
from pocketlens_server.query.questions import AutoCategory, Photo

EACH = 12


def made(folder: Path, stock: dict[int, int]) -> ColourShop:
    shop = ColourShop(folder, stock, now=datetime.now(UTC))
    shop.publish()
    shop.sync("device")
    return shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ColourShop:
    numbers = range(EACH * len(COLOURS))
    return made(tmp_path_factory.mktemp("shop"), {n: n % 3 % 2 for n in numbers})


def asked(
    shop: ColourShop,
    photos: list[bytes],
    auto_category: AutoCategory | None,
    wanted: Filter | None = None,
) -> list[SearchResult]:
    async def run() -> list[SearchResult]:
        queries = Queries(ServerFolder(shop.folder / "server"))
        try:
            calls = (
                queries.search(
                    "main", Photo(each), k=100, wanted=wanted, auto_category=auto_category
                )
                for each in photos
            )
            return await asyncio.gather(*calls)
        finally:
            await queries.close()

    return asyncio.run(run())


PHOTOS = [
    between("mugs"),
    between("auto"),
    between("mugs", "hats"),
    between("mugs", "auto", "hats"),
    between(""),
]


def test_a_server_searches_the_categories_that_a_device_does(shop: ColourShop) -> None:
    there = asked(shop, PHOTOS, "search")
    with Lens.open(shop.folder / "device") as lens:
        here = [lens.search(photo, 100, category="auto") for photo in PHOTOS]

    assert [found.searched for found in there] == [found.searched for found in here]
    assert [len(found.searched) for found in there[:2]] == [1, 1]
    assert {len(found.searched) for found in there} >= {0, 1}
    for one, other in zip(there, here, strict=True):
        assert one.matches_in_filter == other.matches_in_filter == len(one.matches)
        assert {match.product.id for match in one.matches} == {
            match.product.id for match in other.matches
        }
        shares = {each.category: each.probability for each in other.categories}
        for share in one.categories:
            assert share.probability == pytest.approx(shares.get(share.category, 0), abs=0.03)


def test_a_category_that_is_called_auto_is_one_like_others(shop: ColourShop) -> None:
    (found,) = asked(shop, [between("auto")], "search")

    assert found.searched == ("auto",)
    assert {match.product.category for match in found.matches} == {"auto"}


def test_told_alone_they_change_no_answer(shop: ColourShop) -> None:
    plain = asked(shop, PHOTOS, None)
    told = asked(shop, PHOTOS, "tell")

    assert all(found.categories == () for found in plain)
    assert told[0].categories[0].category == "mugs"
    assert told[0].categories[0].probability > 0.9
    for one, other in zip(told, plain, strict=True):
        assert (one.searched, one.matches, one.best) == ((), other.matches, other.best)
        assert all(share.category for share in one.categories)


def test_a_filter_holds_in_the_category_and_finds_something_anyway(shop: ColourShop) -> None:
    (small,) = asked(shop, [between("mugs")], "search", Filter(attributes={"size": "S"}))
    (none,) = asked(shop, [between("mugs")], "search", Filter(attributes={"size": "XL"}))
    (told,) = asked(shop, [between("mugs")], "tell", Filter(category="hats"))

    assert small.searched == ("mugs",)
    assert {match.product.attributes["size"] for match in small.matches} == {"S"}
    assert (none.searched, none.matches) == ((), ())
    assert told.categories[0].category == "mugs"
    assert {match.product.category for match in told.matches} == {"hats"}


def test_two_wishes_for_a_category_are_refused(shop: ColourShop) -> None:
    with pytest.raises(QueryError, match="Received both: 'hats'"):
        asked(shop, [between("mugs")], "search", Filter(category="hats"))


@pytest.mark.parametrize("products", [1, 2, 4])
def test_tiny_catalogues_have_an_answer(tmp_path: Path, products: int) -> None:
    shop = made(tmp_path / "shop", dict.fromkeys(range(products), 1))

    (found,) = asked(shop, [between("mugs")], "search")

    assert found.matches[0].product.id == "sku-0"
    assert found.categories[0].category == "mugs"


def test_a_newer_version_is_fitted_to_beside_the_answers(tmp_path: Path) -> None:
    shop = made(tmp_path / "shop", dict.fromkeys(range(8), 1))

    async def run() -> None:
        queries = Queries(ServerFolder(shop.folder / "server"))
        try:
            first = await queries.search("main", Photo(between("hats")), auto_category="tell")
            searched = (await queries.catalogues.of("main")).best
            before = await searched.categories.newest()
            shop.stock = dict.fromkeys(range(40), 1)
            shop.publish()
            searched.gallery.follow()
            assert await searched.categories.newest() is before  # nobody waits for the next
            async with asyncio.timeout(30):
                while await searched.categories.newest() is before:
                    await asyncio.sleep(0.01)
            second = await queries.search("main", Photo(between("hats")), auto_category="tell")
        finally:
            await queries.close()
        assert (first.version, second.version) == (1, 2)
        assert second.categories[0].category == "hats"
        assert second.categories[0].probability > first.categories[0].probability
        with pytest.raises(ServerUnavailable):
            await queries.search("main", Photo(between("hats")), auto_category="tell")

    asyncio.run(run())
