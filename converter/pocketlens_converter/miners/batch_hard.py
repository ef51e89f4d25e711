"""Batch-hard: the farthest positive and the nearest negative of each anchor.

Source: Hermans et al., "In Defense of the Triplet Loss" (2017), equation 5.
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


def batch_hard(distances: KerasTensor, products: KerasTensor) -> Triplets:
    """One triplet an anchor; valid where it has a positive and a negative.

    Args:
        distances: float32 (n, n).
        products: int32 (n,).

    Returns:
        n triplets.
    """
    positives, same = positive_pairs(products), same_product(products)
    farthest_positive = ops.max(ops.where(positives, distances, -OUT_OF_REACH), axis=1)
    nearest_negative = ops.min(ops.where(same, OUT_OF_REACH, distances), axis=1)
    has_both = ops.logical_and(ops.any(positives, axis=1), ops.any(~same, axis=1))
    return Triplets(farthest_positive, nearest_negative, has_both)
