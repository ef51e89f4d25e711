"""Vectors to matches: whoever is answered with others is answered as if alone."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from tests.making.colour_bundle import DIM
from tests.making.tiles import TileShop

from pocketlens.query.filters import Filter
from pocketlens.results import Verdict
from pocketlens_server.query import matching
from pocketlens_server.query.exact_store import ExactStore
from pocketlens_server.query.galleries import BundleVectors, Gallery
from pocketlens_server.query.matching import Asked, Terms

STOCK = {number: number % 3 for number in range(9)}  # of which six have some
TERMS = Terms("00" * 32, "embedding", None, 0.97)
FILTERS = (None, Filter(), Filter(in_stock=True), Filter(category="of nothing"))


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    shop = TileShop(tmp_path_factory.mktemp("shop"), STOCK, now=datetime.now(UTC))
    shop.publish()
    made = Gallery(shop.catalogue, BundleVectors(1), ExactStore(DIM))
    made.follow()
    return made


def questions() -> list[Asked]:
    """All kinds of them, those with equal filters not side by side."""
    vectors = np.random.default_rng(7).standard_normal((100, DIM)).astype(np.float32)
    units = iter(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return [
        Asked(next(units), k, wanted, frozenset(without), variety)
        for without, variety in (((), 0), ((1, 2), 0), ((1, 2), 0.5))
        for k in (1, 3, 100)
        for wanted in FILTERS
    ]


def test_questions_together_are_answered_as_each_alone(gallery: Gallery) -> None:
    asked = questions()

    together = matching.answered(gallery, asked, TERMS)

    assert together == [matching.answered(gallery, [each], TERMS)[0] for each in asked]


def test_a_filter_and_what_is_left_out_hold_before_the_cut(gallery: Gallery) -> None:
    some = Filter(in_stock=True)
    vector = questions()[0].vector
    asked = [Asked(vector, 100, some), Asked(vector, 100, None, frozenset([1])), Asked(vector, 4)]

    in_stock, without, four = matching.answered(gallery, asked, TERMS)

    shown = [
        {each.id for match in found.matches for each in (match.product, *match.alternatives)}
        for found in (in_stock, without)
    ]
    assert shown[0] == {f"sku-{number}" for number, pieces in STOCK.items() if pieces}
    assert len(shown[1]) == len(STOCK) - 1
    assert in_stock.matches_in_filter == len(shown[0])
    assert (len(four.matches), four.matches_in_filter) == (4, len(STOCK))
    assert {found.verdict for found in (in_stock, without, four)} == {Verdict.UNSURE}
