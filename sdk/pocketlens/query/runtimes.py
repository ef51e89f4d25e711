"""What runs a model: LiteRT, or tflite-runtime where it is missing, with or without an accelerator.

    runtime = interpreter(model, "cpu")
    runtime.run(tensor)                       # float32 (dim,), as the model gives it

The only module that imports either library. An accelerator is a TensorFlow Lite external
delegate: a shared library of the platform, looked for under the names in `LIBRARIES`, or one whose
path the app gives.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pocketlens.errors import AcceleratorRejected, MissingExtraError, ModelUnsupported
from pocketlens.options import Accelerator

# Names under which the dynamic loader finds each platform's delegates. TensorFlow Lite's own are
# built by apps from its sources; of the vendors' the ones that speak the external delegate
# interface are listed.
LIBRARIES: dict[str, dict[Accelerator, tuple[str, ...]]] = {
    "android": {
        "gpu": ("libtensorflowlite_gpu_delegate.so",),
        "npu": ("libQnnTFLiteDelegate.so", "libneuron_delegate.so"),
        "nnapi": ("libtensorflowlite_nnapi_delegate.so",),
    },
    "darwin": {
        "gpu": ("libtensorflowlite_metal_delegate.dylib",),
        "npu": ("libtensorflowlite_coreml_delegate.dylib",),
    },
    "linux": {
        "gpu": ("libtensorflowlite_gpu_delegate.so",),
        "npu": ("libedgetpu.so.1", "libvx_delegate.so", "libethosu_delegate.so"),
    },
    "win32": {"gpu": ("tensorflowlite_gpu_delegate.dll",), "npu": ("edgetpu.dll",)},
}
# The NPU is the most frugal where there is one; NNAPI is deprecated from Android 15 on.
_AUTO_ORDER: tuple[Accelerator, ...] = ("npu", "gpu", "nnapi")


class Interpreter(Protocol):
    """What both libraries' interpreters have in common."""

    def allocate_tensors(self) -> None:
        """Plans memory; once, before the rest."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """Index, shape and dtype of every input, among more."""

    def get_output_details(self) -> list[dict[str, Any]]:
        """Of every output."""

    def set_tensor(self, tensor_index: int, value: npt.NDArray[np.generic]) -> None:
        """Copies an input in."""

    def get_tensor(self, tensor_index: int) -> npt.NDArray[np.float32]:
        """Copies an output."""

    def invoke(self) -> None:
        """Runs the model; other threads go on meanwhile."""

    def _get_ops_details(self) -> list[dict[str, Any]]:
        """Name of every operator, delegates' among them."""


@dataclass(frozen=True, slots=True)
class Library:
    """An installed runtime.

    Attributes:
        name: With its version: "litert 2.3.0".
        interpreter: Its class.
        load_delegate: Its function, path or name of a shared library to a delegate.
    """

    name: str
    interpreter: Callable[..., Interpreter]
    load_delegate: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to run a model.

    Attributes:
        accelerator: "cpu", "gpu", "npu", "nnapi", or "delegate" for a library given by its path.
        library: Name or path of the delegate's shared library; "" for the CPU.
    """

    accelerator: str
    library: str = ""

    @property
    def driver(self) -> str:
        """What else may change its results: an update of the system brings other drivers."""
        if not self.library:
            return platform.machine()
        return f"{self.library}{_stamp(self.library)} on {platform.platform()}"


class Runtime:
    """One model, loaded. Not for two threads at once.

    Attributes:
        name: Of the library, with its version.
        candidate: How it runs.
        input_shape: (height, width, 3).
        input_dtype: Of the input: uint8, or float32 of the same levels in a model that is not
            quantized.
        output_dim: Numbers of the output.
    """

    def __init__(self, library: Library, model: bytes, candidate: Candidate, *, threads: int):
        """See `interpreter`."""
        self.name, self.candidate = library.name, candidate
        delegates = [_delegate(library, candidate)] if candidate.library else None
        # The model's bytes are not copied: interpreters of one bundle share them.
        self._interpreter = library.interpreter(
            model_content=model, num_threads=threads, experimental_delegates=delegates
        )
        self._interpreter.allocate_tensors()
        self._input, shape, dtype = _only(self._interpreter.get_input_details(), "input")
        self.input_dtype = np.dtype(dtype)
        self._output, output_shape, output_dtype = _only(
            self._interpreter.get_output_details(), "output"
        )
        _check(len(shape) == 4 and shape[0] == 1 and shape[3] == 3, "an input (1, h, w, 3)", shape)
        _check(
            self.input_dtype in (np.uint8, np.float32), "uint8 or float32 input", self.input_dtype
        )
        _check(len(output_shape) == 2 and output_shape[0] == 1, "an output (1, dim)", output_shape)
        _check(output_dtype == np.float32, "float32 output", output_dtype)
        self.input_shape = shape[1], shape[2], 3
        self.output_dim = output_shape[1]

    def run(self, tensor: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Runs the model on a tensor uint8 `input_shape`.

        Returns:
            float32 (output_dim,), not normalised.

        Raises:
            ModelUnsupported: The library cannot run it after all.
        """
        try:
            levels = tensor[np.newaxis].astype(self.input_dtype, copy=False)
            self._interpreter.set_tensor(self._input, levels)
            self._interpreter.invoke()
            embedding: npt.NDArray[np.float32] = self._interpreter.get_tensor(self._output)[0]
        except (ValueError, RuntimeError) as exc:
            raise ModelUnsupported(f"{self.name} cannot run the model: {exc}") from exc
        return embedding

    def delegated_partitions(self) -> int:
        """Parts of the graph that a delegate runs, XNNPACK among them; 0 where none does."""
        listed = self._interpreter._get_ops_details()  # neither library has a public way
        return sum(each["op_name"] == "DELEGATE" for each in listed)


