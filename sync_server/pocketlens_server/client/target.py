"""A catalogue behind a server's address, as a push sees it.

report = push(RemoteTarget(client), Path("catalogue.csv"))
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pocketlens.errors import Conflict
from pocketlens.progress import Progress
from pocketlens_server.catalogue.ingest import Replaced
from pocketlens_server.catalogue.results import Outcome
from pocketlens_server.catalogue.targets import Change
from pocketlens_server.client.streams import WINDOW, OperationStream
from pocketlens_server.storage.jobs import Job
from pocketlens_server.storage.waiting_images import DeadLetter

if TYPE_CHECKING:
    from pocketlens_server.client.calls import CatalogueClient

_LOOK_SECONDS = 1.0  # between looks at how far a job is
_CANCEL_SECONDS = 3.0  # to ask for the end of a job that failed, maybe of a server that is gone


class RemoteTarget:
    """See `pocketlens_server.catalogue.targets.Target`; one job at a time."""

    def __init__(self, client: CatalogueClient) -> None:
        self._client = client
        self._stream: OperationStream | None = None

    def open(self, *, is_full_feed: bool, expected: int) -> Job:
        """See `Target`."""
        self._stream = self._client.stream(is_full_feed=is_full_feed, expected=expected)
        return self._stream.job

    def send(self, job: Job, changes: Iterable[Change]) -> Iterator[tuple[Change, Outcome]]:
        """See `Target`."""
        stream = self._opened(job)
        sent: deque[tuple[Change, Future[Outcome]]] = deque()
        for change in changes:
            future = stream.send(
                change.operation,
                picture=change.picture,
                revision=change.revision,
                hash_first=True,  # a list names each image once
            )
            sent.append((replace(change, picture=None), future))
            while sent and (len(sent) >= WINDOW or sent[0][1].done()):
                first, future = sent.popleft()
                yield first, future.result()
        for first, future in sent:
            yield first, future.result()

    def replace(self, job: Job, *, lost_share: float | None) -> Replaced:
        """See `Target`."""
        return self._client.replace(job.number, lost_share=lost_share)

    def finish(self, job: Job, *, progress: Progress) -> Job:
        """See `Target`."""
        self._opened(job).close()
        found = self._client.job(job.number)
        total = found.counters.embedded + found.counters.waiting
        while not found.has_ended:
            progress("embedding", total - found.counters.waiting, total)
            found = self._client.wait(job.number, seconds=_LOOK_SECONDS)
        progress("embedding", total, total)
        return found

    def cancel(self, job: Job) -> None:
        """See `Target`."""
        self._opened(job).abandon()
        with suppress(Conflict):  # it has ended
            self._client.cancel(job.number, patience_seconds=_CANCEL_SECONDS)

    def abandon(self, job: Job) -> None:
        """See `Target`."""
        self._opened(job).abandon()

    def dead_letters(self, job: Job) -> Sequence[DeadLetter]:
        """See `Target`."""
        return [each for each in self._client.dead_letters() if each.job == job.number]

    def _opened(self, job: Job) -> OperationStream:
        if self._stream is None or self._stream.job.number != job.number:
            raise Conflict(f"The job {job.number} is not open here.")
        return self._stream
