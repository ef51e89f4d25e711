"""Messages of QueryService to values and back, for both of its sides (PURE).

    message = result_message(found)            # the server's
    found = result_of(message)                 # the device's
    filter_of(filter_message(wanted)) == wanted

What comes is a stranger's: whatever cannot be is an error here, and nothing is half read.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import get_args

import numpy as np
import numpy.typing as npt

from pocketlens.errors import PocketLensError, QueryError, TransportError
from pocketlens.products import Image, Price, Product
from pocketlens.query.filters import Filter
from pocketlens.results import CategoryShare, Match, Pipeline, SearchResult, Timings, Verdict
from pocketlens_protos.v1 import catalog_pb2 as nouns
from pocketlens_protos.v1 import query_service_pb2 as messages

UNIT_WITHIN = 1e-3
"""How far from 1 the length of an embedding may be."""

MOST_PRODUCTS = 4096
"""In an answer, alternatives among them: each is made, and may be looked for in the store."""

_MOST_CATEGORIES = 100  # in an answer: those of a probability of 0.01 or more

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DECIMAL = re.compile(r"[0-9]{1,16}(\.[0-9]{1,16})?")
_VERDICTS = {
    Verdict.MATCH: messages.MATCH,
    Verdict.UNSURE: messages.UNSURE,
    Verdict.NO_MATCH: messages.NO_MATCH,
}
_VERDICT_OF = {number: verdict for verdict, number in _VERDICTS.items()}


def embedding_bytes(embedding: npt.NDArray[np.float32]) -> bytes:
    """A vector float32 (dim,) as it travels."""
    return embedding.astype("<f4").tobytes()


def embedding_of(values: bytes, dim: int) -> npt.NDArray[np.float32]:
    """The vector that came, float32 (dim,), at unit length.

    Raises:
        QueryError: It has another length, is not finite, or is no unit vector.
    """
    if len(values) != 4 * dim:
        raise QueryError(
            f"Expected an embedding of {dim} float32 ({4 * dim} bytes). Received {len(values)} "
            "bytes. Is it of the bundle that the catalogue has?"
        )
    vector = np.frombuffer(values, "<f4").astype(np.float64)
    length = float(np.linalg.norm(vector))
    if not abs(length - 1) <= UNIT_WITHIN:  # written so that NaN fails
        raise QueryError(f"Expected an embedding of unit length. Received one of {length:g}.")
    return (vector / length).astype(np.float32)


def filter_message(wanted: Filter) -> messages.Filter:
    """A filter as it travels."""
    message = messages.Filter(in_stock=wanted.in_stock, attributes=wanted.attributes)
    for name in ("category", "currency"):
        if (text := getattr(wanted, name)) is not None:
            setattr(message, name, text)
    for name in ("min_price", "max_price"):
        if (price := getattr(wanted, name)) is not None:
            setattr(message, name, f"{Decimal(price):f}")
    return message


def filter_of(message: messages.Filter) -> Filter:
    """The filter that came.

    Raises:
        QueryError: A price or the currency cannot be.
    """

    def text(name: str) -> str | None:
        return getattr(message, name) if message.HasField(name) else None

    return Filter(
        category=text("category"),
        min_price=_price("min_price", text("min_price")),
        max_price=_price("max_price", text("max_price")),
        currency=text("currency"),
        in_stock=message.in_stock,
        attributes=message.attributes,
    )


def result_message(found: SearchResult) -> messages.SearchResponse:
    """An answer as it travels."""
    message = messages.SearchResponse(
        verdict=_VERDICTS[found.verdict],
        best=None if found.best is None else _match_message(found.best),
        matches=map(_match_message, found.matches),
        matches_in_filter=found.matches_in_filter,
        gallery_size=found.gallery_size,
        generation=bytes.fromhex(found.generation),
        version=found.version,
        as_of=(found.as_of - _EPOCH) // _MICROSECOND,
        answered_by=found.answered_by,
        accelerator=found.accelerator,
        timings=timings_message(found.timings),
        categories=map(_share_message, found.categories),
        searched=found.searched,
        is_blank=found.is_blank,
    )
    for name in ("confidence", "threshold", "margin"):
        if (value := getattr(found, name)) is not None:
            setattr(message, name, value)
    return message


def result_of(message: messages.SearchResponse) -> SearchResult:
    """The answer that came.

    Raises:
        TransportError: It says what cannot be.
    """
    try:
        return _result_of(message)
    except (PocketLensError, ValueError, KeyError, OverflowError) as exc:
        raise TransportError(f"The server's answer cannot be: {exc}.") from exc


def _result_of(message: messages.SearchResponse) -> SearchResult:
    if message.answered_by not in get_args(Pipeline):
        raise ValueError(f"answered by {message.answered_by[:40]!r}")
    if len(message.generation) != 32:
        raise ValueError(f"a generation of {len(message.generation)} bytes")
    products = sum(1 + len(each.alternatives) for each in (message.best, *message.matches))
    if products > MOST_PRODUCTS:
        raise ValueError(f"{products:,} products")
    categories = tuple(map(_share_of, message.categories[: _MOST_CATEGORIES + 1]))
    if len(categories) > _MOST_CATEGORIES:
        raise ValueError(f"{len(message.categories):,} categories")
    if not set(message.searched) <= {each.category for each in categories}:
        raise ValueError("a search of categories that are not likely")

    def share(name: str, low: float, high: float) -> float | None:
        value: float | None = getattr(message, name) if message.HasField(name) else None
        if value is not None and not low <= value <= high:
            raise ValueError(f"a {name} of {value}")
        return value

    return SearchResult(
        verdict=_VERDICT_OF[message.verdict],
        confidence=share("confidence", 0, 1),
        best=_match_of(message.best) if message.HasField("best") else None,
        matches=tuple(map(_match_of, message.matches)),
        threshold=share("threshold", 0, 1),
        margin=share("margin", -2, 2),
        matches_in_filter=message.matches_in_filter,
        gallery_size=message.gallery_size,
        generation=message.generation.hex(),
        version=message.version,
        as_of=_EPOCH + message.as_of * _MICROSECOND,
        accelerator=message.accelerator,
        timings=timings_of(message.timings),
        categories=categories,
        searched=tuple(message.searched),
        is_blank=message.is_blank,
        answered_by=message.answered_by,  # type: ignore[arg-type]  # looked at above
    )


def timings_message(spent: Timings) -> messages.Timings:
    """Timings as they travel."""
    return messages.Timings(
        decode_ms=spent.decode_ms,
        queue_ms=spent.queue_ms,
        embed_ms=spent.embed_ms,
        search_ms=spent.search_ms,
    )


def timings_of(message: messages.Timings) -> Timings:
    """The timings that came."""
    names = ("decode_ms", "queue_ms", "embed_ms", "search_ms")
    spent = {name: float(getattr(message, name)) for name in names}
    if not all(math.isfinite(each) and each >= 0 for each in spent.values()):
        raise ValueError(f"timings of {spent}")
    return Timings(**spent)


def product_message(product: Product) -> nouns.Product:
    """A product as it travels."""
    message = nouns.Product(
        id=product.id,
        title=product.title,
        category=product.category,
        url=product.url,
        attributes=product.attributes,
        stock=product.stock,
    )
    if product.price is not None:
        message.price.minor_units = product.price.minor_units
        message.price.currency = product.price.currency
    return message


def product_of(message: nouns.Product) -> Product:
    """The product that came."""
    price = message.price
    return Product(
        id=message.id,
        title=message.title,
        category=message.category,
        url=message.url,
        price=Price(price.minor_units, price.currency) if message.HasField("price") else None,
        stock=message.stock if message.HasField("stock") else None,
        attributes=message.attributes,
    )


def _match_message(match: Match) -> messages.Match:
    return messages.Match(
        product=product_message(match.product),
        image=nouns.Image(id=match.image.id, url=match.image.url),
        similarity=match.similarity,
        alternatives=map(product_message, match.alternatives),
    )


def _match_of(message: messages.Match) -> Match:
    if not -1.001 <= message.similarity <= 1.001:  # written so that NaN fails
        raise ValueError(f"a similarity of {message.similarity}")
    return Match(
        product=product_of(message.product),
        image=Image(message.image.id, message.image.url),
        similarity=message.similarity,
        alternatives=tuple(map(product_of, message.alternatives)),
    )


def _share_message(share: CategoryShare) -> messages.CategoryShare:
    return messages.CategoryShare(category=share.category, probability=share.probability)


def _share_of(message: messages.CategoryShare) -> CategoryShare:
    if not 0 <= message.probability <= 1:  # written so that NaN fails
        raise ValueError(f"a probability of {message.probability}")
    return CategoryShare(message.category, message.probability)


def _price(name: str, text: str | None) -> Decimal | None:
    if text is None:
        return None
    if not _DECIMAL.fullmatch(text):
        raise QueryError(f'Expected {name} as a decimal such as "12.50". Received {text[:40]!r}.')
    return Decimal(text)
