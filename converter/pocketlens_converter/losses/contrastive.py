"""Contrastive pair loss: a pair of one product at distance 0, any other beyond a margin.

    loss = 1/2 mean over positive pairs of D^2  +  1/2 mean over negative pairs of max(0, m - D)^2

The means are taken apart: a batch has many more negative pairs, and those beyond the margin would
make the others weigh nothing.
Source: Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping" (2006),
equation 4.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from keras import KerasTensor, ops


def contrastive(
    distances: KerasTensor, positives: KerasTensor, negatives: KerasTensor, margin: float
) -> KerasTensor:
    """The loss of all pairs of a batch.

    Args:
        distances: float32 (n, n).
        positives: bool (n, n), pairs of one product, without the diagonal.
        negatives: bool (n, n), pairs of two products.
        margin: m, above 0.

    Returns:
        float32 (), 0 or more.
    """
    near = _mean(ops.square(distances), positives)
    far = ops.square(ops.maximum(margin - distances, 0.0))
    violating = ops.logical_and(negatives, distances < margin)
    return 0.5 * (near + _mean(far, violating))


def _mean(values: KerasTensor, where: KerasTensor) -> KerasTensor:
    weights = ops.cast(where, values.dtype)
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), 1.0)
