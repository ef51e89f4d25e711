"""Rows say what they said when they were written, or are refused."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.errors import StoreCorrupt
from pocketlens.products import Image, Price, Product
from pocketlens.store import rows

IDS = st.text(min_size=1, max_size=20)
TEXTS = st.text(max_size=20)
PRICES = st.builds(Price, st.integers(0, 2**53), st.sampled_from(["EUR", "JPY"]))
PRODUCTS = st.builds(
    Product,
    IDS,
    TEXTS,
    TEXTS,
    TEXTS,
    st.none() | PRICES,
    st.none() | st.integers(0, 2**53),
    st.dictionaries(TEXTS, TEXTS, max_size=3),
)
MUG = Product("mug", "Mug", "kitchen", "https://s/mug", Price(1250, "EUR"), 3, {"size": "L"})


@settings(deadline=None, max_examples=100)
@given(key=st.integers(1, 2**32 - 1), product=PRODUCTS)
def test_products_come_back_from_their_two_rows(key: int, product: Product) -> None:
    texts = rows.product_row(rows.product_part(key, product), 1)
    offer = rows.offer_row(rows.offer_part(key, product))

    part = rows.read_product(texts, ["other", product.category])

    assert rows.product_of(part, rows.read_offer(offer)) == product


@settings(deadline=None, max_examples=50)
@given(products=st.lists(PRODUCTS, max_size=20))
def test_offers_at_once_are_the_offers_one_by_one(products: list[Product]) -> None:
    offers = [rows.offer_row(rows.offer_part(n, each)) for n, each in enumerate(products, 1)]

    columns = rows.read_offers(np.array(offers, np.int64).reshape(-1, 5))

    for place, row in enumerate(offers):
        one = rows.read_offer(row)
        assert columns.keys[place] == one.key
        assert columns.price[place] == one.price_minor_units
        assert columns.stock[place] == one.stock
        letters = int(columns.currency[place]).to_bytes(3, "big").lstrip(b"\0").decode()
        assert letters == one.currency


CODES = np.arange(-8, 8, dtype=np.int8).reshape(4, 4)
PLACE = 5 << rows.PLACE_BITS
CHUNK = rows.chunk_row(PLACE, np.array([1, 3, 9, 11], np.uint32), CODES)
READERS: dict[str, tuple[tuple[Any, ...], Callable[[Any], object]]] = {
    "product": (
        rows.product_row(rows.product_part(7, MUG), 0),
        lambda row: rows.read_product(row, ["kitchen", "shoes"]),
    ),
    "offer": (rows.offer_row(rows.offer_part(7, MUG)), rows.read_offer),
    "offers at once": (
        rows.offer_row(rows.offer_part(7, MUG)),
        lambda row: rows.read_offers(np.array([row], np.int64)),
    ),
    "image": (rows.image_row(7, Image("i", "https://s/i")), rows.read_image),
    "list": (CHUNK, lambda row: rows.read_chunks(PLACE, [row], 4, 4)),
    "map": (rows.map_row(2, b"abcd", b""), lambda row: rows.read_map("map", 2, row)),
    "category": (rows.category_row(2, "kitchen"), lambda row: rows.read_category(2, row)),
    "attribute": (rows.attribute_row("size", "L", 0, b"abcd"), rows.check_attribute),
}


@pytest.mark.parametrize("kind", READERS)
def test_every_changed_field_is_noticed(kind: str) -> None:
    row, read = READERS[kind]
    read(row)

    for place, value in enumerate(row):
        with pytest.raises(StoreCorrupt):
            read((*row[:place], changed(value), *row[place + 1 :]))


@pytest.mark.parametrize("kind", [kind for kind in READERS if kind != "offers at once"])
@pytest.mark.parametrize("other", [None, 1.5, "text", b"bytes", 2**62, -1])
def test_a_field_of_another_type_is_noticed(kind: str, other: object) -> None:
    row, read = READERS[kind]

    for place, value in enumerate(row):
        if type(value) is not type(other):
            with pytest.raises(StoreCorrupt):
                read((*row[:place], other, *row[place + 1 :]))


def changed(value: Any) -> Any:
    match value:
        case int():
            return value + 1
        case str():
            return value + "x"
        case _:
            return value + b"x" if not value else bytes([value[0] ^ 1]) + value[1:]


def test_chunks_of_a_list_must_be_whole_and_in_order() -> None:
    keys = np.array([1, 3, 9], np.uint32)
    first = rows.chunk_row(PLACE, keys, CODES[:3])
    second = rows.chunk_row(PLACE + 1, keys[:2] + np.uint32(9), CODES[2:])

    found_keys, found_codes = rows.read_chunks(PLACE, [first, second], 5, 4)
    last_keys, _ = rows.read_chunks(PLACE + 1, [second], 2, 4)

    assert found_keys.tolist() == [1, 3, 9, 10, 12]
    assert np.array_equal(found_codes, np.concatenate([CODES[:3], CODES[2:]]))
    assert last_keys.tolist() == [10, 12]
    for wrong in ([], [first], [second], [second, first], [first, second, second]):
        with pytest.raises(StoreCorrupt, match="list 5"):
            rows.read_chunks(PLACE, wrong, 5, 4)
    with pytest.raises(StoreCorrupt):
        rows.read_chunks(4 << rows.PLACE_BITS, [first, second], 5, 4)


def test_an_empty_list_is_a_list() -> None:
    nothing = rows.chunk_row(0, np.empty(0, np.uint32), np.empty((0, 4), np.int8))

    keys, codes = rows.read_chunks(0, [nothing], 0, 4)

    assert (keys.shape, codes.shape) == ((0,), (0, 4))
