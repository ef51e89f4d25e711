"""Logistic regression by Newton's method, in numpy: P = 1 / (1 + exp(-(b + w . x))).

Each step solves (X' S X + ridge) d = X' (y - p) - ridge w with S = diag(p (1 - p)), on features of
mean 0 and deviation 1; the penalty keeps separable data from weights without end.
Source: Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, section 4.4.1.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RIDGE = 1.0  # of one sample's weight, on each standardized feature but the constant
MAX_STEPS = 100
TOLERANCE = 1e-9


def fit(
    features: Floats,
    outcomes: npt.NDArray[np.bool_],
    weights: Floats,
    *,
    ridge: float = RIDGE,
) -> Floats:
    """Weights of the most probable model.

    Args:
        features: float64 (n, m).
        outcomes: bool (n,).
        weights: float64 (n,), above 0: how much each sample counts.
        ridge: Penalty on the squared weights.

    Returns:
        float64 (1 + m,): intercept, then a weight a feature.
    """
    centre, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)  # a feature that never varies gets no weight
    inputs = np.column_stack([np.ones(len(features)), (features - centre) / spread])
    penalty = np.full(inputs.shape[1], ridge)
    penalty[0] = 1e-9
    found = np.zeros(inputs.shape[1])
    loss = _loss(found, inputs, outcomes, weights, penalty)
    for _ in range(MAX_STEPS):
        p = sigmoid(inputs @ found)
        gradient = inputs.T @ (weights * (outcomes - p)) - penalty * found
        curvature = inputs.T * (weights * p * (1 - p)) @ inputs + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-6 and _loss(found + size * step, inputs, outcomes, weights, penalty) > loss:
            size /= 2  # a full step may overshoot where the curve is flat
        found = found + size * step
        before, loss = loss, _loss(found + 0, inputs, outcomes, weights, penalty)
        if before - loss < TOLERANCE * max(1.0, abs(loss)):
            break
    slopes = found[1:] / spread
    return np.concatenate([[found[0] - float(slopes @ centre)], slopes])


def shift(
    scores: Floats,
    outcomes: npt.NDArray[np.bool_],
    weights: Floats,
    *,
    ridge: float = RIDGE,
) -> float:
    """What to add to every score so that sigmoid(score) is most probable: `fit`'s intercept alone.

    Args:
        scores: float64 (n,), logits of another model.
        outcomes: bool (n,).
        weights: float64 (n,), above 0.
        ridge: Penalty on the squared shift.
    """
    found = 0.0
    for _ in range(MAX_STEPS):
        p = sigmoid(scores + found)
        gradient = float(weights @ (outcomes - p)) - ridge * found
        step = gradient / (float(weights @ (p * (1 - p))) + ridge)
        found += max(-1.0, min(step, 1.0))  # where the curve is flat a full step overshoots
        if abs(step) < TOLERANCE:
            break
    return found


def probabilities(model: Floats, features: Floats) -> Floats:
    """P of each row of features (n, m) by what `fit` returned."""
    return sigmoid(model[0] + features @ model[1:])


def sigmoid(values: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)), np.float64)


def _loss(
    found: Floats,
    inputs: Floats,
    outcomes: npt.NDArray[np.bool_],
    weights: Floats,
    penalty: Floats,
) -> float:
    scores = inputs @ found
    errors = np.logaddexp(0, np.where(outcomes, -scores, scores))
    return float(weights @ errors + 0.5 * penalty @ found**2)
