"""A float model: a .keras file or SavedModel that turns pictures of 0 to 255 into embeddings.

Whatever the file expects, a `FloatModel` takes pixels of 0 to 255 at one fixed size: what a
foreign model leaves open (its size, its scale) is asked of whoever converts it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlens.errors import ModelUnsupported
from pocketlens.formats.bundle import ResizeMode
from pocketlens_converter.convert_options import InputScale
from pocketlens_converter.silence import silenced, tensorflow

BATCH = 32
PIXELS = InputScale(0, 255)
# What Keras and TensorFlow raise for a file that is no model, or one of unknown layers.
_LOADING = (ValueError, TypeError, KeyError, AttributeError, OSError, RuntimeError, ImportError)


@dataclass(frozen=True, slots=True)
class FloatModel:
    """A model whose input is float32 (n, height, width, 3) of 0 to 255.

    Attributes:
        path: Where it was read from.
        sha256: Of the file; b"" for a folder.
        height, width: Pixels of the input.
        dim: Numbers of an embedding.
        call: Of that input, in TensorFlow's operations; float32 (n, dim), of any length.
        traced: `call` as one TensorFlow function, faster, for any n.
        keras_model: The same as a Keras model, or None for a SavedModel.
        resize_mode, pad_level: How it was trained, where a description beside it says so.
    """

    path: Path
    sha256: bytes
    height: int
    width: int
    dim: int
    call: Callable[[Any], Any]
    traced: Callable[[Any], Any]
    keras_model: Any
    resize_mode: ResizeMode | None = None
    pad_level: int | None = None

    def embed_tensors(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Unit embeddings, float32 (n, dim), of uint8 tensors (n, height, width, 3)."""
        return unit_rows(self.outputs(tensors))

    def outputs(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """What the model gives for the same, of any length."""
        tf = tensorflow()
        rows = np.zeros((len(tensors), self.dim), np.float32)
        for start in range(0, len(tensors), BATCH):
            batch = tf.constant(tensors[start : start + BATCH].astype(np.float32))
            rows[start : start + BATCH] = self.traced(batch).numpy()
        return rows


def load(
    path: Path, *, image_size: int | None = None, input_scale: InputScale | None = None
) -> FloatModel:
    """Reads a model from a .keras file (in safe mode: no code of its own) or a SavedModel folder.

    Args:
        path: The file or folder.
        image_size: Side of the input in pixels; needed where the model leaves it open.
        input_scale: What the model takes for black and white; needed unless its first layer
            is a Rescaling of 0 to 255.

    Raises:
        ModelUnsupported: It is no such model, has not one picture in and one vector out, or a
            needed fact is missing.
    """
    if path.is_dir():
        return _saved_model(path, image_size, input_scale)
    return _keras_file(path, image_size, input_scale)


def at_layer(model: FloatModel, name: str) -> FloatModel:
    """The model cut off behind one of its layers; what has rows and columns is flattened.

    Args:
        model: Of a .keras file.
        name: Of the layer, also inside a model that is a layer itself.

    Raises:
        ModelUnsupported: It is a SavedModel, has no such layer, or the layer's output is too long.
    """
    import keras

    if model.keras_model is None:
        raise ModelUnsupported(f"{model.path} is a SavedModel: its layers have no names.")
    inner, known = _flattened(model.keras_model), []
    for layer, output in inner:
        known.append(layer.name)
        if layer.name == name:
            features = output if len(output.shape) == 2 else keras.layers.Flatten()(output)
            return cut_at(model, features)
    raise ModelUnsupported(
        f"{model.path} has no layer {name!r}. Its last ones are {', '.join(known[-5:])}."
    )


def cut_at(model: FloatModel, features: Any) -> FloatModel:
    """The part of a Keras model that gives `features`, a tensor (n, width) inside it."""
    import keras

    cut = keras.Model(model.keras_model.inputs, features, name=model.keras_model.name)
    tf = tensorflow()

    def call(batch: Any) -> Any:
        return tf.cast(cut(batch, training=False), tf.float32)

    return replace(
        model,
        dim=int(features.shape[1]),
        call=call,
        traced=_traced(call, model.height, model.width),
        keras_model=cut,
    )


def _flattened(model: Any) -> list[tuple[Any, Any]]:
    """Layers with their outputs as functions of the model's own input, models in it opened up."""
    import keras

    found: list[tuple[Any, Any]] = []
    tensors = {id(model.inputs[0]): model.inputs[0]}
    for operation in model.operations:
        node = operation._inbound_nodes[-1] if operation._inbound_nodes else None
        if isinstance(operation, keras.layers.InputLayer) or node is None:
            continue
        arguments = [tensors[id(each)] for each in node.input_tensors]
        given = arguments[0] if len(arguments) == 1 else arguments
        if isinstance(operation, keras.Model) and len(arguments) == 1:
            inside = keras.Model(operation.inputs, [o.output for o in operation.layers[1:]])
            outputs = inside(given)
            found += list(zip(operation.layers[1:], outputs, strict=True))
            output = outputs[-1]
        else:
            output = operation(given)
            found.append((operation, output))
        tensors[id(node.outputs[0])] = output
    return found


def unit_rows(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rows divided by their lengths.

    Raises:
        ModelUnsupported: A row is zero or not finite: the model says nothing of that picture.
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ModelUnsupported(
            "The model gives the picture an embedding that is zero or not a number."
        )
    unit: npt.NDArray[np.float32] = rows / lengths
    return unit


def _keras_file(path: Path, image_size: int | None, scale: InputScale | None) -> FloatModel:
    if not path.is_file():
        raise ModelUnsupported(f"There is no model at {path}. Check the path.")
    if not zipfile.is_zipfile(path):
        raise ModelUnsupported(
            f"Expected a .keras file or the folder of a SavedModel. Received {path}, which is "
            "neither. Save the model again: model.save('model.keras')."
        )
    tf = tensorflow()
    from pocketlens_converter import models

    resize_mode, pad_level, is_ours = None, None, models.description_path(path).exists()
    if is_ours:
        with silenced():
            model, described = models.load(path)
        resize_mode, pad_level = described.resize_mode, described.pad_level
    else:
        model = _load_keras(path)
    height, width = _input_size(tuple(model.inputs[0].shape), image_size, path)
    scale = _checked_scale(scale, scales_itself=is_ours or _scales_itself(model), path=path)
    wrapped = _with_scale(model, height, width, scale)

    def call(batch: Any) -> Any:
        return tf.cast(wrapped(batch, training=False), tf.float32)

    return FloatModel(
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).digest(),
        height=height,
        width=width,
        dim=_dim(tuple(wrapped.outputs[0].shape), path),
        call=call,
        traced=_traced(call, height, width),
        keras_model=wrapped,
        resize_mode=resize_mode,
        pad_level=pad_level,
    )


def _load_keras(path: Path) -> Any:
    import keras

    try:
        with silenced():
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except _LOADING as exc:
        raise ModelUnsupported(
            f"{path} cannot be loaded as a Keras model of built-in layers: {_first_line(exc)}"
        ) from exc
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelUnsupported(
            f"Expected a model with one input and one output. Received {len(model.inputs)} "
            f"inputs and {len(model.outputs)} outputs in {path}."
        )
    return model


def _saved_model(path: Path, image_size: int | None, scale: InputScale | None) -> FloatModel:
    if not (path / "saved_model.pb").is_file():
        raise ModelUnsupported(
            f"Expected a .keras file or the folder of a SavedModel. Received {path}, a folder "
            "without saved_model.pb."
        )
    tf = tensorflow()
    try:
        with silenced():
            loaded = tf.saved_model.load(str(path))
    except (*_LOADING, tf.errors.OpError) as exc:
        raise ModelUnsupported(f"{path} cannot be loaded: {_first_line(exc)}") from exc
    signature = loaded.signatures.get("serving_default")
    if signature is None:
        raise ModelUnsupported(f"{path} has no signature 'serving_default'. Export it with one.")
    inputs = signature.structured_input_signature[1]
    outputs = signature.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelUnsupported(
            f"Expected a model with one input and one output. Received {len(inputs)} inputs and "
            f"{len(outputs)} outputs in {path}."
        )
    argument, tensor = next(iter(inputs.items()))
    output, result = next(iter(outputs.items()))
    height, width = _input_size(tuple(tensor.shape), image_size, path)
    scale = _checked_scale(scale, scales_itself=False, path=path)
    factor, black = scale.factor, scale.black

    def call(batch: Any) -> Any:
        scaled = tf.cast(batch * factor + black, tensor.dtype)
        return tf.cast(signature(**{argument: scaled})[output], tf.float32)

    call.keep = loaded  # type: ignore[attr-defined]  # its variables live as long as the model
    return FloatModel(
        path=path,
        sha256=b"",
        height=height,
        width=width,
        dim=_dim(tuple(result.shape), path),
        call=call,
        traced=_traced(call, height, width),
        keras_model=None,
    )


def _traced(call: Callable[[Any], Any], height: int, width: int) -> Callable[[Any], Any]:
    tf = tensorflow()
    # Told once for any n: traced anew for each, it is slow and warns.
    signature = [tf.TensorSpec([None, height, width, 3], tf.float32)]
    traced: Callable[[Any], Any] = tf.function(call, input_signature=signature)
    return traced


def _input_size(
    shape: tuple[int | None, ...], image_size: int | None, path: Path
) -> tuple[int, int]:
    if len(shape) != 4 or shape[3] != 3:
        raise ModelUnsupported(
            f"Expected a model of pictures (batch, height, width, 3). Received an input of shape "
            f"{shape} in {path}."
        )
    height, width = shape[1] or image_size, shape[2] or image_size
    if height is None or width is None:
        raise ModelUnsupported(
            f"{path} takes pictures of any size. Say which one the device should use: "
            "--image-size 224"
        )
    if image_size is not None and (height, width) != (image_size, image_size):
        raise ModelUnsupported(
            f"{path} takes pictures of {height} x {width}, not of {image_size}. Leave "
            "--image-size out."
        )
    return height, width


def _checked_scale(scale: InputScale | None, *, scales_itself: bool, path: Path) -> InputScale:
    """The numbers that the model takes for black and white."""
    if scale is None and not scales_itself:
        raise ModelUnsupported(
            f"{path} does not say what numbers it takes for black and white. Say it: "
            "--input-scale 0..255, 0..1 or -1..1"
        )
    if scale is not None and scales_itself and scale != PIXELS:
        raise ModelUnsupported(f"{path} scales pixels of 0 to 255 itself. Leave --input-scale out.")
    return scale or PIXELS


def _scales_itself(model: Any) -> bool:
    """Whether the first layer that computes is a Rescaling of pixels of 0 to 255."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if isinstance(layer, keras.Model):
            return _scales_itself(layer)
        if not isinstance(layer, keras.layers.Rescaling):
            return False
        return float(np.max(np.abs(layer.scale))) <= 1 / 50
    return False


def _with_scale(model: Any, height: int, width: int, scale: InputScale) -> Any:
    import keras

    fixed = tuple(model.inputs[0].shape)[1:3] == (height, width)
    if fixed and scale == PIXELS:
        return model
    pictures = keras.Input((height, width, 3), name="picture")
    scaled = pictures
    if scale != PIXELS:
        scaled = keras.layers.Rescaling(scale.factor, offset=scale.black)(pictures)
    return keras.Model(pictures, model(scaled), name=model.name)


def _dim(shape: tuple[int | None, ...], path: Path) -> int:
    if len(shape) != 2 or shape[1] is None or not 2 <= shape[1] <= 4096:
        raise ModelUnsupported(
            f"Expected a model whose output is one vector of 2 to 4,096 numbers. Received an "
            f"output of shape {shape} in {path}. Add pooling or a Dense layer."
        )
    return shape[1]


def _first_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__