def interpreter(
    model: bytes,
    accelerator: Accelerator = "cpu",
    *,
    threads: int = 1,
    delegate: Path | None = None,
) -> Runtime:
    """Loads a model in the first way that works.

    Args:
        model: Bytes of a .tflite file, kept for as long as the runtime lives.
        accelerator: "auto" tries the platform's own, then the CPU.
        threads: Of the CPU's kernels.
        delegate: Shared library of a delegate to take instead of the platform's own.

    Raises:
        ModelUnsupported: The model is damaged, or of operators or shapes that cannot run.
        AcceleratorRejected: The accelerator cannot be had, and is not "auto".
        MissingExtraError: No runtime is installed.
    """
    *others, last = candidates(accelerator, delegate)
    for candidate in others:
        try:
            return load(model, candidate, threads=threads)
        except AcceleratorRejected:
            continue
    return load(model, last, threads=threads)


def candidates(accelerator: Accelerator, delegate: Path | None = None) -> tuple[Candidate, ...]:
    """The ways to try for an accelerator, the most wanted first; the last must work.

    Raises:
        AcceleratorRejected: The platform has no such accelerator.
    """
    cpu = Candidate("cpu")
    if accelerator == "cpu":
        if delegate is not None:
            raise AcceleratorRejected(
                "The CPU takes no delegate. Try accelerator='auto', or leave the delegate out."
            )
        return (cpu,)
    if delegate is not None:
        path = str(delegate.resolve())
        if accelerator == "auto":
            return Candidate("delegate", path), cpu
        return (Candidate(accelerator, path),)
    known = LIBRARIES.get(_platform(), {})
    if accelerator == "auto":
        return *(Candidate(each, name) for each in _AUTO_ORDER for name in known.get(each, ())), cpu
    found = tuple(Candidate(accelerator, name) for name in known.get(accelerator, ()))
    if not found:
        raise AcceleratorRejected(
            f"No accelerator '{accelerator}' is known on {_platform()}. Try 'auto' or 'cpu', or "
            "give the path of its delegate."
        )
    return found


def load(model: bytes, candidate: Candidate, *, threads: int = 1) -> Runtime:
    """Loads a model in one way; errors as `interpreter`."""
    library = installed()
    try:
        return Runtime(library, model, candidate, threads=threads)
    except (ValueError, RuntimeError, IndexError) as exc:
        if candidate.library:
            raise AcceleratorRejected(
                f"The delegate {candidate.library} does not take the model: {exc}. "
                "Try accelerator='cpu'."
            ) from exc
        raise ModelUnsupported(
            f"{library.name} cannot load the model: {exc}. Convert it again."
        ) from exc


@cache
def installed() -> Library:
    """The runtime that is used: LiteRT, or tflite-runtime.

    Raises:
        MissingExtraError: Neither is installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, load_delegate
    except ImportError:
        pass
    else:
        return Library(f"litert {metadata.version('ai-edge-litert')}", Interpreter, load_delegate)
    try:
        from tflite_runtime.interpreter import Interpreter, load_delegate
    except ImportError as exc:
        raise MissingExtraError(
            "No runtime for models is installed. Try: pip install ai-edge-litert, or, on Python "
            "3.11 with numpy below 2: pip install pocketlens[tflite-runtime]"
        ) from exc
    return Library(
        f"tflite-runtime {metadata.version('tflite-runtime')}", Interpreter, load_delegate
    )


def _platform() -> str:
    return "android" if hasattr(sys, "getandroidapilevel") else sys.platform


def _delegate(library: Library, candidate: Candidate) -> object:
    """Loads an accelerator's shared library.

    It is opened once before the runtime does, whose error over a missing one comes with a
    traceback of its own on stderr.
    """
    try:
        _ = ctypes.PyDLL(candidate.library).tflite_plugin_create_delegate
        return library.load_delegate(candidate.library)
    except (OSError, ValueError, AttributeError) as exc:  # absent, refused, no delegate
        reason = " ".join(str(exc).split())
        raise AcceleratorRejected(
            f"The accelerator '{candidate.accelerator}' cannot be had: {reason}. Try "
            "accelerator='cpu', or install the platform's delegate where the loader finds it."
        ) from exc


def _stamp(library: str) -> str:
    """Tells one build of a library given by its path from another."""
    try:
        found = Path(library).stat()
    except OSError:
        return ""
    return f" of {found.st_size} bytes, {found.st_mtime_ns}"


def _only(details: list[dict[str, Any]], what: str) -> tuple[int, tuple[int, ...], type]:
    """Index, shape and dtype of a model's only input or output."""
    _check(len(details) == 1, f"one {what}", len(details))
    (found,) = details
    return int(found["index"]), tuple(int(side) for side in found["shape"]), found["dtype"]


def _check(holds: bool, expected: str, received: object) -> None:
    if not holds:
        raise ModelUnsupported(
            f"Expected a model with {expected}. Received {received}. Convert it with "
            "pocketlens-converter convert."
        )
