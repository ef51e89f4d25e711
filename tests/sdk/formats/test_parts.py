"""Canonical bytes: one part has one encoding, and every other is refused."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.errors import CatalogError
from pocketlens.formats import parts
from pocketlens.formats.parts import ImagePart, OfferPart, Part, PlacementPart, ProductPart

KEYS = st.integers(0, 2**32 - 1)
TEXTS = st.text(max_size=20)
AMOUNTS = st.integers(0, 2**53)
CURRENCIES = st.sampled_from(["EUR", "USD", "JPY", "KWD"])

IMAGES = st.builds(
    ImagePart,
    KEYS,
    TEXTS,
    TEXTS,
    st.sets(KEYS, max_size=5).map(lambda keys: tuple(sorted(keys))),
    st.binary(max_size=40),
)
PLACEMENTS = st.builds(PlacementPart, KEYS, KEYS)
PRODUCTS = st.builds(
    ProductPart, KEYS, TEXTS, TEXTS, TEXTS, TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=4)
)
OFFERS = st.one_of(
    st.builds(OfferPart, KEYS, AMOUNTS, CURRENCIES, st.integers(-1, 2**53)),
    st.builds(OfferPart, KEYS, st.just(-1), st.just(""), st.integers(-1, 2**53)),
)
PARTS = st.one_of(IMAGES, PLACEMENTS, PRODUCTS, OFFERS)
EXAMPLES: list[Part] = [
    ImagePart(1, "i", "https://s/i", (2, 7), b"\x01\xff"),
    PlacementPart(1, 3),
    ProductPart(2, "p", "Mug", "kitchen", "", {"b": "2", "a": "1"}),
    OfferPart(2, 1250, "EUR", 3),
]


@settings(deadline=None, max_examples=200)
@given(part=PARTS)
def test_round_trip(part: Part) -> None:
    assert parts.decode(parts.encode(part)) == part


@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=60))
def test_whatever_decodes_encodes_to_the_same_bytes(data: bytes) -> None:
    try:
        part = parts.decode(data)
    except CatalogError:
        return
    assert parts.encode(part) == data


@settings(deadline=None, max_examples=200)
@given(left=PARTS, right=PARTS)
def test_different_parts_have_different_bytes(left: Part, right: Part) -> None:
    assert (parts.encode(left) == parts.encode(right)) == (left == right)


@pytest.mark.parametrize("part", EXAMPLES, ids=lambda part: type(part).__name__)
def test_cut_at_every_length_and_with_a_tail_is_refused(part: Part) -> None:
    data = parts.encode(part)

    for end in range(len(data)):
        with pytest.raises(CatalogError):
            parts.decode(data[:end])
    with pytest.raises(CatalogError):
        parts.decode(data + b"\0")


def test_attributes_are_sorted_whatever_order_they_came_in() -> None:
    left = ProductPart(
        1, "p", "", "", "", {"b": "2", "a": "1", "\N{LATIN SMALL LETTER E WITH ACUTE}": "3"}
    )
    right = ProductPart(1, "p", "", "", "", dict(reversed(left.attributes.items())))

    assert parts.encode(left) == parts.encode(right)
    assert parts.encode(left).index(b"a") < parts.encode(left).index(b"b")


def test_an_offer_field_by_field() -> None:
    data = parts.encode_offer(7, 1250, "EUR", 3)

    assert len(data) == parts.OFFER_BYTES
    assert data == (b"\x04" + b"\x07\0\0\0" + b"\xe2\x04" + bytes(6) + b"EUR" + b"\x03" + bytes(7))


OTHER_BYTES = {
    "unknown tag": b"\x05\x01\0\0\0",
    "product keys descend": parts.encode_image(1, "i", "", [7, 2], b""),
    "a product key twice": parts.encode_image(1, "i", "", [2, 2], b""),
    "text is no UTF-8": b"\x03\x01\0\0\0\x01\0\0\0\xff" + bytes(16),
    "attributes unsorted": parts.encode_product(ProductPart(1, "p", "", "", ""))[:-4]
    + b"\x02\0\0\0"
    + b"\x01\0\0\0b"
    + bytes(4)
    + b"\x01\0\0\0a"
    + bytes(4),
    "an attribute twice": parts.encode_product(ProductPart(1, "p", "", "", ""))[:-4]
    + b"\x02\0\0\0"
    + (b"\x01\0\0\0a" + bytes(4)) * 2,
    "price without currency": parts.encode_offer(1, 5, "", 0),
    "currency without price": parts.encode_offer(1, -1, "EUR", 0),
    "currency in small letters": parts.encode_offer(1, 5, "eur", 0),
    "stock below unknown": parts.encode_offer(1, 5, "EUR", -2),
}


@pytest.mark.parametrize("case", OTHER_BYTES)
def test_bytes_that_are_not_canonical_are_refused(case: str) -> None:
    with pytest.raises(CatalogError, match="canonical bytes"):
        parts.decode(OTHER_BYTES[case])
