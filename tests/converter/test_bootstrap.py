"""Paired intervals: against a plain loop, and as often right as they say."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens_converter import bootstrap


def test_interval_is_that_of_a_plain_loop() -> None:
    one = np.array([0, 1, 1, 0, 1], np.float64)
    other = np.array([1, 1, 1, 0, 1], np.float64)

    found = bootstrap.interval(one, other, np.random.default_rng(3), resamples=200)

    rng = np.random.default_rng(3)
    drawn = rng.integers(0, 5, size=(200, 5))
    means = sorted(sum(other[i] - one[i] for i in row) / 5 for row in drawn)
    assert found.difference == 0.2
    assert found.low == np.quantile(means, 0.025)
    assert found.high == np.quantile(means, 0.975)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_interval_holds_the_difference_and_turns_with_the_models(
    pairs: list[tuple[bool, bool]],
) -> None:
    one, other = (np.array(column) for column in zip(*pairs, strict=True))

    found = bootstrap.interval(one, other, np.random.default_rng(0))
    turned = bootstrap.interval(other, one, np.random.default_rng(0))

    assert -1 <= found.low <= found.high <= 1
    assert found.low - 1e-9 <= found.difference <= found.high + 1e-9 or len(pairs) < 20
    assert np.allclose(
        (turned.difference, turned.low, turned.high), (-found.difference, -found.high, -found.low)
    )


def test_equal_models_differ_by_nothing() -> None:
    hits = np.random.default_rng(1).random(50) < 0.7

    found = bootstrap.interval(hits, hits, np.random.default_rng(2))

    assert (found.difference, found.low, found.high) == (0, 0, 0)


def test_pairing_makes_the_interval_narrow() -> None:
    rng = np.random.default_rng(5)
    one = (rng.random(400) < 0.6).astype(float)
    other = one.copy()
    other[:8] = 1  # the same on all but a few: sampling the two apart would give +-0.07

    found = bootstrap.interval(one, other, np.random.default_rng(6))

    assert found.high - found.low < 0.03


def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(8)
    held = 0
    for _ in range(200):
        one, other = rng.random(120) < 0.5, rng.random(120) < 0.6
        found = bootstrap.interval(one, other, rng, resamples=300)
        held += found.low <= 0.1 <= found.high

    assert 0.89 <= held / 200 <= 0.99
