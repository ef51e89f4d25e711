"""A float model and pictures -> a static int8 .tflite: uint8 pixels in, float32 embedding out.

    quantize(float_models.load(path), tensors)      # bytes of a .tflite, not yet a bundle

The pictures decide the range of every activation: they must look like what the device will see.
What was tried to lose less of the float model, with its figures, is in docs/conversion.md.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlens.errors import ModelUnsupported
from pocketlens_converter.float_models import FloatModel
from pocketlens_converter.silence import silenced, tensorflow
from pocketlens_converter.weight_rounding import rounded_weights


def quantize(
    model: FloatModel, pictures: npt.NDArray[np.uint8], *, corrects_means: bool = True
) -> bytes:
    """Converts `model` to a .tflite with int8 weights and activations.

    Args:
        model: The float model; unchanged afterwards.
        pictures: uint8 (n, height, width, 3), n of 1 or more: what the device will see.
        corrects_means: Whether each layer's mean output is corrected for its rounded weights
            first (only a Keras model can be).

    Raises:
        ModelUnsupported: It has an operator without an int8 form.
    """
    tf = tensorflow()
    corrected = corrects_means and model.keras_model is not None
    rounding = rounded_weights(model.keras_model, pictures) if corrected else nullcontext()
    with rounding, silenced():
        converter = _converter(tf, model)
        converter.representative_dataset = lambda: _samples(pictures)
        try:
            converted: bytes = converter.convert()
        except (RuntimeError, ValueError, _converter_error()) as exc:
            raise ModelUnsupported(
                f"{model.path} cannot be quantized: {_reason(exc)}. Build it of operators that "
                "TensorFlow Lite has in int8 (convolutions, Dense, pooling, ReLU)."
            ) from exc
    return converted


def _converter(tf: Any, model: FloatModel) -> Any:
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    shape = tf.TensorSpec([1, model.height, model.width, 3], tf.float32, name="picture")
    concrete = tf.function(model.call).get_concrete_function(shape)
    # Frozen: a concrete function keeps Keras variables as resources, which the calibrator
    # cannot read (READ_VARIABLE failed to invoke).
    frozen = convert_variables_to_constants_v2(concrete)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.float32
    return converter


def _samples(pictures: npt.NDArray[np.uint8]) -> Iterator[list[npt.NDArray[np.float32]]]:
    for picture in pictures:
        yield [picture[None].astype(np.float32)]


def _converter_error() -> type[Exception]:
    from tensorflow.lite.python.convert_phase import ConverterError

    return ConverterError  # type: ignore[no-any-return]


def _reason(exc: Exception) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line or "op" in line.lower()]
    return (telling or lines or [type(exc).__name__])[0].rstrip(".")[:300]
