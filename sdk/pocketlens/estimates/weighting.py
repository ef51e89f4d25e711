"""How much each similar item counts, and quantiles of what they say (PURE).

    weight ~ exp(similarity / temperature) * 0.5 ** (age / half_life_days)

A weighting is fitted to a catalogue by telling the prices of its own items from the others; see
`backtest`. Arrays are (n,) of one item's neighbours or (m, n) of many items'.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9  # quantiles of an estimate: an 80 % interval about the median
FEWEST_FITTED = 10  # items; fewer say nothing of how wide an interval must be
_TEMPERATURES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.4)  # of cosines; most apart first
_HALF_LIVES = (np.inf, 1460.0, 730.0, 365.0, 180.0, 90.0)  # days; age does not matter first

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Weighting:
    """How items count. As it stands, that of a catalogue too small to fit one to.

    Attributes:
        temperature: Similarity by which the weight falls to 1/e; 0.05 is the best for votes on
            attributes, too (docs/estimates.md).
        half_life_days: Age by which it falls to a half; infinity where age does not matter.
        widening: Added to the logarithm of a price at both ends of the interval; below 0 it
            narrows.
        fitted_on: Items whose price was told from the others'.
    """

    temperature: float = 0.05
    half_life_days: float = float("inf")
    widening: float = 0.1
    fitted_on: int = 0

    def weights(self, similarities: npt.ArrayLike, ages_days: npt.ArrayLike) -> Floats:
        """Of neighbours, (..., n), adding up to 1.

        Args:
            similarities: (..., n); minus infinity of one that does not count.
            ages_days: (..., n), NaN where unknown, which counts as the median of those known.
        """
        logs = np.asarray(similarities, np.float64) / self.temperature
        if np.isfinite(self.half_life_days):
            ages = np.asarray(ages_days, np.float64)
            known = ages[np.isfinite(ages)]
            usual = float(np.median(known)) if len(known) else 0.0
            logs = logs - math.log(2) / self.half_life_days * np.where(np.isnan(ages), usual, ages)
        # Less the greatest, so that one weight at least is 1 however old and unlike all are.
        weights = np.exp(logs - logs.max(axis=-1, keepdims=True))
        total: Floats = weights / weights.sum(axis=-1, keepdims=True)
        return total


def quantiles(values: Floats, weights: Floats, shares: Sequence[float]) -> Floats:
    """Weighted quantiles along the last axis.

    Each value stands at the middle of its weight, lines between them (Hazen's rule where weights
    are equal); beyond the first and last it is theirs.

    Args:
        values: (..., n), n at least 1.
        weights: (..., n), adding up to 1; of 0, a value is as if it were not there.
        shares: 0 to 1.

    Returns:
        (..., len(shares)).
    """
    last = values.shape[-1]
    rows = zip(values.reshape(-1, last), weights.reshape(-1, last), strict=True)
    told = [_quantiles(row[of > 0], of[of > 0], shares) for row, of in rows]
    return np.array(told).reshape(*values.shape[:-1], len(shares))


def _quantiles(values: Floats, weights: Floats, shares: Sequence[float]) -> Floats:
    """The same of one row, of which every value counts."""
    order = np.argsort(values, kind="stable")
    weights = weights[order]
    middles = np.cumsum(weights) - weights / 2
    return np.interp(shares, middles, values[order])


def fitted(similarities: Floats, ages_days: Floats, logs: Floats, truths: Floats) -> Weighting:
    """The weighting that best tells known prices, and how wide its interval has to be.

    The mean pinball loss at the three quantiles decides (a proper score: Gneiting and Raftery
    2007). Then the interval is widened until it holds 80 % of what it did not learn from
    (conformalized quantile regression: Romano, Patterson and Candes 2019, equation 6).

    Args:
        similarities: (m, n), of m items to their n neighbours; minus infinity where it has fewer.
        ages_days: (m, n), of the neighbours, NaN where unknown.
        logs: (m, n), logarithms of their prices.
        truths: (m,), of the items' own.
    """
    if len(truths) < FEWEST_FITTED:
        return Weighting()
    dated = bool(np.isfinite(ages_days).any())
    tried = [
        Weighting(temperature, half_life, 0.0, len(truths))
        for half_life, temperature in product(_HALF_LIVES[: None if dated else 1], _TEMPERATURES)
    ]
    told = [
        quantiles(logs, each.weights(similarities, ages_days), (LOW, MIDDLE, HIGH))
        for each in tried
    ]
    best = int(np.argmin([_pinball(each, truths) for each in told]))
    outside = np.maximum(told[best][:, 0] - truths, truths - told[best][:, 2])
    share = min(1.0, (HIGH - LOW) * (1 + 1 / len(truths)))
    widening = float(np.quantile(outside, share, method="higher"))
    chosen = tried[best]
    return Weighting(chosen.temperature, chosen.half_life_days, widening, len(truths))


def _pinball(told: Floats, truths: Floats) -> float:
    """Mean pinball loss of quantiles, (m, 3)."""
    beyond = truths[:, None] - told
    shares = np.array([LOW, MIDDLE, HIGH])
    return float(np.maximum(shares * beyond, (shares - 1) * beyond).mean())
