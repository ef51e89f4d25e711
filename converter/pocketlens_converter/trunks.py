"""A float model as its trunk and its head: what is embedded once however many heads are compared.

    parted = part(model)
    with cached(parted.trunk, folder, parted.trunk.digest) as features:
        model = parted.headed(features)

Models that share a trunk (heads trained on a frozen backbone, layers of one model) share its
features, which are what takes the time.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlens.formats.bundle import Bundle, Spec
from pocketlens_converter.embedding_models import EmbeddingModel, FloatEmbedding
from pocketlens_converter.float_models import FloatModel, cut_at, unit_rows

MOST_FEATURES = 4096


@dataclass(frozen=True, slots=True)
class Trunk:
    """Everything before the head; gives rows of any length.

    Attributes:
        model: The part as a model of its own.
        spec: How a picture becomes its tensor; `dim` is that of its rows.
        digest: Of its layers and weights, whatever file they are in.
    """

    model: FloatModel
    spec: Spec
    digest: bytes

    @property
    def bundle(self) -> Bundle | None:
        """None: no device runs it."""
        return None

    def embed_tensors(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Features, float32 (n, dim), of uint8 (n, height, width, 3)."""
        return self.model.outputs(tensors)


@dataclass(frozen=True, slots=True)
class Head:
    """A Dense layer: kernel float32 (width, dim), bias float32 (dim,)."""

    kernel: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Headed:
    """Features of a trunk, or of its cache, with a head behind them."""

    features: EmbeddingModel
    spec: Spec
    head: Head | None

    @property
    def bundle(self) -> Bundle | None:
        """None: no device runs it."""
        return None

    def embed_tensors(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Unit embeddings, float32 (n, dim)."""
        rows = self.features.embed_tensors(tensors)
        return unit_rows(rows if self.head is None else rows @ self.head.kernel + self.head.bias)


@dataclass(frozen=True, slots=True)
class Parted:
    """A model as trunk and head.

    Attributes:
        trunk: What takes the time.
        spec: Of the whole.
        head: None where the model does not end in one.
    """

    trunk: Trunk
    spec: Spec
    head: Head | None

    def headed(self, features: EmbeddingModel) -> Headed:
        """The whole again, on features that are the trunk's."""
        return Headed(features, self.spec, self.head)


def part(model: EmbeddingModel) -> Parted | None:
    """A .keras model in two parts; None of any other model."""
    if not isinstance(model, FloatEmbedding) or model.model.keras_model is None:
        return None
    whole, cut, head = model.model.keras_model, model.model, None
    last = whole.layers[-1]
    if _is_head(last, whole):
        bias = last.bias.numpy() if last.use_bias else np.zeros(last.units, np.float32)
        cut, head = cut_at(cut, last.input), Head(last.kernel.numpy(), bias)
    trunk = Trunk(cut, replace(model.spec, dim=cut.dim), _digest(cut.keras_model))
    return Parted(trunk, model.spec, head)


def _is_head(layer: Any, whole: Any) -> bool:
    import keras

    if not isinstance(layer, keras.layers.Dense) or layer.output is not whole.outputs[0]:
        return False
    width = layer.input.shape[1]  # beyond what a spec may have, features take too much to keep
    is_plain = layer.activation is keras.activations.linear and len(layer.input.shape) == 2
    return is_plain and width <= MOST_FEATURES


def _digest(model: Any) -> bytes:
    """Of what layers do, not of what they are called."""
    digest = hashlib.sha256()
    for layer in model._flatten_layers(include_self=False):
        settings = {} if _holds_layers(layer) else dict(layer.get_config(), name="")
        digest.update(json.dumps([type(layer).__name__, settings], default=str).encode())
    for weight in model.get_weights():
        digest.update(hashlib.sha256(np.ascontiguousarray(weight).tobytes()).digest())
    return digest.digest()


def _holds_layers(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.Model)
