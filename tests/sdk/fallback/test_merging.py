"""Answers of other versions, brought together with a store by product id."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pocketlens import Image, Match, Price, Product, SearchResult, Verdict
from pocketlens.fallback.merging import Held, Merged, merge

SHOE, BOOT, SOCK = (
    Product(id_, title=f"{id_} as the server has it", price=Price(1000, "EUR"))
    for id_ in ("shoe", "boot", "sock")
)


def match(product: Product, *alternatives: Product, similarity: float = 0.8) -> Match:
    return Match(product, Image(f"{product.id}.jpg"), similarity, alternatives)


ANSWER = SearchResult(
    verdict=Verdict.MATCH,
    confidence=0.95,
    best=match(SHOE, BOOT),
    matches=(match(SHOE, BOOT), match(SOCK, similarity=0.5)),
    threshold=0.8,
    margin=0.3,
    matches_in_filter=3,
    gallery_size=3,
    generation="ab" * 32,
    version=5,
    as_of=datetime(2026, 11, 26, tzinfo=UTC),
    answered_by="embedding",
)


def here(product: Product) -> Product:
    """The same product as the store has it."""
    return replace(product, title="here", price=Price(900, "EUR"))


def held(
    version: int,
    *products: Product,
    satisfying: Collection[str] | None = None,
    is_of_the_catalogue: bool = True,
) -> Held:
    known = {each.id: here(each) for each in products}

    def of(ids: Collection[str]) -> Mapping[str, Product]:
        return {each: known[each] for each in ids if each in known}

    allowed = known if satisfying is None else satisfying
    return Held(version, is_of_the_catalogue, of, lambda ids: frozenset(ids) & frozenset(allowed))


def test_of_one_version_nothing_is_looked_up() -> None:
    def never(ids: object) -> Mapping[str, Product]:
        raise AssertionError

    store = Held(5, True, never, never)  # type: ignore[arg-type]

    assert merge(ANSWER, store) == Merged(ANSWER)


def test_of_a_newer_version_what_the_store_lacks_stays_and_is_named() -> None:
    merged = merge(ANSWER, held(4, SHOE, SOCK))

    assert merged.result == ANSWER
    assert (merged.unknown, merged.gone) == (("boot",), ())
    assert "version 5, the store has 4" in merged.reason


def test_of_another_catalogue_versions_are_not_compared() -> None:
    merged = merge(ANSWER, held(9, SHOE, is_of_the_catalogue=False))

    assert merged.result == ANSWER
    assert (merged.unknown, merged.gone) == (("boot", "sock"), ())


def test_of_an_older_version_products_are_as_the_store_has_them() -> None:
    merged = merge(ANSWER, held(6, SHOE, BOOT, SOCK))

    assert merged.gone == merged.unknown == ()
    result = merged.result
    assert result is not None
    assert result.matches == (match(here(SHOE), here(BOOT)), match(here(SOCK), similarity=0.5))
    assert result.best == match(here(SHOE), here(BOOT))
    same = ("verdict", "confidence", "threshold", "margin", "version", "generation", "answered_by")
    for name in same:
        assert getattr(result, name) == getattr(ANSWER, name)


def test_of_an_older_version_what_is_deleted_goes() -> None:
    merged = merge(ANSWER, held(6, SHOE))

    assert merged.gone == ("boot", "sock")
    assert merged.result is not None
    assert merged.result.matches == (match(here(SHOE)),)
    assert merged.result.best == match(here(SHOE))


def test_one_that_shares_the_picture_takes_the_place_of_what_is_deleted() -> None:
    merged = merge(ANSWER, held(6, BOOT, SOCK))

    assert merged.result is not None
    assert merged.result.best is not None
    assert merged.result.best.product == here(BOOT)
    assert merged.result.best.image == Image("shoe.jpg")
    assert merged.result.verdict is Verdict.MATCH


def test_a_verdict_on_what_is_deleted_is_none() -> None:
    merged = merge(ANSWER, held(6, SOCK))

    assert merged.result is None
    assert merged.gone == ("shoe", "boot")
    assert "no longer sold" in merged.reason


def test_of_an_older_version_what_no_longer_satisfies_the_filter_goes() -> None:
    merged = merge(ANSWER, held(6, SHOE, BOOT, SOCK, satisfying=["boot"]))

    assert merged.result is not None
    assert [each.product.id for each in merged.result.matches] == ["boot"]
    assert merged.result.best == match(here(SHOE), here(BOOT))  # without the filter
    assert merged.gone == ()


@pytest.mark.parametrize("version", [4, 5, 6])
def test_an_empty_answer_stays_one(version: int) -> None:
    empty = replace(ANSWER, verdict=Verdict.NO_MATCH, best=None, matches=())

    assert merge(empty, held(version)).result == empty
