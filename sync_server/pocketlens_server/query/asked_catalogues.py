"""Catalogues that are asked about: opened once, and then what is published.

catalogues = AskedCatalogues(server_folder, settings, telemetry)
opened = await catalogues.of("main")
catalogues.end()                        # refuses more
await catalogues.close()
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

from pocketlens.errors import NotFound, PocketLensError, ServerUnavailable
from pocketlens_server.folders import CatalogueFolder, ServerFolder
from pocketlens_server.query.open_catalogues import OpenCatalogue
from pocketlens_server.query.settings import QuerySettings
from pocketlens_server.telemetry import Telemetry

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 1.0  # between looks for versions that were published
_LEAVE_SECONDS = 5.0  # from one stage of an answer to the next, at most


class AskedCatalogues:
    """Of one server; used from one loop."""

    def __init__(self, server: ServerFolder, settings: QuerySettings, telemetry: Telemetry) -> None:
        """Opens none yet."""
        self._server, self._settings, self._telemetry = server, settings, telemetry
        self._open: dict[str, asyncio.Task[OpenCatalogue]] = {}
        self._coming: dict[str, asyncio.Task[OpenCatalogue]] = {}  # to take their places
        self._leaving = set[asyncio.Task[None]]()
        self._ahead: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    def open_ahead(self, catalogues: Iterable[str]) -> None:
        """Begins to read the vectors of catalogues, so that no question waits for that.

        One after the other: a server that starts has phones to answer, too.
        """
        self._ahead = asyncio.create_task(self._open_each(sorted(catalogues)))

    async def of(self, name: str) -> OpenCatalogue:
        """One of them, opened once; whoever gives up does not stop what others wait for.

        Raises:
            NotFound: There is none of that name.
            ServerUnavailable: The server is about to end.
        """
        if self._ending.is_set():
            raise ServerUnavailable("The server is about to end. Try again.")
        if name not in self._open:
            try:
                folder = self._server.catalogue(name)
            except NotFound as exc:  # whose text names the others
                raise NotFound(f"There is no catalogue {name[:64]!r}.") from exc
            self._open[name] = asyncio.create_task(self._opened(folder))
        task = self._open[name]
        try:
            return await asyncio.shield(task)
        except Exception:
            if self._open.get(name) is task:  # the next one tries again
                del self._open[name]
            raise

    async def follow(self) -> None:
        """Lets catalogues that were asked about follow their versions, for ever."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            for name, task in list(self._open.items()):
                if not _has_opened(task):
                    continue
                try:
                    await self._follow(name, task.result())
                except PocketLensError as exc:
                    logger.warning("query.follow.failed catalogue=%s error=%s", name, exc)
                except Exception:  # a bug, or a system out of files: later it may do better
                    logger.exception("query.follow.failed catalogue=%s", name)

    def end(self) -> None:
        """Opens no more."""
        self._ending.set()
        if self._ahead is not None:
            self._ahead.cancel()

    async def close(self) -> None:
        """Closes all, after `end`; what is worked on is finished."""
        for task in (*self._open.values(), *self._coming.values()):
            task.cancel()
            if _has_opened(task):
                await task.result().close()
        self._open, self._coming = {}, {}
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _follow(self, name: str, opened: OpenCatalogue) -> None:
        """Lets a catalogue be what is published; meanwhile it answers as it is."""
        if not opened.folder.folder.is_dir():  # nobody has it any more
            del self._open[name]
            self._leave(opened)
            if (coming := self._coming.pop(name, None)) is not None:
                coming.cancel()
        elif (coming := self._coming.get(name)) is not None:
            if coming.done():
                del self._coming[name]
                coming.result()
                self._open[name] = coming
                self._leave(opened)
        elif not await opened.follow():  # of a model that is new, all vectors are read
            self._coming[name] = asyncio.create_task(self._opened(opened.folder))

    def _leave(self, opened: OpenCatalogue) -> None:
        """Closes a catalogue that nobody finds any more, once who came before is done."""

        async def leave() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await self._ending.wait()
            await opened.close()

        task = asyncio.create_task(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _opened(self, folder: CatalogueFolder) -> OpenCatalogue:
        return await OpenCatalogue.open(folder, self._settings, self._telemetry)

    async def _open_each(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                await (await self.of(name)).best.model()
            except NotFound as exc:  # nothing was published yet
                logger.debug("query.ahead.absent catalogue=%s error=%s", name, exc)
            except PocketLensError as exc:  # whoever asks is told
                logger.warning("query.ahead.failed catalogue=%s error=%s", name, exc)
            except Exception:  # a bug, or a system out of files: the next one may do better
                logger.exception("query.ahead.failed catalogue=%s", name)


def _has_opened(task: asyncio.Task[OpenCatalogue]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
