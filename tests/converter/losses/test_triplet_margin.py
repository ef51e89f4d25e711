"""The triplet margin loss against a plain loop over explicit triplets."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest

from pocketlens_converter.losses.triplet_margin import triplet_margin
from pocketlens_converter.miners.triplets import Triplets


@pytest.mark.parametrize("margin", [0.2, 1.0])
def test_loss_is_that_of_the_loop(margin: float) -> None:
    rng = np.random.default_rng(3)
    positive, negative = rng.uniform(0, 2, (2, 40)).astype(np.float32)
    valid = rng.random(40) < 0.6

    loss = float(triplet_margin(Triplets(positive, negative, valid), margin))

    each = [
        max(0.0, margin + float(dp) - float(dn))
        for dp, dn, counts in zip(positive, negative, valid, strict=True)
        if counts
    ]
    assert loss == pytest.approx(sum(each) / len(each), rel=1e-5)


def test_loss_without_a_valid_triplet_is_zero() -> None:
    distances = np.ones(4, np.float32)

    loss = float(triplet_margin(Triplets(distances, distances, np.zeros(4, np.bool_)), 1.0))

    assert loss == 0.0


def test_loss_of_a_satisfied_triplet_is_zero() -> None:
    triplets = Triplets(np.array([0.1], np.float32), np.array([1.2], np.float32), np.array([True]))

    assert float(triplet_margin(triplets, 1.0)) == 0.0
