"""The multi-positive softmax against a plain loop over its rows."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from pocketlens_converter.losses.multi_positive_softmax import multi_positive_softmax


def by_loop(
    similarities: npt.NDArray[np.float32],
    positives: npt.NDArray[np.bool_],
    candidates: npt.NDArray[np.bool_],
    temperature: float,
) -> float:
    losses = []
    for row, good, usable in zip(similarities, positives, candidates, strict=True):
        if not good.any():
            continue
        shares = [math.exp(float(s) / temperature) for s in row]
        wanted = sum(share for share, is_good in zip(shares, good, strict=True) if is_good)
        everything = sum(
            share for share, is_usable in zip(shares, usable, strict=True) if is_usable
        )
        losses.append(-math.log(wanted / everything))
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_loss_is_that_of_the_loop(seed: int, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    similarities = rng.uniform(-1, 1, (7, 9)).astype(np.float32)
    candidates = rng.random((7, 9)) < 0.8
    positives = candidates & (rng.random((7, 9)) < 0.3)

    loss = float(multi_positive_softmax(similarities, positives, candidates, temperature))

    assert loss == pytest.approx(
        by_loop(similarities, positives, candidates, temperature), rel=1e-4
    )


def test_loss_without_a_positive_is_zero() -> None:
    similarities = np.ones((3, 4), np.float32)
    none = np.zeros((3, 4), np.bool_)

    assert float(multi_positive_softmax(similarities, none, ~none, 0.1)) == 0.0
    assert float(multi_positive_softmax(similarities, none, none, 0.1)) == 0.0


def test_one_near_positive_is_enough() -> None:
    similarities = np.array([[1.0, -1.0, -1.0]], np.float32)
    positives = np.array([[True, True, False]])

    loss = float(multi_positive_softmax(similarities, positives, np.ones((1, 3), np.bool_), 0.1))

    assert loss == pytest.approx(0.0, abs=1e-6)
