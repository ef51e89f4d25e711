"""A backbone by name, cut at a feature layer, with a head: pictures of 0 to 255 in, embeddings out.

    model = build(TrainOptions(backbone="VGG16", features="flatten", learned_scale=1), weights)

Embeddings are not yet of unit length. Whatever levels a backbone was trained with are made inside,
of built-in layers only.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from pocketlens.errors import TrainingError
from pocketlens_converter.options import TrainOptions

# What a backbone's first layer expects: "signed" -1 to 1, "levels" 0 to 255 (it scales itself),
# "caffe" blue, green, red less the means of ImageNet.
Levels = Literal["signed", "levels", "caffe"]
_CAFFE_MEANS = (103.939, 116.779, 123.68)  # of blue, green, red: Simonyan and Zisserman, 2014
# What Keras and HDF5 raise for files that are no weights, or another network's.
_NOT_ITS_WEIGHTS = (
    UserWarning,
    ValueError,
    TypeError,
    OSError,
    KeyError,
    AttributeError,
    RuntimeError,
)
IMAGENET = Path("imagenet")  # the name under which Keras fetches its own weights


@dataclass(frozen=True, slots=True)
class Backbone:
    """What is known of a backbone before it is built.

    Attributes:
        make: Its name in `keras.applications`; "" for one of our own.
        levels: What its first layer expects.
        least_size: Pixels that its input must have.
        has_alpha: Whether it comes in several widths.
        arguments: Further ones for Keras.
    """

    make: str
    levels: Levels
    least_size: int = 32
    has_alpha: bool = False
    arguments: tuple[tuple[str, object], ...] = ()


_MINIMAL = (("minimalistic", True),)
BACKBONES: dict[str, Backbone] = {
    "MobileNet": Backbone("MobileNet", "signed", has_alpha=True),
    "MobileNetV2": Backbone("MobileNetV2", "signed", has_alpha=True),
    "MobileNetV3Small": Backbone("MobileNetV3Small", "levels", has_alpha=True),
    "MobileNetV3Large": Backbone("MobileNetV3Large", "levels", has_alpha=True),
    # Without squeeze-and-excite and hard swish: what int8 and accelerators take without loss.
    "MobileNetV3SmallMinimalistic": Backbone(
        "MobileNetV3Small", "levels", has_alpha=True, arguments=_MINIMAL
    ),
    "MobileNetV3LargeMinimalistic": Backbone(
        "MobileNetV3Large", "levels", has_alpha=True, arguments=_MINIMAL
    ),
    "EfficientNetV2B0": Backbone("EfficientNetV2B0", "levels"),
    "EfficientNetV2S": Backbone("EfficientNetV2S", "levels"),
    "NASNetMobile": Backbone("NASNetMobile", "signed"),
    "ResNet50": Backbone("ResNet50", "caffe"),
    "VGG16": Backbone("VGG16", "caffe"),
    "Xception": Backbone("Xception", "signed", least_size=71),
    "InceptionV3": Backbone("InceptionV3", "signed", least_size=75),
    "InceptionResNetV2": Backbone("InceptionResNetV2", "signed", least_size=75),
    "Tiny": Backbone("", "signed"),
}


def build(options: TrainOptions, weights: Path | None) -> keras.Model:
    """A model of built-in layers only; input float32 (n, image_size, image_size, 3), 0 to 255.

    With weights, batch norms are frozen (statistics of a few pictures would destroy what the rest
    was trained on), and so are the first layers, as the options say. Without, everything learns.

    Raises:
        TrainingError: There is no such backbone or layer, or the weights are not its.
    """
    whole = _backbone(options)
    if weights is not None:
        _load(whole, weights, options)
    trunk = keras.Model(whole.input, _features(whole, options), name=whole.name)
    if weights is not None:
        _freeze(trunk, options)
    size = options.image_size
    pictures = keras.Input((size, size, 3), name="picture")
    features = trunk(_levels(pictures, BACKBONES[options.backbone].levels))
    if options.shallow:
        features = keras.layers.Concatenate(name="deep_and_shallow")([features, _shallow(pictures)])
    embeddings = keras.layers.Dense(options.dim, name="embedding")(features)
    return keras.Model(pictures, embeddings, name="embedder")


def learned_size(options: TrainOptions, *, is_pretrained: bool) -> int:
    """Side of the pictures to learn from, a multiple of 32 pixels where it is scaled."""
    size = options.image_size
    if not is_pretrained or options.learned_scale == 1 or options.features == "flatten":
        return size  # what is flattened has one size only
    scaled = max(32, 32 * round(size * options.learned_scale / 32))
    known = BACKBONES.get(options.backbone)
    return size if known is not None and scaled < known.least_size else scaled


def has_batch_statistics(model: keras.Model) -> bool:
    """Whether a batch norm of `build`'s model learns: it must be called with training=True."""
    backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    return any(
        isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for layer in backbone.layers
    )


def feature_layers(name: str) -> list[str]:
    """Names that `TrainOptions.features` may have for a backbone, from the input on."""
    options = TrainOptions(backbone=name, image_size=96)
    return [layer.name for layer in _backbone(options).layers[1:] if len(layer.output.shape) == 4]


