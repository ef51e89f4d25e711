"""Likely categories of a gallery, fitted to its vectors beside the answers, once a version.

    fitted = FittedCategories(gallery, duplicate_cosine=0.97)
    likely = await fitted.newest()

The first who asks waits for the fit (half a second of one core at 100,000 images of 128 numbers).
After that nobody does: while a newer
version is fitted to, the vote is that of the one before, and only images that came since have none.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from pocketlens.errors import ServerUnavailable
from pocketlens.query.likely_categories import LikelyCategories, Neighbours
from pocketlens_server.query.galleries import Gallery
from pocketlens_server.query.vector_store import View


class FittedCategories:
    """Of one gallery; used from one loop."""

    def __init__(self, gallery: Gallery, *, duplicate_cosine: float) -> None:
        """Fits nothing before somebody asks.

        Args:
            gallery: With the vectors.
            duplicate_cosine: From which two images are one picture.
        """
        self._gallery, self._duplicate_cosine = gallery, duplicate_cosine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pocketlens-categories")
        self._ending = threading.Event()
        self._version = 0
        self._likely: LikelyCategories | None = None
        self._coming: asyncio.Task[None] | None = None

    async def newest(self) -> LikelyCategories:
        """Those of the newest version, or of the one before while that is fitted to.

        Raises:
            ServerUnavailable: The server is about to end.
        """
        self._check_open()
        while self._version != self._gallery.store.version:
            if self._coming is None:
                self._coming = asyncio.create_task(self._follow())
            if self._likely is not None:
                return self._likely
            await asyncio.shield(self._coming)  # whoever gives up does not stop it
        if self._likely is None:
            raise LookupError("There is no version yet.")  # no gallery is asked before it has one
        return self._likely

    async def close(self) -> None:
        """Ends, soon; closing again is no error."""
        self._ending.set()
        if self._coming is not None:
            await asyncio.gather(self._coming, return_exceptions=True)
        self._thread.shutdown()

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._version, self._likely = await loop.run_in_executor(self._thread, self._fitted)
        finally:
            self._coming = None

    def _fitted(self) -> tuple[int, LikelyCategories]:
        with self._gallery.store.view() as view:

            def nearest(queries: npt.NDArray[np.float32], count: int) -> list[Neighbours]:
                self._check_open()
                return neighbours(view, queries, count)

            likely = LikelyCategories.fitted(
                view.columns(),
                nearest,
                lambda keys: view.vectors(keys.tolist()),
                duplicate_cosine=self._duplicate_cosine,
            )
            return view.version, likely

    def _check_open(self) -> None:
        if self._ending.is_set():
            raise ServerUnavailable("The server is about to end. Try again.")


def neighbours(view: View, queries: npt.NDArray[np.float32], count: int) -> list[Neighbours]:
    """Images of a version nearest each query, as `likely_categories` asks for them."""
    return [Neighbours(each.keys, each.similarities) for each in view.search(queries, count)]
