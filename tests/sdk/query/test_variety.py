"""Variety against the formula of the paper, walked through plainly."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.making.embeddings import clustered

from pocketlens.query.variety import varied


def plain(similarities: list[float], units: list[list[float]], k: int, variety: float) -> list[int]:
    chosen: list[int] = []
    while len(chosen) < min(k, len(units)):
        best, best_worth = -1, -np.inf
        for place in range(len(units)):
            if place in chosen:
                continue
            likeness = max([0.0, *(float(np.dot(units[place], units[other])) for other in chosen)])
            worth = (1 - variety) * similarities[place] - variety * likeness
            if not chosen:
                worth = similarities[place]
            if worth > best_worth + 1e-6:
                best, best_worth = place, worth
        chosen.append(best)
    return chosen


@given(
    st.integers(1, 12),
    st.integers(1, 14),
    st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]),
    st.integers(0, 300),
)
def test_choices_are_those_of_a_plain_walk(n: int, k: int, variety: float, seed: int) -> None:
    query, *others = clustered(np.random.default_rng(seed), n + 1, 8, clusters=3)
    units = np.array(others)[np.argsort(-(np.array(others) @ query))]
    similarities = units @ query

    found = varied(similarities, units, k, variety)

    assert found == plain(similarities.tolist(), units.tolist(), k, variety)


def test_without_variety_the_order_stays() -> None:
    units = clustered(np.random.default_rng(1), 30, 16)
    units = units[np.argsort(-(units @ units[0]))]

    assert varied(units @ units[0], units, 30, 0.0) == list(range(30))


def test_variety_passes_over_what_is_alike() -> None:
    near, twin, other = [1, 0, 0], [0.999, 0.0447, 0], [0.6, 0, 0.8]
    units = np.array([near, twin, other], np.float32)

    assert varied(np.array([0.99, 0.98, 0.6], np.float32), units, 2, 0.5) == [0, 2]


def test_of_things_that_have_nothing_in_common_the_nearest_is_next() -> None:
    units = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0]], np.float32)

    assert varied(np.array([0.9, 0.2, -0.9], np.float32), units, 3, 1.0) == [0, 1, 2]


def test_nothing_to_choose_from_is_nothing() -> None:
    assert varied(np.zeros(0, np.float32), np.zeros((0, 4), np.float32), 3, 0.5) == []


@pytest.mark.parametrize("variety", [0.0, 0.4, 1.0])
def test_equals_come_in_their_order(variety: float) -> None:
    units = np.ones((5, 1), np.float32)

    assert varied(np.ones(5, np.float32), units, 5, variety) == [0, 1, 2, 3, 4]
