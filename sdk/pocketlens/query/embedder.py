"""A bundle, loaded: pictures in, unit embeddings out.

    with Embedder.open("shop.tflite") as embedder:
        embedder.embed("photo.jpg")               # float32 (dim,), unit length

The bytes whose hash is checked are the bytes that are loaded: the file is read once. Every runtime
proves itself on the bundle's golden examples before it embeds anything; see `golden_check`.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from pocketlens.closing import Closing
from pocketlens.cores import usable_cores
from pocketlens.errors import (
    AcceleratorRejected,
    BundleError,
    BundleHashMismatch,
    ModelUnsupported,
    PictureError,
    QueryError,
)
from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Bundle, Spec
from pocketlens.options import Accelerator, PictureLimits
from pocketlens.query import golden_check, runtimes
from pocketlens.query.runtimes import Candidate, Runtime

if TYPE_CHECKING:
    from pocketlens.query.pictures import Box, Picture

logger = logging.getLogger(__name__)

# Each has tensors of its own, a few megabytes; they share the weights. A phone has four fast cores.
_MAX_INTERPRETERS = 4


class Embedder(Closing):
    """The model of a bundle on the best runtime at hand.

    Threads: any number may embed at once; each uses one of a few interpreters, made when needed.
    Processes: after a fork a child must open its own, and is told so.
    Closing: embeddings that run end well; later calls are refused.

    Attributes:
        bundle: What the bundle says of its model.
        spec: Its input and output.
        sha256: Of the bundle's file.
        accelerator: That is used: "cpu", "gpu", "npu", "nnapi" or "delegate".
        runtime: Library and version: "litert 2.3.0".
        drift: Largest cosine distance to the golden embeddings.
        rejected: Why each accelerator tried before the one used was not taken.
        limits: Beyond which a picture is refused.
        interpreters: That may embed at once.
    """

    def __init__(
        self,
        bundle: Bundle,
        sha256: bytes,
        found: _Found,
        *,
        make: Callable[[], Runtime],
        limits: PictureLimits,
        interpreters: int,
    ) -> None:
        """See `open`."""
        self.bundle, self.spec, self.sha256, self.limits = bundle, bundle.spec, sha256, limits
        self.accelerator, self.runtime = found.runtime.candidate.accelerator, found.runtime.name
        self.drift, self.rejected = found.drift, found.rejected
        self.interpreters = interpreters
        self._pool = _Pool(found.runtime, make, interpreters)

    @classmethod
    def open(
        cls,
        bundle: str | Path | bytes,
        *,
        accelerator: Accelerator = "auto",
        limits: PictureLimits | None = None,
        expected_sha256: bytes | None = None,
        checks: Path | None = None,
        delegate: Path | None = None,
        threads: int = 1,
        interpreters: int | None = None,
    ) -> Self:
        """Loads a bundle and checks the runtime with its golden examples.

        Args:
            bundle: The .tflite file, or its bytes.
            accelerator: "auto" takes the platform's own if it computes well, else the CPU.
            limits: What a picture may be; `PictureLimits()` if None.
            expected_sha256: Of the file, where it is known.
            checks: Folder that remembers golden checks; None measures at each start.
            delegate: Shared library of an accelerator to take instead of the platform's own.
            threads: That one embedding uses on the CPU.
            interpreters: That may embed at once, each from a thread of the caller; one a core if
                None, 4 at most.

        Raises:
            BundleError: The file cannot be read, or is no bundle; see the classes below it.
            BundleHashMismatch: It is another file, or was changed since it was made.
            ModelUnsupported: The runtime cannot load it, or it is not as its spec says.
            AcceleratorRejected: The accelerator asked for cannot be had or computes otherwise.
            MissingExtraError: No runtime is installed.
        """
        data = _read(bundle)
        sha256 = hashlib.sha256(data).digest()
        if expected_sha256 is not None and sha256 != expected_sha256:
            raise BundleHashMismatch(
                f"Expected the bundle with SHA-256 {expected_sha256.hex()}. Received one with "
                f"{sha256.hex()}. Copy it again, or make the store again: pocketlens index"
            )
        decoded = bundles.decode(data)

        def attempt(candidate: Candidate) -> tuple[Runtime, float]:
            runtime = runtimes.load(data, candidate, threads=threads)
            _check_fits(runtime, decoded.spec)
            return runtime, golden_check.drift(runtime, decoded, sha256, checks)

        found = _choose(runtimes.candidates(accelerator, delegate), attempt, decoded.golden_bound)
        candidate = found.runtime.candidate
        return cls(
            decoded,
            sha256,
            found,
            make=lambda: runtimes.load(data, candidate, threads=threads),
            limits=limits or PictureLimits(),
            interpreters=interpreters or min(_MAX_INTERPRETERS, usable_cores()),
        )

    def embed(self, picture: Picture, *, box: Box | None = None) -> npt.NDArray[np.float32]:
        """Embeds a picture, or the part of it in `box` (upright pixels).

        Returns:
            float32 (dim,), unit length.

        Raises:
            PictureError: The picture cannot be used.
            QueryError: `box` is no part of it.
            BundleError: The embedder is closed or of another process, or the model failed.
        """
        from pocketlens.query import pictures  # loads Pillow

        return self.embed_tensor(pictures.tensor(picture, self.spec, limits=self.limits, box=box))

    def embed_many(self, pictures: Iterable[Picture]) -> npt.NDArray[np.float32]:
        """Embeds pictures one after the other; errors as `embed`, at the first that fails.

        Returns:
            float32 (n, dim), unit rows.
        """
        rows = [self.embed(picture) for picture in pictures]
        return np.array(rows, np.float32).reshape(-1, self.spec.dim)

    def embed_tensor(self, tensor: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embeds what `pictures.tensor` made.

        Args:
            tensor: uint8 (spec.height, spec.width, 3).

        Returns:
            float32 (dim,), unit length.

        Raises:
            QueryError: The tensor is of another shape or type.
            BundleError: The embedder is closed or of another process.
            PictureError: The model sees nothing in it: its output is zero.
            ModelUnsupported: The model failed, or its output is not finite.
        """
        expected = self.spec.height, self.spec.width, 3
        if tensor.dtype != np.uint8 or tensor.shape != expected:
            raise QueryError(
                f"Expected a tensor uint8 {expected}. Received {tensor.dtype} {tensor.shape}. "
                "Make it with pocketlens.query.pictures.tensor."
            )
        with self._pool.runtime() as runtime:
            output = runtime.run(tensor)
        length = float(np.sqrt(np.dot(output, output)))
        if length == 0:  # an almost blank picture can round to zeros in int8
            raise PictureError(
                "The model sees nothing in this picture: is it blank? Try another, or a part of it."
            )
        if not np.isfinite(length):
            raise ModelUnsupported(
                f"The model gave an embedding of length {length}. Convert it again, or try "
                "accelerator='cpu'."
            )
        return output / np.float32(length)

    def close(self) -> None:
        """Frees the interpreters; closing again is no error."""
        self._pool.close()


