"""Every choice of a training run, with its unit and its reason. Values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pocketlens.errors import TrainingError

Loss = Literal["softmax", "triplet"]
Miner = Literal["batch-hard", "semi-hard"]


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How a model is trained. Defaults were measured: docs/training.md.

    Attributes:
        backbone: Name in `pocketlens_converter.backbones.BACKBONES`.
        alpha: Width of the backbone, where it has one.
        image_size: Side of the model's input in pixels.
        learned_scale: Side of the pictures that a pretrained backbone learns from, as a share of
            `image_size`: a part that was zoomed into looks larger than the whole will, and this
            makes up for it (Touvron et al., "Fixing the train-test resolution discrepancy", 2019).
        dim: Numbers of an embedding.
        loss: "softmax" is the multi-positive softmax, "triplet" the triplet margin loss.
        miner: Which triplets the triplet loss is given.
        steps: Batches to learn from.
        minutes: Time after which the schedule ends although `steps` are not reached; a machine
            too slow for the steps learns another model than a faster one. None for no limit.
        seed: Of weights, batches and augmentation.
        products: Products a batch (P).
        pictures: Pictures a product in a batch (K), the catalogue picture among them.
        learning_rate: Of Adam, at its highest.
        warm_up: Share of the schedule in which the learning rate rises.
        semi_hard_share: Share of the schedule in which the batch-hard miner leaves its place to
            the semi-hard one: from the start it collapses (benchmarks/training.py).
        frozen_share: Share of a pretrained backbone's layers, from the input on, that stay as
            they are; its batch norms always do.
        temperature: Divisor of cosines in the softmax.
        margin: Of the triplet loss, as a distance of unit vectors.
        catalogue_weight: Weight of the term that ranks the batch's catalogue pictures for a photo.
        averaging: Share of the running average of the weights that a step keeps.
    """

    backbone: str = "MobileNetV2"
    alpha: float = 1.0
    image_size: int = 224
    learned_scale: float = 6 / 7
    dim: int = 128
    loss: Loss = "softmax"
    miner: Miner = "batch-hard"
    steps: int = 1400
    minutes: float | None = None
    seed: int = 0
    products: int = 16
    pictures: int = 4
    learning_rate: float = 4e-4
    warm_up: float = 0.05
    semi_hard_share: float = 0.3
    frozen_share: float = 0.25
    temperature: float = 0.1
    margin: float = 1.0
    catalogue_weight: float = 1.0
    averaging: float = 0.99

    def __post_init__(self) -> None:
        _check(32 <= self.image_size <= 1024, "image size of 32 to 1,024", self.image_size)
        _check(0.5 <= self.learned_scale <= 1, "learned scale of 0.5 to 1", self.learned_scale)
        _check(2 <= self.dim <= 4096, "dim of 2 to 4,096", self.dim)
        _check(self.loss in get_args(Loss), "loss of softmax or triplet", self.loss)
        _check(self.miner in get_args(Miner), "miner of batch-hard or semi-hard", self.miner)
        _check(self.steps >= 1, "steps of 1 or more", self.steps)
        _check(self.minutes is None or self.minutes > 0, "minutes above 0", self.minutes)
        _check(self.seed >= 0, "seed of 0 or more", self.seed)
        _check(self.products >= 2, "2 or more products a batch", self.products)
        _check(self.pictures >= 2, "2 or more pictures a product", self.pictures)
        _check(self.learning_rate > 0, "learning rate above 0", self.learning_rate)
        _check(0 <= self.warm_up < 1, "warm-up of 0 up to 1", self.warm_up)
        _check(0 <= self.semi_hard_share <= 1, "semi-hard share of 0 to 1", self.semi_hard_share)
        _check(0 <= self.frozen_share <= 1, "frozen share of 0 to 1", self.frozen_share)
        _check(self.temperature > 0, "temperature above 0", self.temperature)
        _check(self.margin > 0, "margin above 0", self.margin)
        _check(self.catalogue_weight >= 0, "catalogue weight of 0 or more", self.catalogue_weight)
        _check(0 <= self.averaging < 1, "averaging of 0 up to 1", self.averaging)

    def learned_size(self, *, is_pretrained: bool) -> int:
        """Side of the pictures to learn from, a multiple of 32 pixels where it is scaled."""
        if not is_pretrained or self.learned_scale == 1:
            return self.image_size
        return max(32, 32 * round(self.image_size * self.learned_scale / 32))


def _check(is_right: bool, expected: str, received: object) -> None:
    if not is_right:
        raise TrainingError(f"Expected {expected}. Received {received}.")