def _backbone(options: TrainOptions) -> keras.Model:
    known = BACKBONES.get(options.backbone)
    if known is None:
        raise TrainingError(
            f"Expected a backbone of {', '.join(BACKBONES)}. Received {options.backbone}."
        )
    if not known.has_alpha and options.alpha != 1:
        raise TrainingError(f"{options.backbone} has one width only. Leave --alpha out.")
    if options.image_size < known.least_size:
        raise TrainingError(
            f"{options.backbone} needs pictures of {known.least_size} pixels or more. "
            f"Received {options.image_size}. Raise --image-size."
        )
    if not known.make:
        return _tiny(options.image_size)
    width = {"alpha": options.alpha} if known.has_alpha else {}
    shape = (options.image_size, options.image_size, 3)
    make = getattr(keras.applications, known.make)
    try:
        return make(
            include_top=False, weights=None, input_shape=shape, **width, **dict(known.arguments)
        )
    except ValueError as exc:
        raise TrainingError(f"{options.backbone} cannot be built so: {exc}") from exc


def _features(whole: keras.Model, options: TrainOptions) -> Any:
    """The feature layer's output as one vector a picture."""
    if options.features == "flatten":
        return keras.layers.Flatten(name="flatten")(whole.output)
    if options.features == "avg_pool":
        return keras.layers.GlobalAveragePooling2D(name="avg_pool")(whole.output)
    layer = next((each for each in whole.layers if each.name == options.features), None)
    if layer is None or len(layer.output.shape) != 4:
        last = [each.name for each in whole.layers if len(each.output.shape) == 4][-6:]
        raise TrainingError(
            f"{options.backbone} has no feature layer {options.features!r}. Expected avg_pool, "
            f"flatten, or one such as {', '.join(last)}."
        )
    return keras.layers.GlobalAveragePooling2D(name="avg_pool")(layer.output)


def _levels(pictures: Any, levels: Levels) -> Any:
    if levels == "signed":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(pictures)
    if levels == "levels":
        return pictures
    # A fixed 1 x 1 convolution swaps the channels and takes the means away, also in int8.
    swap = keras.layers.Conv2D(3, 1, name="scale", trainable=False)
    swapped = swap(pictures)
    swap.set_weights([np.eye(3)[::-1].reshape(1, 1, 3, 3), -np.array(_CAFFE_MEANS)])
    return swapped


def _shallow(pictures: Any) -> Any:
    """Colours and textures of the picture made small, in parallel with the deep features.

    Source: Wang et al., "Learning Fine-grained Image Similarity with Deep Ranking" (2014), section
    5; its maxima are taken over the whole picture, so that any size of input will do.
    """
    small = keras.layers.AveragePooling2D(4, name="shallow_input")(pictures)
    small = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="shallow_scale")(small)
    maps = keras.layers.Conv2D(96, 8, 4, "same", activation="relu", name="shallow")(small)
    return keras.layers.Concatenate(name="shallow_features")(
        [
            keras.layers.GlobalAveragePooling2D(name="shallow_mean")(maps),
            keras.layers.GlobalMaxPooling2D(name="shallow_max")(maps),
        ]
    )


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
    return keras.Model(pictures, features, name="tiny")


def _load(backbone: keras.Model, weights: Path, options: TrainOptions) -> None:
    if weights == IMAGENET:
        _load_imagenet(backbone, options)
        return
    if not weights.is_file():
        raise TrainingError(f"There is no file of weights at {weights}. Check --weights.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # layers that would stay random
            backbone.load_weights(weights)
    except _NOT_ITS_WEIGHTS as exc:
        raise TrainingError(
            f"Expected weights of {options.backbone} (alpha {options.alpha:g}, without its top). "
            f"Received {weights}, which does not fit: {_first_line(exc)}"
        ) from exc


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).splitlines()), type(exc).__name__)


def _load_imagenet(backbone: keras.Model, options: TrainOptions) -> None:
    """Keras' own weights, from its cache or the network."""
    known = BACKBONES[options.backbone]
    if not known.make:
        raise TrainingError(f"There are no weights of {options.backbone}. Leave --weights out.")
    width = {"alpha": options.alpha} if known.has_alpha else {}
    try:
        given = getattr(keras.applications, known.make)(
            include_top=False,
            weights="imagenet",
            input_shape=backbone.input.shape[1:],
            **width,
            **dict(known.arguments),
        )
    except Exception as exc:  # whatever the network, the cache or Keras raise
        chosen = {"include_top": False, **width, **dict(known.arguments)}
        call = ", ".join(f"{name}={value!r}" for name, value in chosen.items())
        raise TrainingError(
            f"The weights of {options.backbone} cannot be fetched: {_first_line(exc)}. "
            "On a machine with a network, save them: keras.applications."
            f"{known.make}({call}).save_weights('{known.make}.weights.h5'), and give "
            f"the file: --weights {known.make}.weights.h5"
        ) from exc
    backbone.set_weights(given.get_weights())


def _freeze(trunk: keras.Model, options: TrainOptions) -> None:
    learned = trunk.layers[round(options.frozen_share * len(trunk.layers)) :]
    if options.learned_layers is not None:
        weighted = [layer for layer in trunk.layers if layer.weights and not _is_norm(layer)]
        learned = weighted[max(0, len(weighted) - options.learned_layers) :]
    for layer in trunk.layers:
        layer.trainable = layer in learned and not _is_norm(layer)


def _is_norm(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)
