"""Triplets: what a miner finds and a loss is computed of."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import NamedTuple

from keras import KerasTensor, ops

# Stands for the distance of what cannot be chosen; distances of unit vectors end at 2.
OUT_OF_REACH = 4.0


class Triplets(NamedTuple):
    """Distances of anchors to a positive and to a negative.

    Attributes:
        positive_distances: float32 (t,), Dp.
        negative_distances: float32 (t,), Dn.
        valid: bool (t,); what is not valid was only needed to keep the shape.
    """

    positive_distances: KerasTensor
    negative_distances: KerasTensor
    valid: KerasTensor


def positive_pairs(products: KerasTensor) -> KerasTensor:
    """Pairs of two pictures of one product.

    Args:
        products: int32 (n,).

    Returns:
        bool (n, n), False on the diagonal.
    """
    itself = ops.cast(ops.eye(ops.shape(products)[0]), "bool")
    return ops.logical_and(same_product(products), ops.logical_not(itself))


def same_product(products: KerasTensor) -> KerasTensor:
    """Which pictures of a batch show the same product: int32 (n,) to bool (n, n)."""
    return ops.equal(products[:, None], products[None, :])
