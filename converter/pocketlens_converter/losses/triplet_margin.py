"""Triplet margin loss: a positive should be nearer than a negative, by a margin.

    loss = mean over triplets of  max(0, m + Dp - Dn)

Source: Schroff et al., "FaceNet" (2015), equation 3, with plain instead of squared distances
(Hermans et al., "In Defense of the Triplet Loss", 2017, equation 5).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from keras import KerasTensor, ops

from pocketlens_converter.miners.triplets import Triplets


def triplet_margin(triplets: Triplets, margin: float) -> KerasTensor:
    """The loss of the valid ones among `triplets`.

    Args:
        triplets: What a miner found.
        margin: m, above 0.

    Returns:
        float32 (), 0 or more; 0 if there is no valid triplet.
    """
    violations = ops.maximum(
        margin + triplets.positive_distances - triplets.negative_distances, 0.0
    )
    valid = ops.cast(triplets.valid, violations.dtype)
    return ops.sum(violations * valid) / ops.maximum(ops.sum(valid), 1.0)
