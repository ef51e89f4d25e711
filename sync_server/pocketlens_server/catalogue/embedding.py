"""Pictures that are kept -> embeddings by a bundle, batch by batch, on all cores.

    for batch in embedded(embedder, files): keep(batch.embeddings)

What was kept before an interruption is not embedded again.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.errors import PictureError
from pocketlens.query.embedder import Embedder
from pocketlens_server.catalogue.decoders import Decoders

_BATCH = 64  # embeddings that are kept at once, and lost at an interruption
_BATCHES_AHEAD = 1  # of the one that is handed out: no core waits while that is kept
_WORTH_A_THREAD = 8  # pictures: each thread may start a process, which takes 0.2 s

_Found = npt.NDArray[np.float32] | PictureError


@dataclass(frozen=True, slots=True)
class Batch:
    """Some pictures.

    Attributes:
        embeddings: float32 (dim,) unit vectors, by the SHA-256 of the picture.
        unreadable: Why the others are no pictures.
    """

    embeddings: Mapping[bytes, npt.NDArray[np.float32]]
    unreadable: Mapping[bytes, PictureError]


def embedded(
    embedder: Embedder, files: Mapping[bytes, Path], *, decoders: Decoders | None = None
) -> Generator[Batch, None, None]:
    """Yields the embeddings of pictures, in their order; closed early, it leaves nothing behind.

    Args:
        embedder: Of the bundle.
        files: By their SHA-256.
        decoders: Of the caller, who closes them; None starts some for these pictures alone.

    Raises:
        BundleError: The model failed, or the embedder was closed.
        ServerError: No process that decodes can be started, or the decoders were closed.
    """
    with ExitStack() as stack:
        decoding = decoders or stack.enter_context(Decoders())

        def found(path: Path) -> _Found:
            try:
                tensor = decoding.decoded(path, embedder.spec, limits=embedder.limits)
                return embedder.embed_tensor(tensor)
            except PictureError as exc:
                return exc

        # Half of them embed, or hold a tensor for whoever does, while half wait for theirs.
        count = min(2 * decoding.workers, 1 + len(files) // _WORTH_A_THREAD)
        threads = ThreadPoolExecutor(count, thread_name_prefix="pocketlens-embed")
        stack.callback(threads.shutdown, cancel_futures=True)
        left, begun = iter(files.items()), deque[dict[bytes, Future[_Found]]]()
        while some := list(islice(left, _BATCH)):
            begun.append({sha256: threads.submit(found, path) for sha256, path in some})
            if len(begun) > _BATCHES_AHEAD:
                yield _batch(begun.popleft())
        while begun:
            yield _batch(begun.popleft())


def _batch(begun: Mapping[bytes, Future[_Found]]) -> Batch:
    embeddings: dict[bytes, npt.NDArray[np.float32]] = {}
    unreadable: dict[bytes, PictureError] = {}
    for sha256, future in begun.items():
        found = future.result()
        if isinstance(found, PictureError):
            unreadable[sha256] = found
        else:
            embeddings[sha256] = found
    return Batch(embeddings, unreadable)
