"""Weights and weighted quantiles against plain loops; what fitting must find, and hold."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.estimates.weighting import (
    FEWEST_FITTED,
    HIGH,
    LOW,
    MIDDLE,
    Weighting,
    fitted,
    quantiles,
)

levels = st.floats(-5, 5, allow_nan=False, width=32)


@settings(deadline=None)
@given(st.lists(st.tuples(levels, st.integers(1, 9)), min_size=1, max_size=12), st.floats(0, 1))
def test_a_quantile_is_where_the_weight_below_says(
    pairs: list[tuple[float, int]], share: float
) -> None:
    values = np.array([value for value, _ in pairs], np.float64)
    weights = np.array([weight for _, weight in pairs], np.float64)
    weights /= weights.sum()

    (found,) = quantiles(values, weights, [share])

    below, points = 0.0, []
    for value, weight in sorted(zip(values, weights, strict=True), key=lambda pair: pair[0]):
        points.append((below + weight / 2, value))
        below += weight
    assert found == pytest.approx(_on_the_line(points, share), abs=1e-9)


def _on_the_line(points: list[tuple[float, float]], share: float) -> float:
    if share <= points[0][0]:
        return points[0][1]
    for (start, low), (end, high) in pairwise(points):
        if start <= share <= end:
            return low + (high - low) * (share - start) / (end - start)
    return points[-1][1]


@settings(deadline=None)
@given(st.lists(levels, min_size=1, max_size=30))
def test_with_equal_weights_it_is_the_rule_of_hazen(values: list[float]) -> None:
    array = np.array(values, np.float64)
    weights = np.full(len(array), 1 / len(array))

    found = quantiles(array, weights, (LOW, MIDDLE, HIGH))

    assert found == pytest.approx(np.quantile(array, (LOW, MIDDLE, HIGH), method="hazen"))


@settings(deadline=None)
@given(st.lists(levels, min_size=1, max_size=12), st.integers(0, 99))
def test_the_order_of_neighbours_does_not_matter(values: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    array, weights = np.array(values, np.float64), rng.random(len(values)) + 0.1
    weights /= weights.sum()
    order = rng.permutation(len(values))

    shuffled = quantiles(array[order], weights[order], (LOW, MIDDLE, HIGH))

    # Of equal values either may come first: a quantile between them and others moves with it.
    if len(set(values)) == len(values):
        assert shuffled == pytest.approx(quantiles(array, weights, (LOW, MIDDLE, HIGH)))


def test_many_rows_are_each_as_one() -> None:
    rng = np.random.default_rng(1)
    values, weights = rng.normal(size=(5, 7)), rng.random((5, 7))
    weights /= weights.sum(axis=1, keepdims=True)

    together = quantiles(values, weights, (LOW, HIGH))

    assert together.shape == (5, 2)
    for row in range(5):
        assert together[row] == pytest.approx(quantiles(values[row], weights[row], (LOW, HIGH)))


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9), st.floats(0.01, 0.4))
def test_weights_are_those_of_the_formula(similarities: list[float], temperature: float) -> None:
    ages = [10.0 * place for place in range(len(similarities))]
    weighting = Weighting(temperature, half_life_days=100)

    weights = weighting.weights(similarities, ages)

    raw = [
        math.exp((similarity - max(similarities)) / temperature) * 0.5 ** (age / 100)
        for similarity, age in zip(similarities, ages, strict=True)
    ]
    assert weights == pytest.approx([each / sum(raw) for each in raw])


def test_an_age_that_is_unknown_counts_as_the_median() -> None:
    weighting = Weighting(half_life_days=100)

    unknown = weighting.weights([0.5, 0.5, 0.5, 0.5], [0, 100, 200, float("nan")])

    assert unknown == pytest.approx(weighting.weights([0.5] * 4, [0, 100, 200, 100]))
    assert weighting.weights([0.5, 0.5], [float("nan")] * 2) == pytest.approx([0.5, 0.5])


def test_however_old_all_are_they_count() -> None:
    weights = Weighting(half_life_days=90).weights([0.5, 0.4], [740_000, 740_000])

    assert weights == pytest.approx(Weighting().weights([0.5, 0.4], [0, 0]))


def market(
    rng: np.random.Generator, items: int, *, yearly: float = 0.0, by_similarity: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours whose prices stray from an item's with dissimilarity, age, and noise."""
    similarities = -np.sort(-rng.uniform(0.2, 0.9, (items, 40)), axis=1)
    ages = rng.uniform(0, 1500, (items, 40))
    truths = rng.normal(8, 1, items)
    stray = by_similarity * (1 - similarities) * rng.choice([-1, 1], similarities.shape)
    logs = truths[:, None] + stray - yearly * ages / 365 + rng.normal(0, 0.1, ages.shape)
    return similarities, ages, logs, truths


def test_fitting_finds_that_likeness_counts() -> None:
    rng = np.random.default_rng(0)

    apart = fitted(*market(rng, 200, by_similarity=2))
    alike = fitted(*market(rng, 200))

    assert apart.temperature < alike.temperature


def test_fitting_finds_that_age_counts() -> None:
    rng = np.random.default_rng(0)

    assert fitted(*market(rng, 200, yearly=0.4)).half_life_days < 500
    assert fitted(*market(rng, 200)).half_life_days > 700


@pytest.mark.parametrize("seed", range(3))
def test_a_fitted_interval_holds_four_of_five_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weighting = fitted(*market(rng, 400, by_similarity=1))
    similarities, ages, logs, truths = market(rng, 800, by_similarity=1)

    told = quantiles(logs, weighting.weights(similarities, ages), (LOW, MIDDLE, HIGH))
    held = (told[:, 0] - weighting.widening <= truths) & (truths <= told[:, 2] + weighting.widening)

    assert 0.72 < held.mean() < 0.88


def test_too_few_items_fit_nothing() -> None:
    rng = np.random.default_rng(0)

    assert fitted(*market(rng, FEWEST_FITTED - 1)) == Weighting()
    assert fitted(*market(rng, FEWEST_FITTED)).fitted_on == FEWEST_FITTED


def test_neighbours_that_are_missing_count_nothing() -> None:
    similarities, ages, logs, truths = market(np.random.default_rng(3), 50)
    wrong = similarities.copy(), ages.copy(), logs.copy()
    for array, value in zip(wrong, (-np.inf, np.nan, 0), strict=True):
        array[:, 3:] = value

    cut = fitted(similarities[:, :3], ages[:, :3], logs[:, :3], truths)

    assert fitted(*wrong, truths) == cut
