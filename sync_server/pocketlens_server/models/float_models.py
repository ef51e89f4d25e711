"""The float model that a bundle came from, for photos at full precision: on a GPU, or the CPU.

    with open_sibling(path, bundle) as model:
        model.embed(tensors)                   # float32 (dim,) each, or why there is none

A `.keras` file of built-in layers runs in TensorFlow (the extra `query`), without the code of the
converter and without any of its own; a float32 `.tflite` bundle needs nothing. Either has to be the
model that the bundle says it was made of, and to see its golden examples as it does.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import logging
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pocketlens.closing import Closing
from pocketlens.errors import (
    BundleError,
    BundleHashMismatch,
    MissingExtraError,
    ModelUnsupported,
    PictureError,
)
from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Bundle, Spec
from pocketlens_server.models.photo_models import BundleModel, Found, PhotoModel, Tensor

logger = logging.getLogger(__name__)

SUFFIXES = (".keras", ".tflite")
BATCH = 32  # at once; halved where a GPU has no room
# Of float and int8 embeddings of one picture. A model whose input is scaled otherwise is far below.
_LEAST_COSINE = 0.8
# What Keras and TensorFlow raise for a file that is no model, or one of unknown layers.
_LOADING = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OSError,
    RuntimeError,
    ImportError,
    zipfile.BadZipFile,
)


def open_sibling(path: Path, bundle: Bundle) -> KerasModel | BundleModel:
    """Opens the float model of a bundle, checked against it.

    Args:
        path: A `.keras` file, or a float32 bundle.
        bundle: That was made of it.

    Raises:
        BundleHashMismatch: It is another model than the one that the bundle was made of.
        ModelUnsupported: It cannot be loaded, or sees the golden examples otherwise.
        MissingExtraError: TensorFlow is not installed.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise BundleError(f"The float model {path} cannot be read: {exc.strerror}.") from exc
    came_from = bundle.float_model_sha256
    found = _source_of(data, path) if is_bundle(data) else hashlib.sha256(data).digest()
    if not came_from or found != came_from:
        told = came_from.hex() if came_from else "a folder, which has no hash"
        raise BundleHashMismatch(
            f"Expected the float model that the bundle was made of ({told}). Received {path}, "
            f"{found.hex()}. Convert that one, and add the bundle it gives."
        )
    model = (
        BundleModel.open(path, hashlib.sha256(data).digest())
        if is_bundle(data)
        else KerasModel.open(path, bundle.spec)
    )
    try:
        _check_alike(model, bundle, path)
    except BaseException:
        model.close()
        raise
    return model


def is_bundle(data: bytes) -> bool:
    """Whether a float model is a bundle; a `.keras` file if not."""
    return data[4:8] == b"TFL3"


