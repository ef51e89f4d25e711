"""Which products a search may return: category, price, currency, stock, attributes.

    wanted = Filter(category="shoes", max_price=Decimal("80"), in_stock=True)
    allowed = eligible_products(wanted, columns, attribute_keys)      # bool, one a product
    image_keys = eligible_images(columns, allowed)

A filter is a value; it is evaluated over the dense columns of a store's products, never product
by product. All its conditions must hold. What is unknown of a product never satisfies a condition.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from pocketlens.errors import QueryError
from pocketlens.product_columns import ProductColumns
from pocketlens.products import is_currency, minor_digits

AttributeKeys = Callable[[str, str], npt.NDArray[np.uint32]]
"""Name and value of an attribute to the ascending keys of the products that have it."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions on products; None, False and empty ask for nothing.

    Attributes:
        category: The product's category, exactly as received.
        min_price, max_price: Bounds, both included, in the major unit of the product's own
            currency (12.50 is 12.50 EUR for a product in EUR, 12.50 USD for one in USD).
        currency: Three capital letters; only products priced in it.
        in_stock: Only products known to have at least one piece.
        attributes: Name to value; each must be there with just that value.
    """

    category: str | None = None
    min_price: Decimal | int | None = None
    max_price: Decimal | int | None = None
    currency: str | None = None
    in_stock: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, price in (("min_price", self.min_price), ("max_price", self.max_price)):
            if price is None:
                continue
            known = isinstance(price, (Decimal, int)) and not isinstance(price, bool)
            if not known or not Decimal(price).is_finite() or price < 0:
                raise QueryError(
                    f"Expected {name} as a Decimal of 0 or more. Received {price!r}. "
                    f'Try Decimal("12.50").'
                )
        if None not in (self.min_price, self.max_price) and self.min_price > self.max_price:  # type: ignore[operator]  # neither is None
            raise QueryError(
                f"Expected min_price <= max_price. Received {self.min_price} and {self.max_price}."
            )
        if self.currency is not None and currency_number(self.currency) == 0:
            raise QueryError(
                f"Expected a currency of three capital letters (ISO 4217, such as EUR). "
                f"Received {self.currency!r}."
            )
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))

    @property
    def identity(self) -> tuple[object, ...]:
        """The same for equal filters, and hashable: what evaluations are remembered by."""
        attributes = tuple(sorted(self.attributes.items()))
        prices = (self.min_price, self.max_price, self.currency)
        return (self.category, *prices, self.in_stock, attributes)

    @property
    def is_empty(self) -> bool:
        """Whether every product satisfies it."""
        return self.identity == Filter().identity


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Products that satisfy one filter at least: those of two categories, for example."""

    filters: tuple[Filter, ...]

    @property
    def identity(self) -> tuple[object, ...]:
        """As of a filter."""
        return tuple(each.identity for each in self.filters)

    @property
    def is_empty(self) -> bool:
        """Whether every product satisfies it."""
        return any(each.is_empty for each in self.filters)


Wanted = Filter | AnyOf
"""What a search is narrowed to."""


def in_categories(wanted: Filter, categories: Sequence[str]) -> Wanted:
    """A filter without a category, narrowed to some; the same for none."""
    each = tuple(replace(wanted, category=category) for category in categories)
    return AnyOf(each) if each else wanted


def currency_number(currency: str) -> int:
    """A currency's three capital letters as a 24-bit number, first letter highest; 0 for others."""
    return int.from_bytes(currency.encode(), "big") if is_currency(currency) else 0


def eligible_products(
    wanted: Wanted, columns: ProductColumns, attribute_keys: AttributeKeys
) -> npt.NDArray[np.bool_]:
    """Which products satisfy a filter.

    Args:
        wanted: The filter, or several.
        columns: Of the store.
        attribute_keys: Called once for each attribute of each filter.

    Returns:
        bool (n,), in the order of `columns.keys`.
    """
    if isinstance(wanted, AnyOf):
        satisfied = np.zeros(len(columns.keys), np.bool_)
        for each in wanted.filters:
            satisfied |= eligible_products(each, columns, attribute_keys)
        return satisfied
    allowed = np.ones(len(columns.keys), np.bool_)
    if wanted.category is not None:
        names = columns.category_names
        number = names.index(wanted.category) if wanted.category in names else -1
        allowed &= columns.categories == number
    if wanted.currency is not None:
        allowed &= columns.currencies == currency_number(wanted.currency)
    if wanted.min_price is not None or wanted.max_price is not None:
        allowed &= _affordable(wanted, columns)
    if wanted.in_stock:
        allowed &= columns.stock > 0
    for name, value in wanted.attributes.items():
        allowed &= np.isin(columns.keys, attribute_keys(name, value), assume_unique=True)
    return allowed


def eligible_images(
    columns: ProductColumns, allowed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint32]:
    """Images that show at least one allowed product: uint32 (n,), ascending, each once."""
    images = columns.link_image_keys[linked(columns, allowed)]
    return images[np.flatnonzero(np.diff(images, prepend=np.uint32(0)))]


def linked(columns: ProductColumns, allowed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which links lead to an allowed product: bool (m,)."""
    if len(columns.keys) == 0:
        return np.zeros(len(columns.link_product_keys), np.bool_)
    by_key = np.zeros(int(columns.keys[-1]) + 1, np.bool_)  # keys are dense
    by_key[columns.keys[allowed]] = True
    return by_key[columns.link_product_keys]


def _affordable(wanted: Filter, columns: ProductColumns) -> npt.NDArray[np.bool_]:
    """Whether prices are within the bounds, each in its own currency."""
    within = np.zeros(len(columns.keys), np.bool_)
    asked = columns.currencies if wanted.currency is None else [currency_number(wanted.currency)]
    for number in np.unique(asked):
        if number == 0:
            continue
        digits = minor_digits(int(number).to_bytes(3, "big").decode())
        low = _minor_units(wanted.min_price, digits, ROUND_CEILING, otherwise=0)
        high = _minor_units(wanted.max_price, digits, ROUND_FLOOR, otherwise=2**53)
        priced = (columns.currencies == number) & (columns.prices >= 0)
        within |= priced & (columns.prices >= low) & (columns.prices <= high)
    return within


def _minor_units(bound: Decimal | int | None, digits: int, rounding: str, otherwise: int) -> int:
    """A bound in a currency's minor unit; prices end at 2**53."""
    if bound is None:
        return otherwise
    exact = min(Decimal(bound), Decimal(2**53)).scaleb(digits)
    return min(int(exact.to_integral_value(rounding)), 2**53 + 1)
