"""Quantization-aware fine-tuning: a float model that loses less when it is quantized to int8.

    with adapted(model, pictures, steps=200) as losses:
        tflite = quantize(float_model, pictures)

The model is taught to give in simulated int8 what it gave in float: no labels are needed, only
pictures. Weights are rounded to the converter's grid before every step and the gradient is taken
there, then applied to the weights that were not rounded (the straight-through estimator);
activations go through fake quantization with the ranges that the pictures give.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-
Arithmetic-Only Inference" (2018), section 3; the teacher is the model itself, as in Polino et al.,
"Model Compression via Distillation and Quantization" (2018).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlens_converter.silence import tensorflow
from pocketlens_converter.weight_rounding import kernels_of, rounded, watched

Ranges = dict[int, tuple[float, float]]  # by id of the layer: lowest and highest of its output

PICTURES_A_STEP = 16
RANGE_PICTURES = 64
LEARNING_RATE = 2e-5
CLIP_NORM = 1.0


@contextmanager
def adapted(
    model: Any,
    pictures: npt.NDArray[np.uint8],
    *,
    steps: int,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[list[float]]:
    """Meanwhile `model` (Keras) has weights that were adapted to int8; afterwards its own again.

    Args:
        model: A Keras model of pictures of 0 to 255.
        pictures: uint8 (n, height, width, 3): what the device will see.
        steps: Batches of `PICTURES_A_STEP` to learn from.
        seed: Of the batches.
        progress: Called with steps done and all steps.

    Yields:
        The loss of every step: 1 less the mean cosine of float and simulated int8 embeddings.
    """
    before = model.get_weights()
    trainable = [(weight, weight.trainable) for weight in model.weights]
    try:
        yield _adapt(model, pictures, steps, np.random.default_rng(seed), progress)
    finally:
        model.set_weights(before)
        for weight, was in trainable:
            weight.trainable = was


def ranges(model: Any, pictures: npt.NDArray[np.uint8]) -> Ranges:
    """Lowest and highest output of every layer whose output is kept in int8, zero included.

    Args:
        model: A Keras model.
        pictures: uint8 (n, height, width, 3).
    """
    found: Ranges = {}

    def remember(layer: Any, output: Any) -> Any:
        values = output.numpy()
        low, high = found.get(id(layer), (0.0, 0.0))
        found[id(layer)] = (min(low, float(values.min())), max(high, float(values.max())))
        return output

    tf = tensorflow()
    with watched(kept_layers(model), remember, before_activation=False):
        for start in range(0, len(pictures), PICTURES_A_STEP):
            model(tf.constant(pictures[start : start + PICTURES_A_STEP].astype(np.float32)))
    return found


def simulated(
    model: Any, pictures: npt.NDArray[np.uint8], found: Ranges
) -> npt.NDArray[np.float32]:
    """What the model would give in int8: float32 (n, dim), not of unit length.

    Args:
        model: A Keras model; unchanged afterwards.
        pictures: uint8 (n, height, width, 3).
        found: As `ranges` gives them.
    """
    effects = {layer: fake_quantized(*limits) for layer, limits in _by_layer(model, found).items()}
    kernels = _kernels(model)
    exact = _round_in_place(kernels)
    try:
        with watched(
            list(effects), lambda layer, out: effects[layer](out), before_activation=False
        ):
            return np.asarray(model(pictures.astype(np.float32), training=False))
    finally:
        for (kernel, _), value in zip(kernels, exact, strict=True):
            kernel.assign(value)


def fake_quantized(low: float, high: float) -> Callable[[Any], Any]:
    """Rounds to 256 levels between `low` and `high`, zero being one of them; gradients pass.

    Args:
        low: 0 or less.
        high: 0 or more, above `low`.
    """
    tf = tensorflow()
    scale = max(high - low, 1e-6) / 255
    zero = round(-low / scale)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def rounds(values: Any) -> Any:
        codes = tf.clip_by_value(tf.round(values / scale) + zero, 0.0, 255.0)
        inside = tf.cast((values >= low) & (values <= high), values.dtype)
        return (codes - zero) * scale, lambda upstream: upstream * inside

    return rounds  # type: ignore[no-any-return]


def kept_layers(model: Any) -> list[Any]:
    """Layers whose output the converter keeps in int8: those that it does not fuse into the next.

    A convolution is fused with the batch norm or activation that alone takes its output, and that
    with the activation behind it. What a separable convolution keeps between its two halves is
    not simulated.
    """
    import keras

    kept = []
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, (keras.Model, keras.layers.InputLayer, keras.layers.ZeroPadding2D)):
            continue
        takers = [node.operation for node in layer._outbound_nodes]
        is_sum = bool(kernels_of(layer)) or isinstance(layer, keras.layers.BatchNormalization)
        if is_sum and len(takers) == 1 and _is_fused(takers[0]):
            continue
        kept.append(layer)
    return kept


def _is_fused(operation: Any) -> bool:
    """Whether the converter makes the operation part of the convolution before it.

    Batch norms and what only cuts values off are; a hard swish, say, is an operator of its own.
    """
    import keras

    if isinstance(operation, keras.layers.ReLU):
        cuts_only = not operation.negative_slope and not operation.threshold
        return cuts_only and operation.max_value in (None, 6)
    if isinstance(operation, keras.layers.Activation):
        known = (keras.activations.linear, keras.activations.relu, keras.activations.relu6)
        return operation.activation in known
    return isinstance(operation, keras.layers.BatchNormalization)


def _adapt(
    model: Any,
    pictures: npt.NDArray[np.uint8],
    steps: int,
    rng: np.random.Generator,
    progress: Callable[[int, int], None],
) -> list[float]:
    import keras

    tf = tensorflow()
    chosen = rng.permutation(len(pictures))[:RANGE_PICTURES]
    effects = {
        layer: fake_quantized(*limits)
        for layer, limits in _by_layer(model, ranges(model, pictures[chosen])).items()
    }
    wanted = _embedded(model, pictures)
    for layer in model._flatten_layers(include_self=False):
        if not isinstance(layer, keras.Model):
            layer.trainable = bool(kernels_of(layer))
    kernels = _kernels(model)
    variables = model.trainable_variables
    optimizer = keras.optimizers.Adam(LEARNING_RATE, global_clipnorm=CLIP_NORM)
    optimizer.build(variables)

    def quantize(layer: Any, output: Any) -> Any:
        return effects[layer](output)

    def gradients(batch: Any, target: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            rows = tf.math.l2_normalize(model(batch, training=False), axis=1)
            loss = 1 - tf.reduce_mean(tf.reduce_sum(rows * target, axis=1))
        return loss, tape.gradient(loss, variables)

    losses = []
    with watched(list(effects), quantize, before_activation=False):
        traced = tf.function(gradients)
        for step in range(steps):
            places = rng.integers(0, len(pictures), PICTURES_A_STEP)
            batch = tf.constant(pictures[places].astype(np.float32))
            exact = _round_in_place(kernels)
            loss, slopes = traced(batch, tf.constant(wanted[places]))
            for (kernel, _), value in zip(kernels, exact, strict=True):
                kernel.assign(value)
            rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            optimizer.learning_rate.assign(rate)
            optimizer.apply_gradients(zip(slopes, variables, strict=True))
            losses.append(float(loss))
            progress(step + 1, steps)
    return losses


def _kernels(model: Any) -> list[tuple[Any, tuple[int, ...]]]:
    """Weights that are rounded, each with the axes that share a scale."""
    layers = model._flatten_layers(include_self=False)
    return [each for layer in layers for each in kernels_of(layer)]


def _by_layer(model: Any, found: Ranges) -> dict[Any, tuple[float, float]]:
    return {layer: found[id(layer)] for layer in kept_layers(model) if id(layer) in found}


def _embedded(model: Any, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    tf = tensorflow()
    rows = [
        tf.math.l2_normalize(
            model(pictures[start : start + PICTURES_A_STEP].astype(np.float32), training=False),
            axis=1,
        ).numpy()
        for start in range(0, len(pictures), PICTURES_A_STEP)
    ]
    return np.concatenate(rows)


def _round_in_place(
    kernels: Sequence[tuple[Any, tuple[int, ...]]],
) -> list[npt.NDArray[np.float32]]:
    """Puts weights on int8's grid; returns what they were."""
    exact = []
    for kernel, axes in kernels:
        exact.append(kernel.numpy())
        kernel.assign(rounded(exact[-1], axes))
    return exact
