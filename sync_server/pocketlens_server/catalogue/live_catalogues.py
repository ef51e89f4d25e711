"""Every catalogue of a server that runs: started when it is first asked for, stopped with it.

lives = LiveCatalogues(server_folder, clock=clock)
lives.get("main").submitted(...)
await lives.stop()
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime

from pocketlens.errors import NotFound, ServerUnavailable
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.catalogue.live_catalogue import LiveCatalogue
from pocketlens_server.folders import ServerFolder
from pocketlens_server.telemetry import Telemetry


class LiveCatalogues:
    """The catalogues of one server; used from one loop."""

    def __init__(
        self,
        folder: ServerFolder,
        *,
        clock: Callable[[], datetime],
        telemetry: Telemetry | None = None,
    ) -> None:
        """Takes a server's folder.

        Args:
            folder: Of the server.
            clock: For jobs and dead letters.
            telemetry: What happens is counted there; nobody looks if None.
        """
        self._folder, self._clock = folder, clock
        self._telemetry = telemetry or Telemetry()
        self._decoders = Decoders()
        self._lives: dict[str, LiveCatalogue] = {}
        self._has_stopped = False

    def start(self) -> None:
        """Starts all there are, so that pictures which waited when the server ended go on."""
        for name in self._folder.catalogues():
            self.get(name)

    def get(self, name: str) -> LiveCatalogue:
        """A catalogue.

        Raises:
            NotFound: There is none of that name.
            ServerUnavailable: The server is about to end.
        """
        if self._has_stopped:
            raise ServerUnavailable("The server is about to end. Try again.")
        if name not in self._lives:
            try:
                folder = self._folder.catalogue(name)
            except NotFound as exc:  # whose text names the others
                raise NotFound(f"There is no catalogue {name[:64]!r}.") from exc
            live = LiveCatalogue(
                folder,
                clock=self._clock,
                decoders=self._decoders,
                telemetry=self._telemetry,
            )
            live.start()
            self._lives[name] = live
        return self._lives[name]

    def __iter__(self) -> Iterator[LiveCatalogue]:
        """Those that were started."""
        return iter(tuple(self._lives.values()))

    async def stop(self) -> None:
        """Stops all, once what was taken is answered; pictures that wait are the next start's."""
        self._has_stopped = True
        # Meanwhile, not afterwards: no picture is begun, so that nobody waits for all of a batch.
        closed = asyncio.to_thread(self._decoders.close)
        await asyncio.gather(*(live.stop() for live in self), closed)
