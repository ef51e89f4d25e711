"""Biases that make up for rounded weights: each layer's mean output stays what it was.

Rounding a layer's weights to int8 shifts the mean of each of its channels, and the shifts of
fifty layers add up to most of what a fine-tuned model loses in quantization. Here the rounding is
done ahead of the converter (to the same grid: one symmetric scale an output channel), layer by
layer in the order of the forward pass, and each shift is taken out of the layer's bias, or out of
the batch norm behind it, before the next layer sees it.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
2019, section 4.2, with means measured on pictures as in its appendix D.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlens_converter.silence import tensorflow

PICTURES = 96  # whose activations are held in memory at once: 0.5 GB at 192 pixels
LEVELS = 127


@contextmanager
def rounded_weights(model: Any, pictures: npt.NDArray[np.uint8]) -> Iterator[None]:
    """Meanwhile `model` (Keras) has weights on int8's grid and biases corrected for it.

    Args:
        model: A Keras model of pictures of 0 to 255; as it was afterwards, also after an error.
        pictures: uint8 (n, height, width, 3).
    """
    before = model.get_weights()
    spread = np.linspace(0, len(pictures) - 1, min(PICTURES, len(pictures))).astype(int)
    batch = tensorflow().constant(pictures[spread].astype(np.float32))
    try:
        _correct_in_place(model, batch)
        yield
    finally:
        model.set_weights(before)


def rounded(kernel: npt.NDArray[np.float32], axes: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """`kernel` on the grid of int8 with one symmetric scale for each index outside `axes`."""
    largest = np.abs(kernel).max(axis=axes, keepdims=True)
    step = np.where(largest > 0, largest, 1).astype(np.float32) / LEVELS
    return (np.rint(kernel / step) * step).astype(np.float32)


def _correct_in_place(model: Any, batch: Any) -> None:
    layers = model._flatten_layers(include_self=False)
    shifted = [layer for layer in layers if _shift(layer) is not None]
    means: dict[int, npt.NDArray[np.float32]] = {}

    def remember(layer: Any, output: Any) -> Any:
        means[id(layer)] = _mean(output)
        return output

    def correct(layer: Any, output: Any) -> Any:
        missing = means[id(layer)] - _mean(output)
        shift = _shift(layer)
        shift.assign(shift.numpy() + missing)
        return output + missing

    with watched(shifted, remember):
        model(batch, training=False)
    for layer in model._flatten_layers(include_self=False):
        _round_in_place(layer)
    with watched(shifted, correct):
        model(batch, training=False)


def kernels_of(layer: Any) -> list[tuple[Any, tuple[int, ...]]]:
    """A layer's weights that become int8, each with the axes that share a scale."""
    import keras

    if isinstance(layer, keras.layers.SeparableConv2D):  # a kind of neither of the others
        return [(layer.depthwise_kernel, (0, 1)), (layer.pointwise_kernel, (0, 1, 2))]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [(layer.kernel, (0, 1))]
    if isinstance(layer, keras.layers.Conv2D) and not isinstance(
        layer, keras.layers.Conv2DTranspose
    ):
        return [(layer.kernel, (0, 1, 2))]
    if isinstance(layer, keras.layers.Dense):
        return [(layer.kernel, (0,))]
    return []


def _round_in_place(layer: Any) -> None:
    for kernel, axes in kernels_of(layer):
        kernel.assign(rounded(kernel.numpy(), axes))


def _shift(layer: Any) -> Any:
    """The variable that is added to each channel of the layer's output, or None."""
    import keras

    if isinstance(layer, keras.layers.BatchNormalization) and layer.center:
        return layer.beta
    has_bias = bool(kernels_of(layer)) and layer.use_bias
    return layer.bias if has_bias else None


def _mean(output: Any) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = output.numpy()
    mean = values.mean(axis=tuple(range(values.ndim - 1)), dtype=np.float64)
    return np.asarray(mean, np.float32)


@contextmanager
def watched(
    layers: list[Any], watch: Callable[[Any, Any], Any], *, before_activation: bool = True
) -> Iterator[None]:
    """Meanwhile `watch(layer, output)` sees each layer's output.

    What `watch` returns goes on in its place.

    Args:
        layers: Of a Keras model.
        watch: See above.
        before_activation: Whether a layer with an activation of its own shows what goes into it.
    """
    for layer in layers:
        layer.call = _watched_call(layer, layer.call, watch, before_activation=before_activation)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call  # the class's own shows again


def _watched_call(
    layer: Any,
    call: Callable[..., Any],
    watch: Callable[[Any, Any], Any],
    *,
    before_activation: bool,
) -> Callable[..., Any]:
    import keras

    def seen(*args: Any, **kwargs: Any) -> Any:
        activation = getattr(layer, "activation", None)
        if activation is None or not before_activation:
            return watch(layer, call(*args, **kwargs))
        layer.activation = keras.activations.linear
        try:
            return activation(watch(layer, call(*args, **kwargs)))
        finally:
            layer.activation = activation

    return seen
