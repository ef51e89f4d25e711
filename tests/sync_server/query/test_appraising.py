"""Prices told on a server: as its devices tell them, in one currency, of few items."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from tests.making.colour_shops import COLOURS, ColourShop, between

from pocketlens import Filter, Lens
from pocketlens.errors import ServerUnavailable
from pocketlens.estimates.estimating import Appraisal
from pocketlens_server.folders import ServerFolder
from pocketlens_server.query.queries import Queries
from pocketlens_server.query.questions import Photo

PRICES = {"mugs": 9, "auto": 900, "hats": 30, "": 2}


def sold(number: int) -> dict[str, str]:
    """A price about that of its category, in euro, every third in yen; the older, the cheaper."""
    usual = [*PRICES.values()][number % len(COLOURS)]
    price = usual * float(np.exp(np.random.default_rng(number).normal(0, 0.15)))
    told = {"attr.sold_at": f"2026-{1 + number % 9:02}-10"}
    if number % 3:
        return {"price": f"{price:.2f}", "currency": "EUR", **told}
    return {"price": f"{price * 160:.0f}", "currency": "JPY", **told}


def shop_of(folder: Path, count: int, more: Callable[[int], dict[str, str]] = sold) -> ColourShop:
    shop = ColourShop(folder, dict.fromkeys(range(count), 1), now=datetime.now(UTC))
    shop.more = more
    shop.publish()
    return shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ColourShop:
    made = shop_of(tmp_path_factory.mktemp("shop"), 96)
    made.sync("device")
    return made


def estimates(shop: ColourShop, *asked: tuple[bytes, Filter | None]) -> list[Appraisal]:
    async def run() -> list[Appraisal]:
        queries = Queries(ServerFolder(shop.folder / "server"))
        try:
            calls = (queries.estimate("main", Photo(each), wanted=wanted) for each, wanted in asked)
            return [found.estimate for found in await asyncio.gather(*calls)]
        finally:
            await queries.close()

    return asyncio.run(run())


def test_a_server_tells_the_prices_that_a_device_does(shop: ColourShop) -> None:
    asked = [
        (between("mugs"), None),
        (between("auto"), Filter(currency="JPY")),
        (between("hats"), Filter(category="hats")),
    ]

    there = estimates(shop, *asked)

    with Lens.open(shop.folder / "device") as lens:
        here = [lens.estimate(photo, filter=wanted) for photo, wanted in asked]
    for one, other in zip(there, here, strict=True):
        assert one.price.currency == other.price.currency
        assert one.price.weighting.fitted_on == other.price.weighting.fitted_on > 0
        assert one.price.band is not None
        assert other.price.band is not None
        for end in ("low", "middle", "high"):
            amounts = [float(getattr(each.price.band, end).amount) for each in (one, other)]
            assert amounts[0] == pytest.approx(amounts[1], rel=0.1)
        assert {sale.product.id for sale in one.price.items} == {
            sale.product.id for sale in other.price.items
        }
        assert [each.name for each in one.suggestions] == [each.name for each in other.suggestions]
    assert [each.price.currency for each in there] == ["EUR", "JPY", "EUR"]
    assert float(there[0].price.band.middle.amount) == pytest.approx(PRICES["mugs"], rel=0.2)  # type: ignore[union-attr]
    assert there[2].suggestions[0].value == "hats"


def test_currencies_never_mix(shop: ColourShop) -> None:
    (found, unknown) = estimates(
        shop,
        (between("mugs"), Filter(currency="JPY")),
        (between("mugs"), Filter(currency="XYZ")),
    )

    assert {sale.product.price.currency for sale in found.price.items} == {"JPY"}  # type: ignore[union-attr]
    assert all(sale.age_days is not None for sale in found.price.items)
    assert (unknown.price.currency, unknown.price.band, unknown.price.items) == ("XYZ", None, ())


def test_too_few_are_said_to_be(shop: ColourShop) -> None:
    dear = Filter(category="auto", min_price=1100, currency="EUR")

    (found,) = estimates(shop, (between("auto"), dear))

    assert found.price.band is None
    assert len(found.price.items) < 5


@pytest.mark.parametrize(("count", "currency"), [(1, "JPY"), (2, "JPY")])
def test_a_catalogue_of_one_or_two_tells_nothing(tmp_path: Path, count: int, currency: str) -> None:
    (found,) = estimates(shop_of(tmp_path / "shop", count), (between("mugs"), None))

    assert (found.price.currency, found.price.band) == (currency, None)


def test_a_catalogue_without_prices_suggests_attributes(tmp_path: Path) -> None:
    (found,) = estimates(shop_of(tmp_path / "shop", 24, lambda number: {}), (between("mugs"), None))

    assert (found.price.currency, found.price.band, found.price.items) == ("", None, ())
    assert {each.name for each in found.suggestions} >= {"category", "size"}


def test_a_newer_version_is_fitted_to_beside_the_answers(tmp_path: Path) -> None:
    shop = shop_of(tmp_path / "shop", 48)

    async def run() -> None:
        queries = Queries(ServerFolder(shop.folder / "server"))
        photo = Photo(between("mugs"))
        try:
            first = await queries.estimate("main", photo)
            shop.stock = dict.fromkeys(range(96), 1)
            shop.publish()
            (await queries.catalogues.of("main")).best.gallery.follow()
            second = await queries.estimate("main", photo)
            assert (first.version, second.version) == (1, 2)
            before = first.estimate.price.weighting
            assert second.estimate.price.weighting == before  # nobody waits for the next
            async with asyncio.timeout(30):
                while (await queries.estimate("main", photo)).estimate.price.weighting == before:
                    await asyncio.sleep(0.02)
        finally:
            await queries.close()
        with pytest.raises(ServerUnavailable):
            await queries.estimate("main", photo)

    asyncio.run(run())
