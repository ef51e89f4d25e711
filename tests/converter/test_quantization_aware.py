"""Simulated int8 against the converter's own, and fine-tuning in it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.making.models import drawings, keras_file

from pocketlens.query import runtimes
from pocketlens_converter import (
    float_models,
    metrics,
    quantization,
    quantization_aware,
    weight_rounding,
)
from pocketlens_converter.float_models import FloatModel

PICTURES = drawings(40)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> FloatModel:
    return float_models.load(keras_file(tmp_path_factory.mktemp("model")))


def output_scale(tflite: bytes) -> float:
    """The scale of the int8 tensor that the output is made of."""
    interpreter = Interpreter(model_content=tflite)
    interpreter.allocate_tensors()
    (dequantize,) = [
        step for step in interpreter._get_ops_details() if step["op_name"] == "DEQUANTIZE"
    ]
    (tensor,) = [
        each
        for each in interpreter.get_tensor_details()
        if each["index"] == int(dequantize["inputs"][0])
    ]
    return float(tensor["quantization_parameters"]["scales"][0])


def one_layer(kind: str) -> keras.Model:
    """One layer of a kind, as the converter sees it behind scaled pixels."""
    pictures = keras.Input((12, 12, 3))
    # From 0 on each level is a code of its own; from -1 on all of them lie between two codes, and
    # which one a kernel takes is no matter of the layer.
    scaled = keras.layers.Rescaling(1 / 255)(pictures)
    made = {
        "convolution": lambda: keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
        "depthwise": lambda: keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False),
        "pointwise": lambda: keras.layers.Conv2D(8, 1, use_bias=False),
        "dense": lambda: keras.layers.Dense(8),
    }[kind]()
    features = keras.layers.Flatten()(scaled) if kind == "dense" else scaled
    features = made(features)
    if kind in ("depthwise", "pointwise"):
        features = keras.layers.BatchNormalization()(features)
    if kind == "depthwise":
        features = keras.layers.ReLU(6.0)(features)
    if kind != "dense":
        features = keras.layers.Flatten()(features)
    model = keras.Model(pictures, features)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        spread = 0.4 if len(weight.shape) > 1 else 0.2
        drawn = rng.normal(0, spread, weight.shape)
        is_variance = "variance" in weight.name or "gamma" in weight.name
        weight.assign(np.abs(drawn) + 0.5 if is_variance else drawn)
    return model


def differences(model: FloatModel, pictures: np.ndarray) -> np.ndarray:
    """Distance of simulated and real outputs, in codes."""
    tflite = quantization.quantize(model, pictures, corrects_means=False)
    runtime = runtimes.interpreter(tflite)
    theirs = np.stack([runtime.run(picture) for picture in pictures])
    found = quantization_aware.ranges(model.keras_model, pictures)
    ours = quantization_aware.simulated(model.keras_model, pictures, found)
    return np.abs(ours - theirs) / output_scale(tflite)


@pytest.mark.parametrize("kind", ["convolution", "depthwise", "pointwise", "dense"])
def test_each_layer_is_the_converters_to_one_code(kind: str, tmp_path: Path) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (24, 12, 12, 3), dtype=np.uint8)
    loaded = float_models.load(keras_file(tmp_path, one_layer(kind)))

    codes = differences(loaded, pictures)

    assert codes.max() < 1.01
    assert np.mean(codes < 0.5) > 0.9  # most are the same code


def test_what_is_an_operator_of_its_own_is_kept_apart() -> None:
    pictures = keras.Input((12, 12, 3))
    features = keras.layers.Conv2D(4, 3, name="first")(pictures)
    features = keras.layers.BatchNormalization(name="norm")(features)
    features = keras.layers.Activation("hard_swish", name="swish")(features)
    features = keras.layers.SeparableConv2D(4, 3, name="separable")(features)
    features = keras.layers.ReLU(6.0, name="six")(features)
    features = keras.layers.Conv2D(4, 1, name="last")(features)
    features = keras.layers.LeakyReLU(name="leaky")(features)
    model = keras.Model(pictures, features)

    kept = [layer.name for layer in quantization_aware.kept_layers(model)]

    assert kept == ["norm", "swish", "six", "last", "leaky"]


def test_both_halves_of_a_separable_convolution_are_rounded() -> None:
    layer = keras.layers.SeparableConv2D(4, 3)
    layer.build((None, 12, 12, 3))

    shapes = [tuple(kernel.shape) for kernel, _ in weight_rounding.kernels_of(layer)]

    assert shapes == [(3, 3, 3, 1), (1, 1, 3, 4)]


def test_a_whole_model_stays_within_a_code_almost_everywhere(model: FloatModel) -> None:
    codes = differences(model, PICTURES)

    assert np.mean(codes < 1.01) > 0.98
    assert codes.max() < 2.01  # four layers, each of which may be one off


def test_simulating_leaves_the_model_as_it_was(model: FloatModel) -> None:
    before = model.embed_tensors(PICTURES[:4])
    found = quantization_aware.ranges(model.keras_model, PICTURES[:4])

    quantization_aware.simulated(model.keras_model, PICTURES[:4], found)

    np.testing.assert_array_equal(model.embed_tensors(PICTURES[:4]), before)


@settings(max_examples=60, deadline=None)
@given(
    low=st.floats(-20, 0),
    width=st.floats(0.1, 20),
    values=st.lists(st.floats(-40, 40), min_size=1, max_size=8),
)
def test_fake_quantization_rounds_to_levels_of_which_zero_is_one(
    low: float, width: float, values: list[float]
) -> None:
    high = max(0.0, low + width)
    scale = (high - low) / 255 if high > low else 1e-6 / 255
    rounds = quantization_aware.fake_quantized(low, high)
    given_values = np.array(values, np.float32)

    once = np.asarray(rounds(given_values))

    np.testing.assert_allclose(np.asarray(rounds(once)), once, atol=scale / 100)
    inside = (given_values >= low) & (given_values <= high)
    assert (np.abs(once - given_values)[inside] <= scale * 1.01).all()
    assert float(np.asarray(rounds(np.zeros(1, np.float32)))[0]) == 0.0


def test_adapting_loses_less_and_leaves_the_model_as_it_was(model: FloatModel) -> None:
    wanted = model.embed_tensors(PICTURES)

    def kept(tflite: bytes) -> float:
        runtime = runtimes.interpreter(tflite)
        rows = float_models.unit_rows(np.stack([runtime.run(each) for each in PICTURES]))
        return float(metrics.cosines(rows, wanted).mean())

    plain = kept(quantization.quantize(model, PICTURES, corrects_means=False))
    with quantization_aware.adapted(model.keras_model, PICTURES, steps=60) as losses:
        adapted = kept(quantization.quantize(model, PICTURES, corrects_means=False))

    assert len(losses) == 60
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert adapted > plain
    np.testing.assert_array_equal(model.embed_tensors(PICTURES), wanted)
