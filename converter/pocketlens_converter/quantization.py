"""A float model and pictures -> a .tflite in one of five precisions: pixels in, embedding out.

    quantize(float_models.load(path), tensors)      # bytes of a .tflite, not yet a bundle

The pictures decide the range of every activation in int8 and int16: they must look like what the
device will see. int8 takes uint8 pixels, the others float32 ones of the same levels. Weights
alone are quantized by litert-quantizer: TensorFlow's converter also quantizes activations on the
way, which tflite-runtime refuses. What was tried to lose less of the float model, with its
figures, is in docs/conversion.md.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlens.errors import ModelUnsupported
from pocketlens_converter.convert_options import Precision
from pocketlens_converter.float_models import FloatModel
from pocketlens_converter.silence import silenced, tensorflow
from pocketlens_converter.weight_rounding import rounded_weights


def quantize(
    model: FloatModel,
    pictures: npt.NDArray[np.uint8],
    *,
    precision: Precision = "int8",
    corrects_means: bool = True,
) -> bytes:
    """Converts `model` to a .tflite.

    Args:
        model: The float model; unchanged afterwards.
        pictures: uint8 (n, height, width, 3), n of 1 or more: what the device will see.
        precision: Of weights and activations.
        corrects_means: Whether each layer's mean output is corrected for weights rounded to int8
            first (only a Keras model can be).

    Raises:
        ModelUnsupported: It has an operator without such a form.
    """
    tf = tensorflow()
    rounds = precision in ("int8", "int16x8", "weight-int8")
    corrected = rounds and corrects_means and model.keras_model is not None
    rounding = rounded_weights(model.keras_model, pictures) if corrected else nullcontext()
    with rounding, silenced():
        converter = _converter(tf, model)
        _set_precision(tf, converter, precision, pictures)
        try:
            converted: bytes = converter.convert()
        except (RuntimeError, ValueError, _converter_error()) as exc:
            raise ModelUnsupported(
                f"{model.path} cannot be converted to {precision}: {_reason(exc)}. Build it of "
                "operators that TensorFlow Lite has (convolutions, Dense, pooling, ReLU)."
            ) from exc
    return _weights_in_int8(converted) if precision == "weight-int8" else converted


def _converter(tf: Any, model: FloatModel) -> Any:
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    shape = tf.TensorSpec([1, model.height, model.width, 3], tf.float32, name="picture")
    concrete = tf.function(model.call).get_concrete_function(shape)
    # Frozen: a concrete function keeps Keras variables as resources, which the calibrator
    # cannot read (READ_VARIABLE failed to invoke).
    frozen = convert_variables_to_constants_v2(concrete)
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen])


def _set_precision(
    tf: Any, converter: Any, precision: Precision, pictures: npt.NDArray[np.uint8]
) -> None:
    if precision in ("float32", "weight-int8"):
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
        return
    converter.representative_dataset = lambda: _samples(pictures)
    if precision == "int16x8":
        operators = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [operators]
        return
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.float32


def _weights_in_int8(tflite: bytes) -> bytes:
    from litert_quantizer import quantizer, recipe

    with silenced():
        rules = recipe.weight_only_wi8_afp32()
        made = quantizer.Quantizer(tflite, rules).quantize(enable_progress_report=False)
    return bytes(made.quantized_model)


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
