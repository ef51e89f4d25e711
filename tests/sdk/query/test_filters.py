"""Filters: each condition, their conjunction, unknown values, currencies of other minor units."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.errors import QueryError
from pocketlens.product_columns import ProductColumns
from pocketlens.products import Price, Product
from pocketlens.query.filters import (
    Filter,
    currency_number,
    eligible_images,
    eligible_products,
)

PRODUCTS = {
    1: Product("a", category="shoes", price=Price(1999, "EUR"), stock=3, attributes={"hue": "red"}),
    2: Product("b", category="shoes", price=Price(2000, "EUR"), stock=0),
    4: Product("c", category="hats", price=Price(20, "JPY"), attributes={"hue": "red", "fit": "s"}),
    5: Product("d", price=Price(20_001, "KWD"), stock=1),
    9: Product("e", category="hats", stock=7, attributes={"hue": "blue"}),
}
LINKS = [(1, 1), (1, 2), (2, 4), (3, 9), (3, 1), (7, 5), (8, 9)]


def columns_of(products: dict[int, Product], links: list[tuple[int, int]]) -> ProductColumns:
    names = tuple(dict.fromkeys(product.category for product in products.values()))
    prices = [product.price for product in products.values()]
    images, shown = zip(*sorted(links), strict=True)
    return ProductColumns(
        keys=np.array(list(products), np.uint32),
        categories=np.array([names.index(each.category) for each in products.values()], np.int32),
        category_names=names,
        prices=np.array([-1 if price is None else price.minor_units for price in prices], np.int64),
        currencies=np.array(
            [0 if price is None else currency_number(price.currency) for price in prices], np.int32
        ),
        stock=np.array(
            [-1 if each.stock is None else each.stock for each in products.values()], np.int64
        ),
        link_image_keys=np.array(images, np.uint32),
        link_product_keys=np.array(shown, np.uint32),
    )


def attribute_keys(name: str, value: str) -> npt.NDArray[np.uint32]:
    keys = [key for key, each in PRODUCTS.items() if each.attributes.get(name) == value]
    return np.array(keys, np.uint32)


def eligible(wanted: Filter) -> list[int]:
    columns = columns_of(PRODUCTS, LINKS)
    found = eligible_products(wanted, columns, attribute_keys)
    assert found.dtype == np.bool_
    return columns.keys[found].tolist()


CASES = {
    "nothing asked": (Filter(), [1, 2, 4, 5, 9]),
    "category": (Filter(category="shoes"), [1, 2]),
    "category unknown to the shop": (Filter(category="Shoes"), []),
    "no category": (Filter(category=""), [5]),
    "max price, unknown prices out": (Filter(max_price=Decimal("19.99")), [1]),
    "bounds are included": (Filter(min_price=Decimal("20"), max_price=Decimal("20")), [2, 4]),
    "a bound finer than the minor unit": (Filter(max_price=Decimal("20.0005")), [1, 2, 4]),
    "min price of three decimals": (Filter(min_price=Decimal("20.001")), [5]),
    "min price alone": (Filter(min_price=0), [1, 2, 4, 5]),
    "a bound beyond every price": (Filter(max_price=10**30), [1, 2, 4, 5]),
    "nothing so dear": (Filter(min_price=10**30), []),
    "currency": (Filter(currency="JPY"), [4]),
    "currency and price": (Filter(currency="EUR", min_price=20), [2]),
    "currency nobody uses": (Filter(currency="CHF"), []),
    "in stock, unknown stock out": (Filter(in_stock=True), [1, 5, 9]),
    "attribute": (Filter(attributes={"hue": "red"}), [1, 4]),
    "two attributes": (Filter(attributes={"hue": "red", "fit": "s"}), [4]),
    "attribute nobody has": (Filter(attributes={"hue": "green"}), []),
    "all at once": (
        Filter("shoes", Decimal("19"), Decimal("20"), "EUR", True, {"hue": "red"}),
        [1],
    ),
}


@pytest.mark.parametrize(("wanted", "keys"), CASES.values(), ids=CASES)
def test_filter_leaves_the_products_that_satisfy_it(wanted: Filter, keys: list[int]) -> None:
    assert eligible(wanted) == keys


@pytest.mark.parametrize(
    ("wanted", "images"),
    [(Filter(), [1, 2, 3, 7, 8]), (Filter(category="hats"), [2, 3, 8]), (Filter(category="x"), [])],
)
def test_images_of_eligible_products_come_once(wanted: Filter, images: list[int]) -> None:
    columns = columns_of(PRODUCTS, LINKS)

    found = eligible_images(columns, eligible_products(wanted, columns, attribute_keys))

    assert found.tolist() == images


def test_an_empty_store_has_no_eligible_image() -> None:
    none = np.empty(0, np.uint32)
    columns = ProductColumns(
        keys=none,
        categories=none.astype(np.int32),
        category_names=(),
        prices=none.astype(np.int64),
        currencies=none.astype(np.int32),
        stock=none.astype(np.int64),
        link_image_keys=none,
        link_product_keys=none,
    )

    found = eligible_products(Filter(category="a"), columns, attribute_keys)

    assert len(eligible_images(columns, found)) == 0


BAD = {
    "negative": {"min_price": Decimal("-1")},
    "not a number": {"max_price": Decimal("NaN")},
    "infinite": {"max_price": Decimal("inf")},
    "a float": {"max_price": 12.5},
    "a bool": {"max_price": True},
    "upside down": {"min_price": 5, "max_price": 4},
    "currency in small letters": {"currency": "eur"},
    "currency of four": {"currency": "EURO"},
}


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD)
def test_an_illegal_filter_cannot_be_made(fields: dict[str, object]) -> None:
    with pytest.raises(QueryError, match="Expected"):
        Filter(**fields)  # type: ignore[arg-type]  # of the table


def test_equal_filters_are_one_identity_and_only_the_empty_one_is_empty() -> None:
    one = Filter(attributes={"a": "1", "b": "2"}, min_price=Decimal("1.0"))
    same = Filter(attributes={"b": "2", "a": "1"}, min_price=1)

    assert hash(one.identity) == hash(same.identity)
    assert one.identity == same.identity
    assert Filter().is_empty
    assert Filter(attributes={}).is_empty
    assert not one.is_empty
    assert not Filter(category="").is_empty


PRICES = st.one_of(
    st.none(),
    st.builds(Price, st.integers(0, 5_000), st.sampled_from(["EUR", "JPY", "KWD", "USD"])),
)


@given(
    st.lists(PRICES, min_size=1, max_size=12),
    st.decimals(0, 60, places=3),
    st.decimals(0, 60, places=3),
)
@settings(deadline=None, max_examples=100)
def test_price_bounds_agree_with_amounts_compared_one_by_one(
    prices: list[Price | None], one: Decimal, other: Decimal
) -> None:
    low, high = sorted((one, other))
    products = {key: Product(str(key), price=price) for key, price in enumerate(prices, start=1)}
    columns = columns_of(products, [(1, 1)])

    found = eligible_products(Filter(min_price=low, max_price=high), columns, attribute_keys)

    expected = [price is not None and low <= price.amount <= high for price in prices]
    assert found.tolist() == expected
