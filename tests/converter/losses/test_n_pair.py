"""The N-pair loss against a plain loop over pairs and negatives."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pytest

from pocketlens_converter.losses.n_pair import n_pair


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_loss_is_that_of_the_loop(temperature: float) -> None:
    rng = np.random.default_rng(1)
    similarities = rng.uniform(-1, 1, (9, 9)).astype(np.float32)
    products = rng.integers(0, 3, 9)

    each = []
    for anchor in range(9):
        for positive in range(9):
            if anchor == positive or products[anchor] != products[positive]:
                continue
            own = float(similarities[anchor, positive])
            others = [
                math.exp((float(similarities[anchor, other]) - own) / temperature)
                for other in range(9)
                if products[other] != products[anchor]
            ]
            each.append(math.log1p(sum(others)))
    same = products[:, None] == products[None, :]
    loss = float(n_pair(similarities, same & ~np.eye(9, dtype=bool), ~same, temperature))

    assert loss == pytest.approx(np.mean(each), rel=1e-4)


def test_a_batch_without_pairs_costs_nothing() -> None:
    similarities = np.eye(3, dtype=np.float32)
    none = np.zeros((3, 3), np.bool_)

    assert float(n_pair(similarities, none, ~np.eye(3, dtype=bool), 0.1)) == 0.0
