"""The float model of a bundle and its gallery, made ready beside everything else.

    precise = Precise(folder, bundle, make)
    precise.follow()                        # returns at once; again at each new version
    precise.at(version)                     # None until it has that version, or where it cannot run

Loading TensorFlow takes seconds, and embedding a catalogue minutes: no answer waits for that, and
no end of a server. Used from one loop.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pocketlens.errors import PocketLensError
from pocketlens.formats.bundle import Bundle
from pocketlens.progress import Progress
from pocketlens_server.catalogue.float_siblings import Sibling, siblings_of
from pocketlens_server.folders import CatalogueFolder

if TYPE_CHECKING:
    from pocketlens_server.query.open_catalogues import Searched  # which has one of these

logger = logging.getLogger(__name__)

Make = Callable[[Sibling, Progress], "Searched"]
"""Opens a float model; may raise PocketLensError. Its gallery calls the progress as it embeds."""


class Precise:
    """What answers photos at full precision, once it can."""

    def __init__(self, folder: CatalogueFolder, bundle: Bundle, make: Make) -> None:
        """Opens nothing yet.

        Args:
            folder: Of the catalogue.
            bundle: Whose float model is meant.
            make: Opens one.
        """
        self._folder, self._bundle, self._make = folder, bundle, make
        self._searched: Searched | None = None
        self._looked_at: dict[str, int] = {}  # files, with their times, of which none can be used
        self._task: asyncio.Task[None] | None = None
        self._ending = threading.Event()

    def at(self, version: int) -> Searched | None:
        """What answers photos of a version, if it has that one: stock that was is no answer."""
        found = self._searched
        return found if found is not None and found.gallery.store.version == version else None

    def follow(self) -> None:
        """Begins to move to the newest version, if it does not already."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Ends after the batch that is embedded now, which is kept."""
        self._ending.set()
        if self._task is not None:
            await self._task
        if self._searched is not None:
            await self._searched.close()

    async def _follow(self) -> None:
        try:
            await asyncio.to_thread(self._work)
        except _Ending:
            logger.debug("query.precise.ending catalogue=%s", self._folder.name)
        except PocketLensError as exc:
            logger.warning("query.precise.failed catalogue=%s error=%s", self._folder.name, exc)
        except Exception:  # a bug, or a system out of files: later it may do better
            logger.exception("query.precise.failed catalogue=%s", self._folder.name)

    def _work(self) -> None:
        if self._searched is None:
            self._searched = self._opened()
        if self._searched is not None:
            self._searched.gallery.follow()

    def _opened(self) -> Searched | None:
        """The first float model that runs here; all are tried once, until one is added."""
        floats = self._folder.floats
        models = [*floats.glob("*.keras"), *floats.glob("*.tflite")]
        there = {path.name: path.stat().st_mtime_ns for path in models}
        if there == self._looked_at:
            return None
        self._looked_at = there
        for sibling in siblings_of(self._folder, self._bundle):
            try:
                return self._make(sibling, self._progress)
            except PocketLensError as exc:
                logger.warning(
                    "query.precise.unusable catalogue=%s error=%s", self._folder.name, exc
                )
        return None

    def _progress(self, stage: str, done: int, total: int) -> None:
        if self._ending.is_set():
            raise _Ending


class _Ending(Exception):  # no error: what was embedded is kept, the rest is for later
    """The catalogue is closed."""
