"""What an item may sell for, told from similar items (PURE).

    estimate = priced(neighbours, "EUR", weighting, today)
    estimate.band, estimate.items

Prices of one currency alone are asked; none is turned into another.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

import numpy as np

from pocketlens.estimates.weighting import HIGH, LOW, MIDDLE, Weighting, quantiles
from pocketlens.products import Price, Product, minor_digits
from pocketlens.query.filters import Filter

FEWEST = 5  # items; of fewer, 10 % and 90 % are no more than the least and the most
SOLD_AT = "sold_at"  # the attribute that says when, an ISO date


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An item like the one in question."""

    product: Product
    similarity: float


@dataclass(frozen=True, slots=True)
class Sale:
    """An item that an estimate came from.

    Attributes:
        product: With its price.
        similarity: Of its best image to the photo.
        age_days: Since it was sold; None where its `sold_at` does not say.
        weight: Share of the estimate, 0 to 1.
    """

    product: Product
    similarity: float
    age_days: int | None
    weight: float


@dataclass(frozen=True, slots=True)
class PriceBand:
    """Quantiles of what such an item goes for: 10, 50 and 90 %."""

    low: Price
    middle: Price
    high: Price


@dataclass(frozen=True, slots=True)
class PriceEstimate:
    """What similar items went for.

    Attributes:
        currency: Of all of it; "" where nothing has a price.
        band: Between which prices four of five are; None where items are too few to say.
        items: That it came from, heaviest first; those there are where they are too few.
        weighting: How they count.
    """

    currency: str
    band: PriceBand | None
    items: tuple[Sale, ...]
    weighting: Weighting

    @property
    def median_age_days(self) -> float | None:
        """Of the items that say when they were sold."""
        ages = [sale.age_days for sale in self.items if sale.age_days is not None]
        return float(np.median(ages)) if ages else None


def commonest_currency(neighbours: Sequence[Neighbour]) -> str:
    """Of the prices among neighbours, the nearer one of two as common; "" without any."""
    prices = (each.product.price for each in neighbours)
    counts = Counter(price.currency for price in prices if price and price.minor_units)
    return counts.most_common(1)[0][0] if counts else ""


def with_price(wanted: Filter, currency: str) -> Filter:
    """A filter, and a price above 0 in a currency.

    Raises:
        QueryError: The currency cannot be, or the filter lets no price above 0 through.
    """
    least = Decimal(1).scaleb(-minor_digits(currency))
    return replace(wanted, currency=currency, min_price=max(least, wanted.min_price or 0))


def priced(
    neighbours: Sequence[Neighbour], currency: str, weighting: Weighting, today: date
) -> PriceEstimate:
    """Estimates a price.

    Args:
        neighbours: Those without a price above 0 in `currency` are passed over.
        currency: Three capital letters; "" where there is none.
        weighting: Fitted to the catalogue.
        today: From which ages are counted.
    """
    with_price = [each for each in neighbours if log_price(each.product, currency) is not None]
    if not with_price:
        return PriceEstimate(currency, None, (), weighting)
    ages = [age_days(each.product, today) for each in with_price]
    weights = weighting.weights(
        [each.similarity for each in with_price],
        [math.nan if age is None else age for age in ages],
    )
    sales = tuple(
        Sale(each.product, each.similarity, age, float(weight))
        for each, age, weight in zip(with_price, ages, weights, strict=True)
    )
    items = tuple(sorted(sales, key=lambda sale: -sale.weight))
    if len(items) < FEWEST:
        return PriceEstimate(currency, None, items, weighting)
    logs = np.array([log_price(each.product, currency) for each in with_price], np.float64)
    low, middle, high = quantiles(logs, weights, (LOW, MIDDLE, HIGH)).tolist()
    low, high = min(low - weighting.widening, middle), max(high + weighting.widening, middle)
    band = PriceBand(*(_price(each, currency) for each in (low, middle, high)))
    return PriceEstimate(currency, band, items, weighting)


def _price(log: float, currency: str) -> Price:
    return Price(min(round(math.exp(log)), 2**53), currency)


def log_price(product: Product, currency: str) -> float | None:
    """Natural logarithm of a price in minor units; None of one of 0, or not in the currency."""
    price = product.price
    if price is None or price.currency != currency or price.minor_units == 0:
        return None
    return math.log(price.minor_units)


def age_days(product: Product, today: date) -> int | None:
    """Days since a product was sold, at least 0; None where it does not say when."""
    sold = sold_on(product.attributes.get(SOLD_AT, ""))
    return None if sold is None else max(0, (today - sold).days)


def sold_on(text: str) -> date | None:
    """The day that an ISO date, or date and time, names; None of any other text."""
    try:
        return datetime.fromisoformat(text.strip()).date()
    except ValueError:
        return None
