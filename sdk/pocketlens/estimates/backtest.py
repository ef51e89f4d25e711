"""A weighting for one store and currency, fitted by telling the prices of its own items.

Each of some items is looked for by its own image among the others, as a photo would be, and its
price is told from those that were sold before it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pocketlens.estimates.neighbours import NEIGHBOURS, Items
from pocketlens.estimates.prices import SOLD_AT, Neighbour, log_price, sold_on, with_price
from pocketlens.estimates.weighting import Floats, Weighting, fitted
from pocketlens.query.filters import Filter, currency_number

if TYPE_CHECKING:
    from pocketlens.products import Product

_ITEMS = 400  # whose price is told; the interval's share is then known to 2 %
_NEWEST, _FEWEST = 1 / 3, 30  # share of all items, and items: enough were sold before them
_AT_ONCE = 16  # looked for together: others who ask come in between
_SEED = 12


def weighting_of(items: Items, currency: str) -> Weighting:
    """The weighting that suits a catalogue's items with a price in `currency`.

    Raises:
        StoreError: The store is damaged.
    """
    keys, images, days = _items(items, currency)
    if len(keys) == 0:
        return Weighting()
    vectors, owns = items.units_of(images), items.products(keys.tolist())
    told = np.empty((len(keys), 3, NEIGHBOURS))
    truths = np.full(len(keys), np.nan)
    for start in range(0, len(keys), _AT_ONCE):
        nearest = items.nearest(vectors[start : start + _AT_ONCE], with_price(Filter(), currency))
        for row, found in enumerate(nearest, start):
            own = owns[int(keys[row])]
            truth = log_price(own, currency)
            truths[row] = np.nan if truth is None else truth
            others = [each for each in found if each.product.id != own.id]
            told[row] = _told_by(others, currency, days[row])
    usable = np.isfinite(truths) & np.isfinite(told[:, 0, 0])
    similarities, ages, logs = told[usable].swapaxes(0, 1)
    return fitted(similarities, ages, logs, truths[usable])


def _told_by(neighbours: Sequence[Neighbour], currency: str, day: float) -> Floats:
    """Similarities, ages and logarithms of prices, (3, NEIGHBOURS), of those sold before `day`."""
    told = np.tile([[-np.inf], [np.nan], [0.0]], NEIGHBOURS)
    column = 0
    for each in neighbours:
        log, age = log_price(each.product, currency), _age(each.product, day)
        if log is not None and not age < 0 and column < NEIGHBOURS:
            told[:, column] = each.similarity, age, log
            column += 1
    return told


def _items(
    items: Items, currency: str
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], Floats]:
    """Items to tell: product keys, an image of each, and the day it was sold, NaN if unknown."""
    columns = items.columns()
    shown, first = np.unique(columns.link_product_keys, return_index=True)
    priced = columns.keys[(columns.currencies == currency_number(currency)) & (columns.prices > 0)]
    keys = np.intersect1d(shown, priced)
    days = np.full(int(columns.keys[-1]) + 1 if len(columns.keys) else 1, np.nan)
    for value, of in items.values_of(SOLD_AT):
        sold = sold_on(value)
        if sold is not None:
            days[of] = sold.toordinal()
    dated = keys[np.isfinite(days[keys])]
    if 2 * len(dated) >= len(keys):
        count = max(_FEWEST, int(_NEWEST * len(dated)))
        keys = dated[np.argsort(days[dated], kind="stable")[-count:]]
    chosen = np.random.default_rng(_SEED).permutation(keys)[:_ITEMS]
    images = columns.link_image_keys[first[np.searchsorted(shown, chosen)]]
    return chosen, images, days[chosen]


def _age(product: Product, day: float) -> float:
    """Days between a neighbour's sale and an item's; NaN where either is unknown."""
    sold = sold_on(product.attributes.get(SOLD_AT, ""))
    return math.nan if sold is None else day - sold.toordinal()
