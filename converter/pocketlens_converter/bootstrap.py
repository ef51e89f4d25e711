"""Paired bootstrap: how much of a difference between two models may be luck of the queries.

    interval(hits_of_one, hits_of_other, rng)       # recall@1 of other less that of one

Source: Efron and Tibshirani, An Introduction to the Bootstrap, section 13.3 (percentiles).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean difference and the interval it is in at `level`."""

    difference: float
    low: float
    high: float
    level: float = LEVEL
    resamples: int = RESAMPLES

    def __str__(self) -> str:
        return f"{self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def interval(
    one: npt.NDArray[np.floating | np.bool_],
    other: npt.NDArray[np.floating | np.bool_],
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Mean of `other - one` with its bootstrap interval.

    Args:
        one: Numbers or bools (n,), n of 1 or more: a figure of each query by one model.
        other: The same by another, in the same order. Queries are drawn again, both figures of
            one together.
        rng: Draws.
        resamples: How often all queries are drawn again.
        level: Share of the resamples that the interval holds.
    """
    differences = np.asarray(other, np.float64) - np.asarray(one, np.float64)
    count = len(differences)
    drawn = rng.integers(0, count, size=(resamples, count))
    means = differences[drawn].mean(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Interval(float(differences.mean()), float(low), float(high), level, resamples)
