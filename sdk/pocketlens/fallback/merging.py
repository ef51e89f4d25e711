"""A server's answer and a device's store, which may be of different versions, made one (PURE).

    merged = merge(answer, store)
    merged.result                       # the server's, or None: the device's answer stands

Verdict, confidence and similarities are the server's, all of one pipeline: those of two are not
comparable, and are never mixed. Products are brought together by id (docs/fallback.md):

| the server's version is        | a product that the store has too | and one that it has not |
|--------------------------------|----------------------------------|-------------------------|
| the store's                    | as it came                       | as it came              |
| newer, or of another catalogue | as it came                       | stays, and is `unknown` |
| older                          | as the store has it              | is `gone`, and goes     |
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pocketlens.products import Product
from pocketlens.results import Match, SearchResult


@dataclass(frozen=True, slots=True)
class Held:
    """The store that an answer is merged with.

    Attributes:
        version: Of it.
        is_of_the_catalogue: Whether its versions are those of the server's catalogue.
        products: Ids to the products that it has, under those ids.
        satisfying: Which of them satisfy the filter of the search.
    """

    version: int
    is_of_the_catalogue: bool
    products: Callable[[Sequence[str]], Mapping[str, Product]]
    satisfying: Callable[[Sequence[str]], frozenset[str]]


@dataclass(frozen=True, slots=True)
class Merged:
    """One answer.

    Attributes:
        result: The server's, of what is sold; None where what its verdict is on is gone.
        unknown: Ids in the result that the store does not have.
        gone: Ids that the server found, and the store's newer version does not have.
        reason: What differs, for people; "" where nothing does.
    """

    result: SearchResult | None
    unknown: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    reason: str = ""


def merge(answer: SearchResult, store: Held) -> Merged:
    """Brings an answer together with what the store knows."""
    if store.is_of_the_catalogue and answer.version == store.version:
        return Merged(answer)
    shown = _ids(answer)
    here = store.products(shown)
    missing = tuple(each for each in shown if each not in here)
    if not store.is_of_the_catalogue:
        return Merged(answer, unknown=missing, reason="The store is not of the server's catalogue.")
    versions = f"The server answers of version {answer.version}, the store has {store.version}."
    if answer.version > store.version:
        return Merged(answer, unknown=missing, reason=versions)
    best = answer.best and _now(answer.best, here)
    if answer.best is not None and best is None:
        reason = f"{versions} What the server found best is no longer sold."
        return Merged(None, gone=missing, reason=reason)
    kept = store.satisfying(shown)
    allowed = {id_: product for id_, product in here.items() if id_ in kept}
    matches = [found for each in answer.matches if (found := _now(each, allowed))]
    result = replace(answer, best=best, matches=tuple(matches))
    return Merged(result, gone=missing, reason=versions)


def _ids(answer: SearchResult) -> tuple[str, ...]:
    """Of all products in an answer, in their order, each once."""
    matches = [*([answer.best] if answer.best else []), *answer.matches]
    shown = (product for each in matches for product in (each.product, *each.alternatives))
    return tuple(dict.fromkeys(product.id for product in shown))


def _now(match: Match, products: Mapping[str, Product]) -> Match | None:
    """A match of what there is of its products; None if nothing is left."""
    shown = (match.product, *match.alternatives)
    left = [products[each.id] for each in shown if each.id in products]
    return replace(match, product=left[0], alternatives=tuple(left[1:])) if left else None
