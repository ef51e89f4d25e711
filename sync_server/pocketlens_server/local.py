"""A catalogue in a folder on this machine, as `client.CatalogueClient` shows one behind an address.

    catalogue = LocalCatalogue(folder, clock=clock)
    catalogue.jobs(limit=10)
    push(catalogue.target(), Path("catalogue.csv"))

Commands ask either in the same words. A server may run meanwhile.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from pocketlens_server.catalogue import settling
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.catalogue.embedders import Embedders
from pocketlens_server.catalogue.ingest import Ingest
from pocketlens_server.catalogue.targets import LocalTarget
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.publishing import comparing, releasing
from pocketlens_server.publishing.comparing import Comparison, Status
from pocketlens_server.storage.jobs import Job
from pocketlens_server.storage.waiting_images import DeadLetter


class LocalCatalogue:
    """One catalogue; every call is a transaction of its own."""

    def __init__(self, folder: CatalogueFolder, *, clock: Callable[[], datetime]) -> None:
        self._folder, self._clock = folder, clock

    def target(self) -> LocalTarget:
        """Where a push goes."""
        return LocalTarget(self._folder, clock=self._clock)

    def status(self) -> Status:
        """What there is, and what waits."""
        return comparing.status(self._folder)

    def job(self, number: int) -> Job:
        """A job as it is.

        Raises:
            NotFound: There is none of that number.
        """
        with self._folder.reading() as tables:
            return tables.jobs.get(number)

    def jobs(self, *, limit: int = 100, before: int = 0) -> list[Job]:
        """Jobs, newest first."""
        with self._folder.reading() as tables:
            return tables.jobs.newest(limit=limit, before=before)

    def cancel(self, number: int) -> Job:
        """Ends a job; see `Ingest.cancel`."""
        return Ingest(self._folder, clock=self._clock).cancel(number)

    def dead_letters(self) -> list[DeadLetter]:
        """Images that were accepted and could not be embedded, oldest first."""
        with self._folder.reading() as tables:
            return tables.dead_letters.listed(limit=-1)

    def retry(self, numbers: Collection[int] | None = None) -> int:
        """Lets dead letters wait again, all if it is None, and looks at them; how many."""
        if numbers is not None and not numbers:
            return 0
        retried = settling.retry(self._folder, numbers or ())
        with Decoders() as decoders, Embedders(self._folder) as embedders:
            while settling.settle(
                self._folder, clock=self._clock, decoders=decoders, embedders=embedders
            ).pictures:
                pass
        return retried

    def purge(self, numbers: Collection[int] | None = None) -> int:
        """Forgets dead letters, all if it is None; how many there were of them."""
        if numbers is not None and not numbers:
            return 0
        return settling.purge(self._folder, numbers or ())

    def diff(self, base: int = 0, head: int = 0, *, limit: int = 100) -> Comparison:
        """What differs between two versions; see `comparing.compare`."""
        return comparing.compare(self._folder, base, head, listed=limit)

    def roll_back(self, version: int, *, parent: int | None = None) -> int:
        """Lets everything be as at an earlier version; see `releasing.roll_back`."""
        return releasing.roll_back(self._folder, version, parent=parent)

    def close(self) -> None:
        """Nothing is open."""
