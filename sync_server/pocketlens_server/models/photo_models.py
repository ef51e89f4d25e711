"""Models that embed photos for QueryService: several tensors at once.

with BundleModel.open(path, sha256) as model:
model.embed(tensors)                   # float32 (dim,) each, or why there is none
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from pocketlens.closing import Closing
from pocketlens.cores import usable_cores
from pocketlens.errors import PictureError
from pocketlens.formats.bundle import Spec
from pocketlens.query.embedder import Embedder

Tensor = npt.NDArray[np.uint8]
Found = npt.NDArray[np.float32] | PictureError
"""A unit embedding float32 (dim,), or why a photo has none: that is no fault of those beside it."""


class PhotoModel(Protocol):
    """Threads: any number, such as those that ask and the one that fills a gallery."""

    @property
    def spec(self) -> Spec:
        """Of its input and output."""

    @property
    def accelerator(self) -> str:
        """What it runs on: "cpu" or "gpu"."""

    def embed(self, tensors: Sequence[Tensor]) -> list[Found]:
        """What the model sees in tensors uint8 (height, width, 3), in their order.

        Raises:
            BundleError: The model failed.
        """

    def close(self) -> None:
        """Gives memory back."""


class BundleModel(Closing):
    """The bundle that phones run: a tensor at a time, on as many interpreters as cores."""

    def __init__(self, embedder: Embedder) -> None:
        """See `open`."""
        self._embedder, self.spec = embedder, embedder.spec
        self.bundle = embedder.bundle
        self.accelerator = embedder.accelerator
        self._threads = ThreadPoolExecutor(usable_cores(), thread_name_prefix="pocketlens-photos")

    @classmethod
    def open(cls, path: Path, sha256: bytes) -> Self:
        """Loads a bundle and proves it on its golden examples.

        Raises:
            BundleError: It cannot be; see `Embedder.open`.
        """
        cores = usable_cores()
        return cls(Embedder.open(path, expected_sha256=sha256, interpreters=cores))

    def embed(self, tensors: Sequence[Tensor]) -> list[Found]:
        """See `PhotoModel.embed`."""
        if len(tensors) == 1:
            return [self._found(tensors[0])]
        return list(self._threads.map(self._found, tensors))

    def _found(self, tensor: Tensor) -> Found:
        try:
            return self._embedder.embed_tensor(tensor)
        except PictureError as exc:
            return exc

    def close(self) -> None:
        """Ends its threads and frees the model; closing again is no error."""
        self._threads.shutdown()
        self._embedder.close()