class _Found:
    """A runtime that passed, and how it did."""

    def __init__(self, runtime: Runtime, drift: float, rejected: tuple[str, ...]) -> None:
        self.runtime, self.drift, self.rejected = runtime, drift, rejected


class _Pool:
    """A few interpreters for many threads."""

    def __init__(self, first: Runtime, make: Callable[[], Runtime], most: int) -> None:
        self._idle, self._count, self._make, self._most = [first], 1, make, most
        self._changed = threading.Condition()
        self._closed = False
        self._process = os.getpid()

    @contextmanager
    def runtime(self) -> Iterator[Runtime]:
        """An interpreter for the body alone."""
        runtime = self._taken() or self._made()
        try:
            yield runtime
        finally:
            with self._changed:
                if not self._closed:
                    self._idle.append(runtime)
                self._changed.notify()

    def close(self) -> None:
        if os.getpid() != self._process:  # its lock may have been held in the fork
            return
        with self._changed:
            self._closed = True
            self._idle.clear()
            self._changed.notify_all()

    def _taken(self) -> Runtime | None:
        """An idle one; None if one more is to be made, which is then counted."""
        if os.getpid() != self._process:
            raise BundleError(
                f"This embedder was opened by process {self._process}, before a fork to "
                f"{os.getpid()}. Open another here: Embedder.open."
            )
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._idle or self._count < self._most)
            if self._closed:
                raise BundleError("This embedder is closed. Open another: Embedder.open.")
            if self._idle:
                return self._idle.pop()
            self._count += 1
            return None

    def _made(self) -> Runtime:
        try:
            return self._make()
        except BaseException:
            with self._changed:
                self._count -= 1
                self._changed.notify()
            raise


def _read(bundle: str | Path | bytes) -> bytes:
    if isinstance(bundle, bytes):
        return bundle
    try:
        return Path(bundle).read_bytes()
    except OSError as exc:
        raise BundleError(f"Cannot read the bundle {bundle}: {exc.strerror}.") from exc


def _choose(
    candidates: tuple[Candidate, ...],
    attempt: Callable[[Candidate], tuple[Runtime, float]],
    bound: float,
) -> _Found:
    """The first candidate that loads and computes as the reference did.

    The CPU is taken even if it drifts, with a warning: there is nothing better on the device.
    """
    rejected: list[AcceleratorRejected] = []
    for candidate in candidates:
        try:
            runtime, drift = attempt(candidate)
        except AcceleratorRejected as exc:
            rejected.append(exc)
            continue
        reasons = tuple(str(each) for each in rejected)
        if drift <= bound:
            return _Found(runtime, drift, reasons)
        if candidate.accelerator == "cpu":
            logger.warning(
                "%s drifts %.2e from the bundle's golden embeddings, bound %.2e: more than 1 %% "
                "of verdicts may change. Update ai-edge-litert, or convert the model again.",
                runtime.name, drift, bound,
            )  # fmt: skip
            return _Found(runtime, drift, reasons)
        rejected.append(
            AcceleratorRejected(
                f"The accelerator '{candidate.accelerator}' drifts {drift:.2e} from the bundle's "
                f"golden embeddings, beyond its bound of {bound:.2e}. Try accelerator='cpu'."
            )
        )
    raise rejected[-1]


def _check_fits(runtime: Runtime, spec: Spec) -> None:
    expected = (spec.height, spec.width, 3), spec.dim
    received = runtime.input_shape, runtime.output_dim
    if expected != received:
        raise ModelUnsupported(
            f"The bundle's spec says input and output {expected}, its model has {received}. "
            "Convert it again."
        )
