"""Pairwise similarities and distances of unit vectors."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from keras import KerasTensor, ops

# Below it a distance counts as this: the square root has no finite slope at 0.
SMALLEST_SQUARED_DISTANCE = 1e-6


def cosines(rows: KerasTensor, columns: KerasTensor) -> KerasTensor:
    """Cosine similarity of each row with each column.

    Args:
        rows: float32 (n, dim), unit rows.
        columns: float32 (m, dim), unit rows.

    Returns:
        float32 (n, m), -1 to 1.
    """
    return ops.matmul(rows, ops.transpose(columns))


def euclidean(rows: KerasTensor, columns: KerasTensor) -> KerasTensor:
    """Euclidean distance of each row to each column, 0 (0.001 here) to 2.

    Args:
        rows: float32 (n, dim), unit rows.
        columns: float32 (m, dim), unit rows.

    Returns:
        float32 (n, m).
    """
    squared = 2.0 - 2.0 * cosines(rows, columns)
    return ops.sqrt(ops.maximum(squared, SMALLEST_SQUARED_DISTANCE))
