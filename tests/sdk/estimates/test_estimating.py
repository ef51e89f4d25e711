"""Estimates from real stores: currencies, categories, few prices, damage, many threads."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from tests.making.embeddings import clustered
from tests.making.shops import bare_bundle, write_csv

from pocketlens import Filter, index
from pocketlens.errors import QueryError
from pocketlens.estimates.estimating import Appraiser
from pocketlens.open_install import OpenInstall, Settings
from pocketlens.options import PictureLimits, SearchOptions

DIM, TODAY = 16, date(2026, 11, 20)
Row = Callable[[int], dict[str, str]]


@contextmanager
def store(folder: Path, vectors: np.ndarray, row: Row = lambda number: {}) -> Iterator[OpenInstall]:
    """One item a vector; `row` adds to or replaces what it says of itself."""
    plain = {"price": "10.00", "currency": "EUR", "category": "things", "attr.sold_at": ""}
    rows = [
        {"image": f"{n}.jpg", "product_id": f"p{n}", **plain, **row(n)} for n in range(len(vectors))
    ]
    np.save(folder / "v.npy", vectors)
    (folder / "b.tflite").write_bytes(bare_bundle(DIM))
    index(
        write_csv(folder / "l.csv", rows),
        model=folder / "b.tflite",
        vectors=folder / "v.npy",
        out=folder / "store",
    )
    settings = Settings(SearchOptions(), "cpu", PictureLimits())
    with closing(OpenInstall.opened(folder / "store", settings)) as install:
        yield install


def vectors_of(count: int, *, seed: int = 0, clusters: int = 4) -> np.ndarray:
    return clustered(np.random.default_rng(seed), count, DIM, clusters=clusters)


def test_items_of_a_kind_tell_the_price_of_another(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    dear = rng.random(120) < 0.5
    vectors = clustered(rng, 120, DIM, clusters=1, spread=0.2)
    vectors[:, 0] = np.where(dear, 1, -1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    prices = np.where(dear, 100, 10) * np.exp(rng.normal(0, 0.1, 120))
    with store(tmp_path, vectors, lambda n: {"price": f"{prices[n]:.2f}"}) as install:
        appraiser = Appraiser(install, today=lambda: TODAY)
        for place in range(10):
            found = appraiser.estimate_vector(vectors[place]).price

            assert found.band is not None
            assert float(found.band.middle.amount) == pytest.approx(
                100 if dear[place] else 10, rel=0.2
            )
            assert float(found.band.high.amount) < (200 if dear[place] else 20)
            assert found.weighting.fitted_on == 120


def test_currencies_never_mix(tmp_path: Path) -> None:
    def row(number: int) -> dict[str, str]:
        if number % 4:
            return {"price": "10.00"}
        return {"price": "1500", "currency": "JPY"}

    vectors = vectors_of(160)
    with store(tmp_path, vectors, row) as install:
        appraiser = Appraiser(install, today=lambda: TODAY)
        usual = appraiser.estimate_vector(vectors[0]).price
        yen = appraiser.estimate_vector(vectors[0], currency="JPY").price
        filtered = appraiser.estimate_vector(vectors[0], filter=Filter(currency="JPY")).price
        none = appraiser.estimate_vector(vectors[0], currency="USD").price

    assert usual.band is not None
    assert yen.band is not None
    assert str(usual.band.middle) == "10.00 EUR"
    assert str(yen.band.middle) == "1500 JPY"
    assert yen == filtered
    assert len(yen.items) == 40
    assert {sale.product.price.currency for sale in yen.items if sale.product.price} == {"JPY"}
    assert (none.currency, none.items, none.band) == ("USD", (), None)


def test_no_currency_at_all_is_a_question_that_cannot_be(tmp_path: Path) -> None:
    with store(tmp_path, vectors_of(5)) as install, pytest.raises(QueryError, match="currency"):
        Appraiser(install).estimate_vector(vectors_of(5)[0], currency="euro")


def test_without_prices_attributes_are_still_suggested(tmp_path: Path) -> None:
    with store(tmp_path, vectors_of(20), lambda n: {"price": "", "currency": ""}) as install:
        found = Appraiser(install).estimate_vector(vectors_of(20)[0])

    assert (found.price.currency, found.price.band, found.price.items) == ("", None, ())
    assert [(each.name, each.value) for each in found.suggestions] == [("category", "things")]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_of_a_catalogue_of_few_it_says_that_they_are_too_few(tmp_path: Path, count: int) -> None:
    with store(tmp_path, vectors_of(count, clusters=1)) as install:
        found = Appraiser(install).estimate_vector(vectors_of(1, clusters=1)[0])

    assert found.price.band is None
    assert len(found.price.items) == count
    assert found.price.weighting.fitted_on == 0


def test_items_without_a_price_are_passed_over_for_further_ones(tmp_path: Path) -> None:
    vectors = vectors_of(120, clusters=1)
    near = np.argsort(-vectors @ vectors[0])[:60].tolist()
    with store(
        tmp_path, vectors, lambda n: {"price": "", "currency": ""} if n in near[1:] else {}
    ) as install:
        found = Appraiser(install).estimate_vector(vectors[0])

    assert len(found.price.items) == 40
    assert found.price.band is not None
    assert str(found.price.band.middle) == "10.00 EUR"


def test_a_price_of_nothing_is_none(tmp_path: Path) -> None:
    vectors = vectors_of(200, clusters=1)
    given = set(np.argsort(-vectors @ vectors[0])[1:130].tolist())

    def row(number: int) -> dict[str, str]:
        return {"price": "0", "currency": "USD"} if number in given else {}

    with store(tmp_path, vectors, row) as install:
        found = Appraiser(install).estimate_vector(vectors[0]).price
        dollars = Appraiser(install).estimate_vector(vectors[0], currency="USD").price

    assert (found.currency, len(found.items)) == ("EUR", 40)
    assert str(found.band and found.band.middle) == "10.00 EUR"
    assert dollars.items == ()


def test_given_things_leave_the_others_to_tell(tmp_path: Path) -> None:
    vectors = vectors_of(200, clusters=1)
    given = set(np.argsort(-vectors @ vectors[0])[:130].tolist())
    with store(tmp_path, vectors, lambda n: {"price": "0"} if n in given else {}) as install:
        found = Appraiser(install).estimate_vector(vectors[0], currency="EUR").price

    assert len(found.items) == 40


def test_two_currencies_in_one_question_are_refused(tmp_path: Path) -> None:
    euros = Filter(currency="EUR")
    with store(tmp_path, vectors_of(5)) as install:
        appraiser = Appraiser(install)
        with pytest.raises(QueryError, match="'USD' and 'EUR'"):
            appraiser.estimate_vector(vectors_of(5)[0], currency="USD", filter=euros)
        found = appraiser.estimate_vector(vectors_of(5)[0], currency="EUR", filter=euros)

    assert found.price.currency == "EUR"


def test_what_searches_have_read_is_not_read_again(tmp_path: Path) -> None:
    with store(tmp_path, vectors_of(50)) as install:
        install.answering().answer(vectors_of(50)[0], 5)
        cache = install.answering().searcher.cache
        before = cache.held_bytes

        Appraiser(install).estimate_vector(vectors_of(50)[0])

        assert cache.held_bytes > before > 0  # the items with a price were added to it


def test_a_filter_leaves_items_of_a_category(tmp_path: Path) -> None:
    def row(number: int) -> dict[str, str]:
        kind = "chairs" if number % 2 else "tables"
        return {"category": kind, "price": "5" if number % 2 else "50"}

    vectors = vectors_of(100)
    with store(tmp_path, vectors, row) as install:
        chairs = Appraiser(install).estimate_vector(vectors[0], filter=Filter(category="chairs"))
        unknown = Appraiser(install).estimate_vector(vectors[0], filter=Filter(category="boats"))

    assert chairs.price.band is not None
    assert str(chairs.price.band.middle) == "5.00 EUR"
    assert chairs.suggestions[0].value == "chairs"
    assert (unknown.price.items, unknown.suggestions) == ((), ())


def test_prices_that_rise_are_told_from_newer_sales(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    ages = rng.integers(0, 1500, 150)
    sold = [date.fromordinal(TODAY.toordinal() - int(age)).isoformat() for age in ages]
    prices = 100 * np.exp(-0.5 * ages / 365)
    vectors = vectors_of(150, clusters=1)
    with store(
        tmp_path, vectors, lambda n: {"price": f"{prices[n]:.2f}", "attr.sold_at": sold[n]}
    ) as install:
        found = Appraiser(install, today=lambda: TODAY).estimate_vector(vectors[0]).price

    assert found.weighting.half_life_days <= 365
    assert found.band is not None
    assert float(found.band.middle.amount) > 1.3 * np.median(prices)


def test_what_is_fitted_is_fitted_once_and_the_same_for_all_threads(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    prices = rng.uniform(5, 50, 60)
    vectors = vectors_of(60)
    with store(tmp_path, vectors, lambda n: {"price": f"{prices[n]:.2f}"}) as install:
        appraiser = Appraiser(install, today=lambda: TODAY)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(appraiser.estimate_vector, [vectors[3]] * 8))

    assert all(each == found[0] for each in found)
    assert found[0].price.weighting.fitted_on == 60


def test_many_items_with_one_picture_are_items_each(tmp_path: Path) -> None:
    vectors = np.repeat(vectors_of(2), 300, axis=0)
    prices = np.arange(600) % 300 + 1

    with store(tmp_path, vectors, lambda n: {"price": str(prices[n])}) as install:
        found = Appraiser(install).estimate_vector(vectors[0])

    assert len(found.price.items) == 40
    assert {sale.similarity for sale in found.price.items} == {found.price.items[0].similarity}


def test_an_image_of_several_items_and_an_item_of_several_images(tmp_path: Path) -> None:
    def row(number: int) -> dict[str, str]:
        shared = {"image": "0.jpg", "product_id": f"set-{number}", "price": "30.00"}
        return shared if number < 3 else {"product_id": f"p{number // 2}"}

    vectors = vectors_of(40, clusters=1)
    vectors[:3] = vectors[0]
    with store(tmp_path, vectors, row) as install:
        found = Appraiser(install).estimate_vector(vectors[0])
        dear = Appraiser(install).estimate_vector(vectors[0], filter=Filter(min_price=20))

    ids = [sale.product.id for sale in found.price.items]
    assert len(ids) == len(set(ids)) == 3 + 19
    assert sorted(sale.product.id for sale in dear.price.items) == ["set-0", "set-1", "set-2"]
    assert dear.price.band is None
