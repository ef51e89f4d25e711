"""Operators of a model, and who refuses which."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import keras
import pytest
from tests.making.models import drawings, keras_file

from pocketlens_converter import float_models, operators, quantization


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_operators_are_counted_by_name(tmp_path: Path, precision: str) -> None:
    model = float_models.load(keras_file(tmp_path))
    tflite = quantization.quantize(model, drawings(8), precision=precision)  # type: ignore[arg-type]

    found = operators.operators(tflite)

    assert found["CONV_2D"] >= 1
    assert found["FULLY_CONNECTED"] == 1
    assert all(name.isupper() for name in found)


def test_what_no_accelerator_lists_is_refused_by_all(tmp_path: Path) -> None:
    pictures = keras.Input((32, 32, 3))
    scaled = keras.layers.Rescaling(1 / 255)(pictures)
    pooled = keras.layers.GlobalAveragePooling2D()(keras.ops.sign(scaled))
    model = keras.Model(pictures, pooled)
    loaded = float_models.load(keras_file(tmp_path, model))
    tflite = quantization.quantize(loaded, drawings(8), precision="float32")

    found = operators.refused(tflite)

    for accelerator in ("gpu", "npu", "nnapi"):
        assert found[accelerator]["SIGN"] == 1
