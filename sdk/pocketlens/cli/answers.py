"""What an answer looks like: lines for people, JSON for programs."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pocketlens.cli import output
from pocketlens.results import Verdict

if TYPE_CHECKING:
    from pocketlens.products import Product
    from pocketlens.results import FallbackReport, Match, SearchResult

MATCH_KEYS = """\
  matches [...]              best first, each: rank, similarity, product, image {id, url},
                             alternatives [product, ...]
  product                    id, title, category, url, price {amount, currency} or null,
                             stock or null, attributes {...}"""
"""What is told of matches in the help of a command."""

_MAX_ALTERNATIVES = 3  # rows of a match for people; --json gives all of them
_MAX_CATEGORIES = 3


def show_matches(found: SearchResult) -> None:
    """A table of the matches; nothing where there are none."""
    if found.matches:
        rows = [row for rank, match in enumerate(found.matches, 1) for row in _rows(rank, match)]
        output.show_table(("#", "product", "price", "similarity", "image"), rows)


def headline(found: SearchResult) -> str:
    """The verdict in one line, such as "MATCH 0.97: Red shoe (R-1)"."""
    word = found.verdict.name.replace("_", " ")
    confidence = "" if found.confidence is None else f" {found.confidence:.2f}"
    if found.best is None:
        return f"{word}{confidence}: the store is empty"
    nearest = "nearest is " if found.verdict is Verdict.NO_MATCH else ""
    without = ""
    if found.is_blank:
        without = " (the photo is of one colour: what it is like means nothing)"
    elif found.confidence is None:
        without = f" (the bundle has no {found.answered_by} calibration)"
    filtered = ""
    if not found.matches:
        filtered = "; no product satisfies the filter"
    elif not found.best_is_in_filter and found.words is not None and found.words.matching:
        filtered = "; another one has the words"
    elif not found.best_is_in_filter:
        which = "is not of the likely category" if found.searched else "does not satisfy the filter"
        filtered = f"; it {which}"
    return f"{word}{confidence}: {nearest}{name(found.best.product)}{without}{filtered}"


def who_answered(found: SearchResult, report: FallbackReport) -> str:
    """One line, such as "answered by the server (embedding, 560 bytes sent, 12 ms)"."""
    reason = f": {report.reason}" if report.reason else ""
    if found.answered_by == "device":
        word = report.outcome.value.replace("_", " ")
        sent = f", {report.sent_bytes:,} bytes sent" if report.sent_bytes else ""
        return f"answered by the device (server {word}{sent}){reason}"
    told = f"{found.answered_by}, {report.sent_bytes:,} bytes sent, {report.waited_ms:.0f} ms"
    if report.unknown:
        told += f", {len(report.unknown)} products not in the store"
    return f"answered by the server ({told}){reason}"


def _rows(rank: int, match: Match) -> Iterator[tuple[str, ...]]:
    product = match.product
    similarity, image = f"{match.similarity:.3f}", match.image.url or match.image.id
    yield str(rank), name(product), price_of(product), similarity, image
    for other in match.alternatives[:_MAX_ALTERNATIVES]:
        yield "", f"or {name(other)}", price_of(other), "", ""
    left_out = len(match.alternatives) - _MAX_ALTERNATIVES
    if left_out > 0:
        yield "", f"or {left_out} more that share the picture", "", "", ""


def name(product: Product) -> str:
    """Title and id, such as "Red shoe (R-1)"."""
    return f"{product.title} ({product.id})" if product.title else product.id


def price_of(product: Product) -> str:
    """The price with its currency; "" where unknown."""
    return "" if product.price is None else str(product.price)


def categories_line(found: SearchResult) -> str:
    """One line, such as "category: shoes 0.91, boots 0.07; searched shoes"."""
    likely = ", ".join(
        f"{each.category} {each.probability:.2f}" for each in found.categories[:_MAX_CATEGORIES]
    )
    searched = " and ".join(found.searched) or "all"
    return f"category: {likely}; searched {searched}"


def agreement_line(found: SearchResult, photos: Sequence[object]) -> str:
    """One line, such as "photos agree: 0.91, 0.12; b.jpg seems to show another thing"."""
    each = ", ".join(f"{cosine:.2f}" for cosine in found.agreement)
    odd = found.disagreeing
    if not odd:
        return f"photos agree: {each}"
    if len(odd) == len(photos):
        return f"photos agree: {each}; they seem to show different things: search them one by one"
    names = ", ".join(str(photos[place]) for place in odd)
    return f"photos agree: {each}; {names}: another thing than the rest, it seems"


def as_json(found: SearchResult) -> dict[str, object]:
    """What `--json` prints of an answer."""
    return {
        "verdict": found.verdict.value,
        "confidence": found.confidence,
        "threshold": found.threshold,
        "margin": found.margin,
        "best": found.best and _match_as_json(found.best),
        "matches": [
            {"rank": rank, **_match_as_json(match)} for rank, match in enumerate(found.matches, 1)
        ],
        "matches_in_filter": found.matches_in_filter,
        "gallery_size": found.gallery_size,
        "generation": found.generation,
        "version": found.version,
        "as_of": found.as_of.isoformat(),
        "accelerator": found.accelerator,
        "answered_by": found.answered_by,
        "timings": {
            "decode_ms": found.timings.decode_ms,
            "queue_ms": found.timings.queue_ms,
            "embed_ms": found.timings.embed_ms,
            "search_ms": found.timings.search_ms,
        },
        "agreement": list(found.agreement),
        "categories": [asdict(each) for each in found.categories],
        "searched": list(found.searched),
        "words": found.words and asdict(found.words),
        "is_blank": found.is_blank,
        "fallback": found.fallback and _report_as_json(found.fallback),
    }


def _report_as_json(report: FallbackReport) -> dict[str, object]:
    return {**asdict(report), "outcome": report.outcome.value}


def _match_as_json(match: Match) -> dict[str, object]:
    return {
        "similarity": match.similarity,
        "product": product_as_json(match.product),
        "image": {"id": match.image.id, "url": match.image.url},
        "alternatives": [product_as_json(other) for other in match.alternatives],
    }


def product_as_json(product: Product) -> dict[str, object]:
    """What `--json` prints of a product."""
    price = product.price
    return {
        "id": product.id,
        "title": product.title,
        "category": product.category,
        "url": product.url,
        "price": price and {"amount": str(price.amount), "currency": price.currency},
        "stock": product.stock,
        "attributes": dict(product.attributes),
    }