class KerasModel(Closing):
    """A `.keras` file in TensorFlow; a `PhotoModel`.

    Attributes:
        spec: Of the bundle, whose tensors it takes.
        accelerator: "gpu" or "cpu"; "cpu" too once the GPU had no room for a single picture.
    """

    def __init__(self, call: Callable[[Any], Any], spec: Spec, devices: Sequence[str]) -> None:
        """See `open`."""
        self.spec = spec
        self._call: Callable[[Any], Any] | None = call
        self._devices, self._batch = list(devices), BATCH
        self._giving_way = threading.Lock()

    @classmethod
    def open(cls, path: Path, spec: Spec) -> Self:
        """Loads a model of built-in layers, and no code.

        Args:
            path: Of the file.
            spec: What it takes, pixels of 0 to 255, and gives.

        Raises:
            ModelUnsupported: It is no such model.
            MissingExtraError: TensorFlow is not installed.
        """
        tf = _tensorflow()
        import keras

        try:
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        except _LOADING as exc:
            raise ModelUnsupported(
                f"{path} cannot be loaded as a Keras model of built-in layers: {_first_line(exc)}"
            ) from exc
        foreign = sorted({type(layer).__name__ for layer in _layers(model) if not _is_ours(layer)})
        if foreign:
            raise ModelUnsupported(
                f"Expected built-in layers of Keras alone. Received {', '.join(foreign)} in {path}."
            )
        shape = (None, spec.height, spec.width, 3)
        traced = tf.function(
            lambda batch: tf.cast(model(batch, training=False), tf.float32),
            input_signature=[tf.TensorSpec(shape, tf.float32)],
        )
        try:
            given = traced(tf.zeros((1, *shape[1:]))).shape
        except (*_LOADING, tf.errors.OpError) as exc:
            raise ModelUnsupported(
                f"{path} does not take pictures of {shape}: {_first_line(exc)}"
            ) from exc
        if tuple(given) != (1, spec.dim):
            raise ModelUnsupported(
                f"Expected {spec.dim} numbers a picture. Received {tuple(given)[1:]} of {path}."
            )
        gpus = tf.config.list_physical_devices("GPU")
        return cls(traced, spec, ["/GPU:0", "/CPU:0"] if gpus else ["/CPU:0"])

    @property
    def accelerator(self) -> str:
        """See the class."""
        return self._devices[0][1:4].lower()

    def embed(self, tensors: Sequence[Tensor]) -> list[Found]:
        """See `PhotoModel.embed`."""
        return [_unit(row) for rows in self._rows(np.stack(tensors)) for row in rows]

    def close(self) -> None:
        """Lets the model go; closing again is no error."""
        self._call = None

    def _rows(self, tensors: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.float32]]:
        import tensorflow as tf

        if self._call is None:
            raise BundleError("This model is closed. Open another.")
        # What a lack of memory looks like: in the model, and where pictures are brought to it.
        no_room = tf.errors.ResourceExhaustedError, tf.errors.InternalError
        start = 0
        while start < len(tensors):
            device, batch = self._devices[0], self._batch
            some = tensors[start : start + batch]
            try:
                with tf.device(device):
                    rows = self._call(tf.constant(some.astype(np.float32))).numpy()
            except no_room as exc:
                self._give_way(device, batch, exc)
                continue
            except tf.errors.OpError as exc:
                raise BundleError(f"The model failed: {_first_line(exc)}") from exc
            yield rows
            start += len(some)

    def _give_way(self, device: str, batch: int, exc: Exception) -> None:
        """Takes fewer at once; with one alone, leaves the GPU. Nothing if others have done so."""
        with self._giving_way:
            if (device, batch) != (self._devices[0], self._batch):
                return
            if batch > 1:
                self._batch //= 2
            elif len(self._devices) > 1:
                self._devices.pop(0)
                self._batch = BATCH
            else:
                raise BundleError(f"The model has no room: {_first_line(exc)}") from exc
            logger.warning(
                "model.memory.short device=%s pictures_at_once=%d", self._devices[0], self._batch
            )


def _tensorflow() -> Any:
    """TensorFlow, at full precision, and with no more of a GPU than it needs."""
    try:
        import tensorflow as tf
    except ImportError as exc:
        raise MissingExtraError(
            "A float model in .keras needs TensorFlow. Install it: "
            "pip install 'pocketlens[query]', or add a float32 bundle in its place "
            "(pocketlens-converter convert --precision float32)."
        ) from exc
    tf.config.experimental.enable_tensor_float_32_execution(False)
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # something has used it already, which chose before
            logger.debug("model.memory_growth.chosen")
    return tf


def _first_line(exc: Exception) -> str:
    return str(exc).partition("\n")[0]


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def _is_ours(layer: Any) -> bool:
    return type(layer).__module__.partition(".")[0] == "keras"


def _source_of(data: bytes, path: Path) -> bytes:
    """SHA-256 of the float model that a float32 bundle was made of."""
    found = bundles.decode(data)
    from pocketlens.query import runtimes

    if runtimes.interpreter(data).input_dtype != np.float32:
        raise ModelUnsupported(
            f"Expected a float32 bundle, or a .keras file. Received {path}, which is quantized."
        )
    return found.float_model_sha256


def _unit(row: npt.NDArray[np.float32]) -> Found:
    length = float(np.linalg.norm(row))
    if not 0 < length < np.inf:
        return PictureError("The model gives the picture an embedding that is none.")
    unit: npt.NDArray[np.float32] = row / np.float32(length)
    return unit


def _check_alike(model: PhotoModel, bundle: Bundle, path: Path) -> None:
    """Refuses a model of another shape, or that sees the golden examples otherwise."""
    expected_shape, shape = (
        f"{each.height} x {each.width} pixels to {each.dim} numbers"
        for each in (bundle.spec, model.spec)
    )
    if shape != expected_shape:
        raise ModelUnsupported(
            f"Expected a model of {expected_shape}, as the bundle is. Received {path}, of {shape}."
        )
    tensors = [example.tensor for example in bundle.golden_examples]
    expected = [example.embedding for example in bundle.golden_examples]
    found = model.embed(tensors)
    cosines = [
        -1.0 if isinstance(each, PictureError) else float(each @ wanted)
        for each, wanted in zip(found, expected, strict=True)
    ]
    if min(cosines) < _LEAST_COSINE:
        raise ModelUnsupported(
            f"{path} sees the bundle's golden examples otherwise (cosine {min(cosines):.2f}). "
            "Does it take pixels of 0 to 255? If not, it needs a Rescaling as its first layer."
        )
