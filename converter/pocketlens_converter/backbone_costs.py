"""What each backbone costs: parameters, bytes, milliseconds on this machine.

Built with random weights, which cost the same as trained ones.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from pocketlens_converter import backbones, float_models, latency, quantization
from pocketlens_converter.options import TrainOptions
from pocketlens_converter.silence import silenced

WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.4)  # of those that come in several
PICTURES = 8  # random ones that int8 ranges are taken from: they change no cost


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a backbone with a head of 128 numbers.

    Attributes:
        name: Of the backbone.
        alpha: Its width.
        image_size: Pixels of the input.
        features: Numbers that the head sees.
        parameters: Of the whole model.
        int8_bytes: Of the model as static int8; None where it was not measured.
        latency_ms: Of it, by number of threads; None where it was not measured.
    """

    name: str
    alpha: float
    image_size: int
    features: int
    parameters: int
    int8_bytes: int | None = None
    latency_ms: dict[int, float] | None = None


def costs(names: Sequence[str], *, image_size: int = 224, measures: bool = False) -> Iterator[Cost]:
    """Builds each backbone, at several widths where it has them.

    Args:
        names: Of `backbones.BACKBONES`.
        image_size: Pixels of the input.
        measures: Whether each is converted and run, which takes up to minutes for large ones.

    Raises:
        TrainingError: There is no such backbone.
    """
    for name in names:
        known = backbones.BACKBONES.get(name)
        # Keras has weights of MobileNetV3 at two widths only; the others have one.
        several = known is not None and known.make in ("MobileNetV2",)
        for alpha in WIDTHS if several else (1.0,):
            options = TrainOptions(backbone=name, alpha=alpha, image_size=image_size)
            yield _cost(options, backbones.build(options, None), measures=measures)


def _cost(options: TrainOptions, model: keras.Model, *, measures: bool) -> Cost:
    trunk = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    cost = Cost(
        name=options.backbone,
        alpha=options.alpha,
        image_size=options.image_size,
        features=int(trunk.output.shape[1]),
        parameters=int(model.count_params()),
    )
    if not measures:
        return cost
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{secrets.token_hex(4)}.keras"
        with silenced():
            model.save(path)
        loaded = float_models.load(path, input_scale=float_models.PIXELS)
    size = options.image_size
    drawn = np.random.default_rng(0).integers(0, 256, (PICTURES, size, size, 3), dtype=np.uint8)
    tflite = quantization.quantize(loaded, drawn, corrects_means=False)
    return Cost(
        cost.name,
        cost.alpha,
        cost.image_size,
        cost.features,
        cost.parameters,
        len(tflite),
        latency.measured(tflite).median_ms,
    )
