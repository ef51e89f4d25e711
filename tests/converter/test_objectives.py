"""What a batch is judged by, on batches whose answer is known."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest

from pocketlens_converter.objectives import softmax_objective, triplet_objective
from pocketlens_converter.options import TrainOptions

PRODUCTS = np.array([0, 0, 0, 1, 1, 1], np.int32)
SLOTS = np.array([0, -1, -1, 1, -1, -1], np.int32)


def directions(*numbers: int) -> np.ndarray:
    return np.eye(8, dtype=np.float32)[list(numbers)]


def test_a_solved_batch_costs_little_and_a_mixed_one_much() -> None:
    solved = directions(0, 0, 0, 1, 1, 1)
    mixed = directions(0, 1, 1, 1, 0, 0)  # every photo lies with the other catalogue picture

    options = TrainOptions()

    assert float(softmax_objective(solved, PRODUCTS, SLOTS, options)) < 0.01
    assert float(softmax_objective(mixed, PRODUCTS, SLOTS, options)) > 5


def test_weight_of_the_catalogue_term_counts() -> None:
    photos_agree = directions(0, 2, 2, 1, 3, 3)  # with each other, with no catalogue picture
    without, with_it = (
        float(softmax_objective(photos_agree, PRODUCTS, SLOTS, TrainOptions(catalogue_weight=w)))
        for w in (0.0, 1.0)
    )

    # Two catalogue pictures, both at cosine 0: the photo cannot tell them apart.
    assert with_it - without == pytest.approx(np.log(2), abs=1e-4)


def test_photos_alone_have_no_catalogue_term() -> None:
    embeddings = directions(0, 2, 2, 1, 3, 3)
    photos = np.full(6, -1, np.int32)

    with_it = float(softmax_objective(embeddings, PRODUCTS, photos, TrainOptions()))
    without = float(
        softmax_objective(embeddings, PRODUCTS, photos, TrainOptions(catalogue_weight=0.0))
    )

    assert with_it == pytest.approx(without)


def test_triplets_are_semi_hard_until_it_is_warm() -> None:
    # Each positive is farther than every negative: hard triplets only, none of them semi-hard.
    embeddings = directions(0, 1, 2, 0, 1, 2)
    options = TrainOptions(loss="triplet", miner="batch-hard")

    cold = float(triplet_objective(embeddings, PRODUCTS, options, is_warm=False))
    warm = float(triplet_objective(embeddings, PRODUCTS, options, is_warm=True))

    assert cold == 0.0
    assert warm == pytest.approx(1 + np.sqrt(2), abs=2e-3)
