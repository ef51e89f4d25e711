"""Prices from neighbours: one currency, enough of them, their ages, what they weigh."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.estimates.prices import (
    FEWEST,
    Neighbour,
    PriceBand,
    commonest_currency,
    priced,
    sold_on,
)
from pocketlens.estimates.weighting import Weighting
from pocketlens.products import Price, Product

TODAY = date(2026, 11, 20)
EVEN = Weighting(temperature=1e6, widening=0.0)


def item(
    number: int, cents: int | None, currency: str = "EUR", *, sold: str = "", alike: float = 0.8
) -> Neighbour:
    price = None if cents is None else Price(cents, currency)
    return Neighbour(Product(f"p{number}", price=price, attributes={"sold_at": sold}), alike)


def test_an_even_estimate_is_the_median_and_the_tenths() -> None:
    neighbours = [item(number, 100 * (number + 1)) for number in range(9)]

    found = priced(neighbours, "EUR", EVEN, TODAY)

    assert found.band == PriceBand(
        Price(132, "EUR"),  # on a line of logarithms between 100 at 1/18 and 200 at 3/18
        Price(500, "EUR"),
        Price(859, "EUR"),
    )
    assert [sale.weight for sale in found.items] == pytest.approx([1 / 9] * 9)


def test_what_is_most_alike_counts_most_and_comes_first() -> None:
    neighbours = [item(n, 1000, alike=0.5) for n in range(5)] + [item(9, 5000, alike=0.9)]

    found = priced(neighbours, "EUR", Weighting(temperature=0.05), TODAY)

    assert found.items[0].product.id == "p9"
    assert found.items[0].weight > 0.99
    assert found.band is not None
    assert found.band.middle == Price(4987, "EUR")  # on the line towards what weighs nothing


def test_another_currency_is_never_asked() -> None:
    neighbours = [item(n, 1000) for n in range(5)] + [item(n + 5, 9, "USD") for n in range(9)]

    found = priced(neighbours, "EUR", EVEN, TODAY)

    assert found.band == PriceBand(*[Price(1000, "EUR")] * 3)
    assert {sale.product.id for sale in found.items} == {f"p{n}" for n in range(5)}


@pytest.mark.parametrize("count", range(FEWEST))
def test_too_few_are_shown_and_say_nothing(count: int) -> None:
    neighbours = [item(n, 1000) for n in range(count)] + [
        item(9, None),
        item(8, 0),
        item(7, 5, "USD"),
    ]

    found = priced(neighbours, "EUR", EVEN, TODAY)

    assert found.band is None
    assert len(found.items) == count
    assert found.currency == "EUR"


def test_the_interval_is_widened_by_a_factor_and_never_past_the_median() -> None:
    neighbours = [item(n, 1000 + n) for n in range(9)]

    wide = priced(neighbours, "EUR", Weighting(1e6, widening=0.5), TODAY)
    narrow = priced(neighbours, "EUR", Weighting(1e6, widening=-9), TODAY)

    assert wide.band is not None
    assert narrow.band is not None
    assert wide.band.high.minor_units / 1007 == pytest.approx(1.65, abs=0.01)
    assert 1001 / wide.band.low.minor_units == pytest.approx(1.65, abs=0.01)
    assert narrow.band.low == narrow.band.middle == narrow.band.high


@settings(deadline=None)
@given(st.lists(st.integers(1, 2**53), min_size=FEWEST, max_size=12), st.floats(-2, 40))
def test_quantiles_are_in_order_and_are_prices(cents: list[int], widening: float) -> None:
    neighbours = [item(n, each) for n, each in enumerate(cents)]

    found = priced(neighbours, "EUR", Weighting(widening=widening), TODAY)

    assert found.band is not None
    low, middle, high = found.band.low, found.band.middle, found.band.high
    assert low.minor_units <= middle.minor_units <= high.minor_units


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("2026-11-10", 10),
        ("2026-11-10T23:59:00+02:00", 10),
        (" 2025-11-20 ", 365),
        ("2026-12-24", 0),  # a clock that is ahead
        ("last week", None),
        ("", None),
    ],
)
def test_age_is_told_from_an_iso_date(text: str, age: int | None) -> None:
    found = priced([item(n, 1000, sold=text) for n in range(5)], "EUR", EVEN, TODAY)

    assert {sale.age_days for sale in found.items} == {age}
    assert found.median_age_days == age


def test_older_sales_count_for_less() -> None:
    sold = ["2026-11-20"] * 5 + ["2020-11-20"] * 5
    neighbours = [item(n, 1000 if n < 5 else 9000, sold=sold[n]) for n in range(10)]

    found = priced(neighbours, "EUR", Weighting(half_life_days=365, widening=0.0), TODAY)

    assert found.band is not None
    assert found.band.middle == Price(1000, "EUR")
    assert found.items[0].weight / found.items[-1].weight == pytest.approx(2**6, rel=0.01)


def test_the_commonest_currency_wins_and_the_nearer_of_two() -> None:
    euros, dollars = item(0, 5, "EUR"), item(1, 5, "USD")

    assert commonest_currency([dollars, euros, euros]) == "EUR"
    assert commonest_currency([dollars, euros]) == "USD"
    assert commonest_currency([item(0, None)]) == ""
    assert commonest_currency([]) == ""


def test_a_date_is_a_day() -> None:
    assert sold_on("2026-02-28T10:00:00Z") == date(2026, 2, 28)
    assert sold_on("28/02/2026") is None
