"""Choices of a training run: which are refused, and what follows from them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest

from pocketlens.errors import TrainingError
from pocketlens_converter.options import TrainOptions


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_size": 16}, "image size of 32 to 1,024"),
        ({"learned_scale": 1.5}, "learned scale of 0.5 to 1"),
        ({"dim": 1}, "dim of 2 to 4,096"),
        ({"loss": "triplets"}, "loss of softmax, proxy, triplet"),
        ({"miner": "hard"}, "batch-hard or semi-hard"),
        ({"steps": 0}, "steps of 1 or more"),
        ({"minutes": 0.0}, "minutes above 0"),
        ({"seed": -1}, "seed of 0 or more"),
        ({"products": 1}, "2 or more products"),
        ({"pictures": 1}, "2 or more pictures"),
        ({"learning_rate": 0.0}, "learning rate above 0"),
        ({"warm_up": 1.0}, "warm-up of 0 up to 1"),
        ({"temperature": 0.0}, "temperature above 0"),
        ({"margin": -1.0}, "margin above 0"),
        ({"averaging": 1.0}, "averaging of 0 up to 1"),
        ({"mining_pool": 1001}, "mining pool of 1 to 1,000"),
        ({"in_class": -1}, "negatives of the class"),
        ({"visible_share": 1.5}, "visible share of 0 to 1"),
        ({"learned_layers": -1}, "learned layers"),
        ({"trained_share": 0.0}, "trained share above 0, up to 1"),
    ],
)
def test_what_cannot_be_is_refused_with_what_was_received(
    changes: dict[str, object], says: str
) -> None:
    (received,) = changes.values()

    with pytest.raises(TrainingError, match=rf"{says}.*Received {received}"):
        TrainOptions(**changes)  # type: ignore[arg-type] # wrong ones, on purpose


def test_learning_rate_and_trained_share_follow_from_what_is_learned_from() -> None:
    photos = TrainOptions().resolved(1.0, is_pretrained=True)
    drawn = TrainOptions().resolved(0.0, is_pretrained=True)
    nothing_known = TrainOptions().resolved(0.0, is_pretrained=False)
    given = TrainOptions(learning_rate=1e-3, trained_share=0.25)

    assert photos.learning_rate is not None
    assert drawn.learning_rate is not None
    assert photos.learning_rate > drawn.learning_rate
    assert photos.trained_share == nothing_known.trained_share == 1.0
    assert drawn.trained_share is not None
    assert 0 < drawn.trained_share < 1
    assert given.resolved(0.0, is_pretrained=True) == given


@pytest.mark.parametrize(
    ("image_size", "learned"), [(224, 192), (192, 160), (160, 128), (96, 96), (32, 32)]
)
def test_pretrained_backbones_learn_from_pictures_of_six_sevenths_in_steps_of_32(
    image_size: int, learned: int
) -> None:
    options = TrainOptions(image_size=image_size)

    assert options.learned_size(is_pretrained=True) == learned
    assert options.learned_size(is_pretrained=False) == image_size


def test_a_learned_scale_of_one_keeps_any_size() -> None:
    options = TrainOptions(image_size=100, learned_scale=1.0)

    assert options.learned_size(is_pretrained=True) == 100
