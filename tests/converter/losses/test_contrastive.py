"""The contrastive loss against a plain loop over pairs."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest

from pocketlens_converter.losses.contrastive import contrastive


@pytest.mark.parametrize("margin", [0.5, 1.0])
def test_loss_is_that_of_the_loop(margin: float) -> None:
    rng = np.random.default_rng(1)
    distances = rng.uniform(0, 2, (9, 9)).astype(np.float32)
    products = rng.integers(0, 3, 9)

    near, far = [], []
    for row in range(9):
        for column in range(9):
            distance = float(distances[row, column])
            if row != column and products[row] == products[column]:
                near.append(distance**2)
            elif products[row] != products[column] and distance < margin:
                far.append((margin - distance) ** 2)
    same = products[:, None] == products[None, :]
    loss = float(contrastive(distances, same & ~np.eye(9, dtype=bool), ~same, margin))

    assert loss == pytest.approx(0.5 * np.mean(near) + 0.5 * np.mean(far), rel=1e-5)


def test_a_solved_batch_costs_nothing() -> None:
    distances = np.array([[0.0, 0.0], [0.0, 0.0]], np.float32)
    none, pair = np.zeros((2, 2), np.bool_), ~np.eye(2, dtype=bool)

    assert float(contrastive(distances, pair, none, 1.0)) == 0.0
    assert float(contrastive(distances + 1.5, none, pair, 1.0)) == 0.0
