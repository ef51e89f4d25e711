"""Pictures that are kept -> embeddings by a bundle, batch by batch.

    for batch in embedded(bundle, pictures): keep(batch.embeddings)

What was kept before an interruption is not embedded again.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.errors import PictureError
from pocketlens.query import pictures
from pocketlens.query.embedder import Embedder

_BATCH = 64  # pictures decoded at once: 10 MB of tensors at 224 pixels


@dataclass(frozen=True, slots=True)
class Batch:
    """Some pictures.

    Attributes:
        embeddings: float32 (dim,) unit vectors, by the SHA-256 of the picture.
        unreadable: Why the others are no pictures.
    """

    embeddings: Mapping[bytes, npt.NDArray[np.float32]]
    unreadable: Mapping[bytes, PictureError]


def embedded(embedder: Embedder, files: Mapping[bytes, Path]) -> Iterator[Batch]:
    """Yields the embeddings of pictures, decoded in other threads.

    Args:
        embedder: Of the bundle.
        files: By their SHA-256.
    """

    def decoded(path: Path) -> npt.NDArray[np.uint8] | PictureError:
        try:
            return pictures.tensor(path, embedder.spec, limits=embedder.limits)
        except PictureError as exc:
            return exc

    left = iter(files.items())
    with ThreadPoolExecutor(2, thread_name_prefix="pocketlens-decode") as pool:
        while some := list(islice(left, _BATCH)):
            tensors = pool.map(decoded, [path for _, path in some])
            found: dict[bytes, npt.NDArray[np.float32]] = {}
            unreadable: dict[bytes, PictureError] = {}
            for (sha256, _), tensor in zip(some, tensors, strict=True):
                if isinstance(tensor, PictureError):
                    unreadable[sha256] = tensor
                else:
                    found[sha256] = embedder.embed_tensor(tensor)
            yield Batch(found, unreadable)
