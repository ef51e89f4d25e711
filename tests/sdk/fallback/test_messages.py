"""The codec of QueryService: what is sent comes, and nothing that cannot be comes through."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from pocketlens.errors import QueryError, TransportError
from pocketlens.fallback import messages as codec
from pocketlens.products import Image, Price, Product
from pocketlens.query.filters import Filter
from pocketlens.results import CategoryShare, Match, SearchResult, Timings, Verdict
from pocketlens_protos.v1 import query_service_pb2 as messages

SHARES = st.none() | st.floats(0, 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PRICES = st.none() | st.builds(Price, st.integers(0, 2**53), st.sampled_from(["EUR", "JPY", "KWD"]))
PRODUCTS = st.builds(
    Product,
    id=TEXTS.filter(bool),
    title=TEXTS,
    category=TEXTS,
    url=TEXTS,
    price=PRICES,
    stock=st.none() | st.integers(0, 2**53),
    attributes=st.dictionaries(TEXTS, TEXTS, max_size=3),
)
MATCHES = st.builds(
    Match,
    product=PRODUCTS,
    image=st.builds(Image, TEXTS.filter(bool), TEXTS),
    similarity=st.floats(-1, 1, width=32),
    alternatives=st.lists(PRODUCTS, max_size=2).map(tuple),
)
CATEGORIES = st.lists(st.builds(CategoryShare, TEXTS, st.floats(0, 1)), max_size=3).map(tuple)
MILLISECONDS = st.floats(0, 1e6)
RESULTS = st.builds(
    SearchResult,
    verdict=st.sampled_from(Verdict),
    confidence=SHARES,
    best=st.none() | MATCHES,
    matches=st.lists(MATCHES, max_size=3).map(tuple),
    threshold=SHARES,
    margin=st.none() | st.floats(-2, 2),
    matches_in_filter=st.integers(0, 2**32),
    gallery_size=st.integers(0, 2**32),
    generation=st.binary(min_size=32, max_size=32).map(bytes.hex),
    version=st.integers(0, 2**62),
    as_of=st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    accelerator=st.sampled_from(["", "cpu", "gpu"]),
    timings=st.builds(Timings, MILLISECONDS, MILLISECONDS, MILLISECONDS, MILLISECONDS),
    categories=CATEGORIES,
    answered_by=st.sampled_from(["device", "embedding", "photo"]),
    is_blank=st.booleans(),
)
AMOUNTS = st.decimals(0, 10**12, places=2) | st.integers(0, 10**12)
FILTERS = st.builds(
    Filter,
    category=st.none() | TEXTS,
    min_price=st.none() | AMOUNTS,
    currency=st.none() | st.just("EUR"),
    in_stock=st.booleans(),
    attributes=st.dictionaries(TEXTS, TEXTS, max_size=3),
)


def answer(**changed: object) -> messages.SearchResponse:
    """One that can be, but for what is changed."""
    sound = {
        "verdict": messages.MATCH,
        "generation": bytes(32),
        "answered_by": "photo",
        "as_of": 1_700_000_000_000_000,
    }
    return messages.SearchResponse(**(sound | changed))


def match(alternatives: int = 0) -> messages.Match:
    product = {"id": "a"}
    image, others = {"id": "b"}, [product] * alternatives
    return messages.Match(product=product, image=image, alternatives=others)


@given(RESULTS)
def test_an_answer_comes_as_it_was_sent(found: SearchResult) -> None:
    sent = codec.result_message(found).SerializeToString()

    assert codec.result_of(messages.SearchResponse.FromString(sent)) == found


@given(FILTERS)
def test_a_filter_comes_as_it_was_sent(wanted: Filter) -> None:
    sent = codec.filter_message(wanted).SerializeToString()

    assert codec.filter_of(messages.Filter.FromString(sent)).identity == wanted.identity


@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=64).filter(any))
def test_an_embedding_comes_as_it_was_sent(numbers: list[float]) -> None:
    vector = np.array(numbers, np.float64)
    vector = (vector / np.linalg.norm(vector)).astype(np.float32)

    found = codec.embedding_of(codec.embedding_bytes(vector), len(vector))

    np.testing.assert_allclose(found, vector, atol=1e-6)
    assert math.isclose(float(np.linalg.norm(found)), 1, abs_tol=1e-6)


@pytest.mark.parametrize(
    "vector",
    [np.full(4, np.nan), np.zeros(4), np.full(4, np.inf), np.ones(4), np.ones(3) / 3**0.5],
    ids=["not a number", "zero", "infinite", "long", "of another length"],
)
def test_an_embedding_that_cannot_be_is_refused(vector: np.ndarray) -> None:
    with pytest.raises(QueryError):
        codec.embedding_of(vector.astype("<f4").tobytes(), 4)


@pytest.mark.parametrize("price", ["NaN", "-1", "1e9", "", "12,50", "9" * 40, "Infinity", "٣"])
def test_a_price_that_is_no_decimal_is_refused(price: str) -> None:
    with pytest.raises(QueryError, match="max_price"):
        codec.filter_of(messages.Filter(max_price=price))


def test_a_large_price_travels_without_an_exponent() -> None:
    sent = codec.filter_message(Filter(max_price=Decimal("1E+3")))

    assert sent.max_price == "1000"


@pytest.mark.parametrize(
    "changed",
    [
        {"verdict": messages.VERDICT_UNSPECIFIED},
        {"verdict": 17},
        {"generation": bytes(31)},
        {"answered_by": "somebody"},
        {"confidence": math.nan},
        {"confidence": 1.5},
        {"threshold": -0.1},
        {"margin": math.inf},
        {"as_of": 2**62},
        {"categories": [messages.CategoryShare(category="a", probability=1.1)]},
        {"categories": [messages.CategoryShare(category="a", probability=math.nan)]},
        {"categories": 101 * [messages.CategoryShare(category="a", probability=0.01)]},
        {"searched": ["of none that is likely"]},
        {"timings": messages.Timings(embed_ms=-1)},
        {"timings": messages.Timings(queue_ms=math.nan)},
        {"matches": [messages.Match()]},
        {"matches": [messages.Match(product={"id": "a"}, image={"id": "b"}, similarity=2)]},
        {"matches": [messages.Match(product={"id": "a"}, image={"id": "b"}, similarity=math.nan)]},
        {"best": messages.Match(product={"id": "a", "stock": -1}, image={"id": "b"})},
        {"best": {"product": {"id": "a", "price": {"minor_units": 1}}, "image": {"id": "b"}}},
        {"best": {"product": {"id": "x" * 201}, "image": {"id": "b"}}},
        {"best": match(alternatives=codec.MOST_PRODUCTS)},
        {"matches": [match() for _ in range(codec.MOST_PRODUCTS)]},
    ],
    ids=lambda changed: str(changed)[:60],
)
def test_an_answer_that_cannot_be_is_refused(changed: dict[str, object]) -> None:
    assert codec.result_of(answer())

    with pytest.raises(TransportError, match="cannot be"):
        codec.result_of(answer(**changed))


@given(RESULTS, st.data())
def test_a_changed_answer_is_refused_or_read(found: SearchResult, data: st.DataObject) -> None:
    sent = bytearray(codec.result_message(found).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = messages.SearchResponse.FromString(bytes(sent))
    except DecodeError:
        return
    with suppress(TransportError):
        assert isinstance(codec.result_of(message), SearchResult)
