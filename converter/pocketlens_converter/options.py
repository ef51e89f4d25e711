"""Every choice of a training run, with its unit and its reason. Values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pocketlens.errors import TrainingError

Loss = Literal["softmax", "proxy", "triplet", "contrastive", "n-pair"]
Miner = Literal["batch-hard", "semi-hard"]


def _check(is_right: bool, expected: str, received: object) -> None:
    if not is_right:
        raise TrainingError(f"Expected {expected}. Received {received}.")


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How a model is trained. Defaults, for products with photos, were measured: docs/training.md.

    `CATALOGUE_ALONE` is for products without.

    Attributes:
        backbone: Name in `pocketlens_converter.backbones.BACKBONES`.
        alpha: Width of the backbone, where it has one.
        features: Layer whose output the head sees: "avg_pool" is the last one's mean over the
            picture, "flatten" all of it (25,088 numbers of VGG16 at 224 pixels), any other the
            mean of the layer of that name.
        shallow: Whether a shallow branch of colours and textures stands beside the backbone.
        image_size: Side of the model's input in pixels.
        learned_scale: Side of the pictures that a pretrained backbone learns from, as a share of
            `image_size`: a part that was zoomed into looks larger than the whole will, and this
            makes up for it (Touvron et al., "Fixing the train-test resolution discrepancy", 2019).
        dim: Numbers of an embedding.
        loss: "softmax" is the multi-positive softmax with the proxy softmax beside it, the others
            are alone: "proxy", "triplet" (margin), "contrastive" (pairs), "n-pair".
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
        learned_layers: How many of a pretrained backbone's last layers with weights learn; 0 trains
            the head alone, None all but the first `frozen_share`. Its batch norms never learn.
        frozen_share: Share of a pretrained backbone's layers, from the input on, that stay as
            they are where `learned_layers` does not say.
        fitted_head: Whether the head of a pretrained backbone starts from the principal
            components of its features rather than from random numbers.
        temperature: Divisor of cosines in softmax and n-pair losses.
        margin: Of the triplet and the contrastive loss, as a distance of unit vectors.
        catalogue_weight: Weight of the term that ranks the batch's catalogue pictures for a photo.
        proxy_weight: Weight of the term that ranks the whole catalogue, as it was last seen.
        in_class, out_of_class: Products of the anchor's class, and of others, in a batch that is
            a neighbourhood: the negatives of each of its pairs.
        neighbourhood_share: Share of the batches that are neighbourhoods.
        mining_pool: Nearest products of each that neighbourhoods are drawn from.
        mining_rounds: How often in a run the set is embedded to find them; 0 draws them blindly.
        visible_share: A photo to which more than this share of the products is nearer than its
            own is left out once half of the run is over; 1 keeps all.
        synthesised_share: Share of the queries that are synthesised for products with photos;
            those without have no others.
        augmentation: How much photos and catalogue pictures are changed before they are learned
            from, 0 to 1.4: 1 is what is described in `augmentation`, 0 mirrors them only.
        held_out: Categories that are not learned from, to see how new ones fare.
        natural: Backgrounds in a batch, as products of their own, where backgrounds are given.
        averaging: Share of the running average of the weights that a step keeps.
        trained_share: Share of the trained weights in those that are saved; the rest are the ones
            that the run started from (Wortsman et al., "Robust fine-tuning of zero-shot models",
            2022).
    """

    backbone: str = "MobileNetV2"
    alpha: float = 1.0
    features: str = "avg_pool"
    shallow: bool = False
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
    learned_layers: int | None = None
    frozen_share: float = 0.25
    fitted_head: bool = True
    temperature: float = 0.1
    margin: float = 1.0
    catalogue_weight: float = 1.0
    proxy_weight: float = 1.0
    in_class: int = 12
    out_of_class: int = 2
    neighbourhood_share: float = 0.5
    mining_pool: int = 100
    mining_rounds: int = 4
    visible_share: float = 0.5
    synthesised_share: float = 0.0
    augmentation: float = 1.0
    natural: int = 2
    held_out: tuple[str, ...] = ()
    averaging: float = 0.99
    trained_share: float = 1.0

    def __post_init__(self) -> None:
        _check(32 <= self.image_size <= 1024, "image size of 32 to 1,024", self.image_size)
        _check(0.5 <= self.learned_scale <= 1, "learned scale of 0.5 to 1", self.learned_scale)
        _check(2 <= self.dim <= 4096, "dim of 2 to 4,096", self.dim)
        _check(self.loss in get_args(Loss), f"loss of {', '.join(get_args(Loss))}", self.loss)
        _check(self.miner in get_args(Miner), "miner of batch-hard or semi-hard", self.miner)
        _check(self.steps >= 1, "steps of 1 or more", self.steps)
        _check(self.minutes is None or self.minutes > 0, "minutes above 0", self.minutes)
        _check(self.seed >= 0, "seed of 0 or more", self.seed)
        _check(self.products >= 2, "2 or more products a batch", self.products)
        _check(self.pictures >= 2, "2 or more pictures a product", self.pictures)
        _check(self.learning_rate > 0, "learning rate above 0", self.learning_rate)
        _check(0 <= self.warm_up < 1, "warm-up of 0 up to 1", self.warm_up)
        _check(0 <= self.semi_hard_share <= 1, "semi-hard share of 0 to 1", self.semi_hard_share)
        learned = self.learned_layers
        _check(learned is None or learned >= 0, "0 or more learned layers", learned)
        _check(self.temperature > 0, "temperature above 0", self.temperature)
        _check(self.margin > 0, "margin above 0", self.margin)
        _check(self.catalogue_weight >= 0, "catalogue weight of 0 or more", self.catalogue_weight)
        _check(self.proxy_weight >= 0, "proxy weight of 0 or more", self.proxy_weight)
        _check(self.in_class >= 0, "0 or more negatives of the class", self.in_class)
        _check(self.out_of_class >= 0, "0 or more negatives of other classes", self.out_of_class)
        _check(1 <= self.mining_pool <= 1000, "mining pool of 1 to 1,000", self.mining_pool)
        _check(self.mining_rounds >= 0, "0 or more mining rounds", self.mining_rounds)
        _check(self.natural >= 0, "0 or more natural pictures", self.natural)
        for name in ("frozen", "neighbourhood", "visible", "synthesised"):
            share = getattr(self, f"{name}_share")
            _check(0 <= share <= 1, f"{name} share of 0 to 1", share)
        strength = self.augmentation
        _check(0 <= strength <= 1.4, "augmentation of 0 to 1.4", strength)
        _check(0 <= self.averaging < 1, "averaging of 0 up to 1", self.averaging)
        trained = self.trained_share
        _check(0 < trained <= 1, "trained share above 0, up to 1", trained)


# Drawn photos teach less than real ones, and what the backbone knew is forgotten sooner: a short
# run at a low rate, half of whose weights are kept, of large pictures.
CATALOGUE_ALONE = TrainOptions(
    image_size=288,
    learned_scale=7 / 9,
    dim=256,
    steps=600,
    pictures=3,
    learning_rate=1.5e-4,
    trained_share=0.5,
)


def suited(photo_share: float, *, is_pretrained: bool) -> TrainOptions:
    """The options for lists of which `photo_share` of the products have photos.

    A network that knows nothing yet has nothing to forget, whatever it learns from.
    """
    return TrainOptions() if photo_share >= 0.5 or not is_pretrained else CATALOGUE_ALONE
