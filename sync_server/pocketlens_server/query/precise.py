"""The float model of a bundle and its gallery, made ready beside everything else.

    precise = Precise(folder, bundle, make)
    precise.follow()                        # returns at once; again at each new version
    precise.at(version)                     # None until it has that version, or where it cannot run

Loading TensorFlow takes seconds, and embedding a catalogue minutes or hours: no answer waits for
that, nor a phone that syncs, nor the end of a server. Used from one loop.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING

from pocketlens.errors import PocketLensError
from pocketlens.formats.bundle import Bundle
from pocketlens.progress import Progress
from pocketlens_server.catalogue.float_siblings import Sibling, siblings_of
from pocketlens_server.folders import CatalogueFolder

if TYPE_CHECKING:
    from pocketlens_server.query.open_catalogues import Searched  # which has one of these

logger = logging.getLogger(__name__)

RETRY_SECONDS = 30.0  # after it failed: all that it lacks is looked through and tried again

Make = Callable[[Sibling, Progress], "Searched"]
"""Opens a float model; may raise PocketLensError. Its gallery calls the progress as it embeds."""


class Precise:
    """What answers photos at full precision, once it can."""

    def __init__(
        self,
        folder: CatalogueFolder,
        bundle: Bundle,
        make: Make,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Opens nothing yet.

        Args:
            folder: Of the catalogue.
            bundle: Whose float model is meant.
            make: Opens one.
            clock: Seconds that only grow.
        """
        self._folder, self._bundle, self._make, self._clock = folder, bundle, make, clock
        # Not one of the loop's: they are few, and phones that sync are answered by them.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pocketlens-precise")
        self._not_before = self._rests_until = 0.0
        self._searched: Searched | None = None
        self._looked_at: dict[str, int] = {}  # files, with their times, of which none can be used
        self._task: asyncio.Task[None] | None = None
        self._ending = threading.Event()

    @property
    def is_following(self) -> bool:
        """Whether it moves, or opens a model, now."""
        return self._task is not None and not self._task.done()

    def at(self, version: int) -> Searched | None:
        """What answers photos of a version, if it has that one: stock that was is no answer."""
        found = self._searched
        if found is None or self._clock() < self._rests_until:
            return None
        return found if found.gallery.store.version == version else None

    def rest(self, exc: PocketLensError) -> None:
        """Answers no photo for a while: the model failed."""
        self._rests_until = self._clock() + RETRY_SECONDS
        logger.warning("query.precise.rests catalogue=%s error=%s", self._folder.name, exc)

    def follow(self) -> None:
        """Begins to move to the newest version, unless it does already, or failed just now."""
        if not self.is_following and self._clock() >= self._not_before:
            self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Ends after the batch that is embedded now, which is kept."""
        self._ending.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()
        if self._searched is not None:
            await self._searched.close()

    async def _follow(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._work)
        except _Ending:
            logger.debug("query.precise.ending catalogue=%s", self._folder.name)
        except PocketLensError as exc:
            logger.warning("query.precise.failed catalogue=%s error=%s", self._folder.name, exc)
        except Exception:  # a bug, or a system out of files: later it may do better
            logger.exception("query.precise.failed catalogue=%s", self._folder.name)
        else:
            return
        self._not_before = self._clock() + RETRY_SECONDS

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
        for sibling in siblings_of(self._folder, self._bundle):
            try:
                return self._make(sibling, self._progress)
            except PocketLensError as exc:
                logger.warning(
                    "query.precise.unusable catalogue=%s error=%s", self._folder.name, exc
                )
        self._looked_at = there
        return None

    def _progress(self, stage: str, done: int, total: int) -> None:
        if self._ending.is_set():
            raise _Ending


class _Ending(Exception):  # no error: what was embedded is kept, the rest is for later
    """The catalogue is closed."""
