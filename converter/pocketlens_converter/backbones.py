"""A backbone by name, with a head: pictures of 0 to 255 in, embeddings (not yet unit) out."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Literal

import keras

from pocketlens.errors import TrainingError
from pocketlens_converter.options import TrainOptions

# What the backbone's first layer expects: "signed" -1 to 1, "levels" 0 to 255 (it scales itself).
Levels = Literal["signed", "levels"]
BACKBONES: dict[str, Levels] = {
    "MobileNet": "signed",
    "MobileNetV2": "signed",
    "MobileNetV3Small": "levels",
    "MobileNetV3Large": "levels",
    "EfficientNetB0": "levels",
    "EfficientNetV2B0": "levels",
    "NASNetMobile": "signed",
    "Tiny": "signed",
}
WITH_ALPHA = frozenset({"MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large"})


def build(options: TrainOptions, weights: Path | None) -> keras.Model:
    """A model of built-in layers only; input float32 (n, image_size, image_size, 3), 0 to 255.

    With weights, batch norms are frozen (statistics of a few pictures would destroy what the rest
    was trained on), and so are the first layers, as the options say. Without, everything learns.

    Raises:
        TrainingError: There is no such backbone, or the weights are not its.
    """
    backbone = _backbone(options)
    if weights is not None:
        _load(backbone, weights, options)
        _freeze(backbone, options)
    size = options.image_size
    pictures = keras.Input((size, size, 3), name="picture")
    scaled = pictures
    if BACKBONES[options.backbone] == "signed":
        scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(pictures)
    embeddings = keras.layers.Dense(options.dim, name="embedding")(backbone(scaled))
    return keras.Model(pictures, embeddings, name="embedder")


def has_batch_statistics(model: keras.Model) -> bool:
    """Whether a batch norm of `build`'s model learns: it must be called with training=True."""
    backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    return any(
        isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for layer in backbone.layers
    )


def _backbone(options: TrainOptions) -> keras.Model:
    if options.backbone not in BACKBONES:
        raise TrainingError(
            f"Expected a backbone of {', '.join(BACKBONES)}. Received {options.backbone}."
        )
    if options.backbone not in WITH_ALPHA and options.alpha != 1:
        raise TrainingError(f"{options.backbone} has one width only. Leave --alpha out.")
    if options.backbone == "Tiny":
        return _tiny(options.image_size)
    width = {"alpha": options.alpha} if options.backbone in WITH_ALPHA else {}
    make = getattr(keras.applications, options.backbone)
    shape = (options.image_size, options.image_size, 3)
    try:
        return make(include_top=False, weights=None, input_shape=shape, pooling="avg", **width)
    except ValueError as exc:
        raise TrainingError(f"{options.backbone} cannot be built so: {exc}") from exc


def _tiny(image_size: int) -> keras.Model:
    """Five plain convolutions: from random weights it learns a small catalogue in a minute.

    MobileNetV2 needs hours for that: recall@1 0.52 after 600 steps where this has 0.96, at a
    quarter of the time.
    """
    pictures = keras.Input((image_size, image_size, 3))
    features = pictures
    for channels, stride in ((16, 2), (32, 2), (64, 2), (128, 2), (256, 1)):
        features = keras.layers.Conv2D(channels, 3, stride, "same", use_bias=False)(features)
        # Few steps are taken: the statistics must follow quickly.
        features = keras.layers.BatchNormalization(momentum=0.95)(features)
        features = keras.layers.ReLU(6.0)(features)
    return keras.Model(pictures, keras.layers.GlobalAveragePooling2D()(features), name="tiny")


def _load(backbone: keras.Model, weights: Path, options: TrainOptions) -> None:
    if not weights.is_file():
        raise TrainingError(f"There is no file of weights at {weights}. Check --weights.")
    try:
        backbone.load_weights(weights)
    except (ValueError, OSError, KeyError) as exc:
        raise TrainingError(
            f"Expected weights of {options.backbone} (alpha {options.alpha:g}, without its top). "
            f"Received {weights}, which does not fit: {str(exc).splitlines()[0]}"
        ) from exc


def _freeze(backbone: keras.Model, options: TrainOptions) -> None:
    first = round(options.frozen_share * len(backbone.layers))
    if options.learned_layers is not None:
        first = len(backbone.layers) - options.learned_layers
    for position, layer in enumerate(backbone.layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = position >= first and not is_norm
