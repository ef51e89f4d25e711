"""Semi-hard: for each positive pair the nearest negative beyond the positive, within the margin.

Source: Schroff et al., "FaceNet" (2015), section 3.2.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from keras import KerasTensor, ops

from pocketlens_converter.miners.triplets import (
    OUT_OF_REACH,
    Triplets,
    positive_pairs,
    same_product,
)


def semi_hard(distances: KerasTensor, products: KerasTensor, margin: float) -> Triplets:
    """One triplet a pair; valid where the two are a positive pair with such a negative.

    Args:
        distances: float32 (n, n).
        products: int32 (n,).
        margin: Of the loss, above 0.

    Returns:
        n * n triplets, anchor by anchor.
    """
    positive_distances = distances[:, :, None]  # anchor, positive
    negative_distances = distances[:, None, :]  # anchor, negative
    is_beyond = ops.logical_and(
        ops.logical_not(same_product(products))[:, None, :],
        negative_distances > positive_distances,
    )
    nearest = ops.min(ops.where(is_beyond, negative_distances, OUT_OF_REACH), axis=2)
    valid = ops.logical_and(positive_pairs(products), nearest < distances + margin)
    valid = ops.logical_and(valid, nearest < OUT_OF_REACH)
    return Triplets(
        ops.reshape(distances, (-1,)), ops.reshape(nearest, (-1,)), ops.reshape(valid, (-1,))
    )
