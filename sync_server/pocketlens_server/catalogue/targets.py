"""Where operations go: a catalogue on this machine, or one behind a server's address.

    job = target.open(is_full_feed=False, expected=3)
    for change, outcome in target.send(job, changes): ...
    job = target.finish(job)

`LocalTarget` is here; `client.RemoteTarget` speaks gRPC. Both go through `Ingest`, and pass one
suite.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Protocol

from pocketlens.errors import Conflict, ServerError
from pocketlens.progress import Progress
from pocketlens_server.catalogue.batches import Arrived
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.catalogue.embedders import Embedders
from pocketlens_server.catalogue.ingest import Ingest, Replaced
from pocketlens_server.catalogue.operations import Operation, PutImage
from pocketlens_server.catalogue.pictures import check_size, keep
from pocketlens_server.catalogue.results import Outcome
from pocketlens_server.catalogue.settling import settle
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.storage.jobs import Job
from pocketlens_server.storage.waiting_images import DeadLetter

_AT_ONCE = 500  # operations a transaction


@dataclass(frozen=True, slots=True)
class Change:
    """An operation to be sent.

    Attributes:
        operation: What shall be; of an image the hash of its picture is found by who sends it.
        picture: File of the picture, or its bytes; None where the operation shows none.
        revision: Of the item; 0 for none.
    """

    operation: Operation
    picture: Path | bytes | None = None
    revision: int = 0

    def picture_bytes(self) -> bytes:
        """The picture.

        Raises:
            OSError: Its file cannot be read.
            InvalidOperation: It is empty, or larger than pictures may be.
        """
        if isinstance(self.picture, Path):
            check_size(self.picture.stat().st_size)  # before it fills the memory
            return self.picture.read_bytes()
        return self.picture or b""


class Target(Protocol):
    """A catalogue that takes operations. Calls may be repeated: an operation says what shall be."""

    def open(self, *, is_full_feed: bool, expected: int) -> Job:
        """A new job."""

    def send(self, job: Job, changes: Iterable[Change]) -> Iterator[tuple[Change, Outcome]]:
        """Yields each change with what became of it, in order, once that is on disk.

        It comes back without its picture: those of many changes would not fit into memory.

        Raises:
            Conflict: The job has ended, as by CancelJob.
            ServerError, StoreFull: It cannot go on; what was yielded holds.
        """

    def replace(self, job: Job, *, lost_share: float | None) -> Replaced:
        """Deletes what a full feed has not named; see `Ingest.replace`."""

    def finish(self, job: Job, *, progress: Progress) -> Job:
        """Ends a job, and waits until none of its pictures does; the job, ended.

        Raises:
            ServerError: Pictures cannot be embedded, such as without a model.
        """

    def cancel(self, job: Job) -> None:
        """Ends a job at once: what waits of it is dropped, what was applied stays."""

    def abandon(self, job: Job) -> None:
        """Sends no more of a job: what was answered holds, or waits until it is embedded."""

    def dead_letters(self, job: Job) -> Sequence[DeadLetter]:
        """Images of the job that could not be embedded."""


class LocalTarget:
    """A catalogue in a folder, also of a server that runs."""

    def __init__(self, folder: CatalogueFolder, *, clock: Callable[[], datetime]) -> None:
        self._folder, self._clock = folder, clock
        self._ingest = Ingest(folder, clock=clock)

    def open(self, *, is_full_feed: bool, expected: int) -> Job:
        """See `Target`."""
        return self._ingest.open(caller="local", is_full_feed=is_full_feed, expected=expected)

    def send(self, job: Job, changes: Iterable[Change]) -> Iterator[tuple[Change, Outcome]]:
        """See `Target`."""
        left = ((replace(each, picture=None), self._arrived(job, each)) for each in changes)
        while some := list(islice(left, _AT_ONCE)):
            outcomes = self._ingest.submit([arrived for _, arrived in some])
            for (change, _), outcome in zip(some, outcomes, strict=True):
                if isinstance(outcome, Conflict):
                    raise outcome
                yield change, outcome

    def replace(self, job: Job, *, lost_share: float | None) -> Replaced:
        """See `Target`."""
        return self._ingest.replace(job.number, caller="local", lost_share=lost_share)

    def finish(self, job: Job, *, progress: Progress) -> Job:
        """See `Target`."""
        found = self._ingest.close(job.number)
        counters = found.counters
        total = counters.embedded + counters.waiting
        with Decoders() as decoders, Embedders(self._folder) as embedders:
            while counters.waiting:
                settled = settle(
                    self._folder,
                    clock=self._clock,
                    decoders=decoders,
                    embedders=embedders,
                    progress=_behind(progress, total - counters.waiting, total),
                )
                found = self._found(job)
                counters = found.counters
                if counters.waiting and not settled.pictures:  # nor did a server beside this
                    raise ServerError(
                        "Expected a model. Add one: pocketlens-server model add SHOP.tflite. "
                        f"{counters.waiting:,} images wait for it, and need not be pushed again."
                    )
                progress("embedding", total - counters.waiting, total)
        return found

    def cancel(self, job: Job) -> None:
        """See `Target`."""
        self._ingest.cancel(job.number)

    def abandon(self, job: Job) -> None:
        """See `Target`."""
        self._ingest.close(job.number)

    def dead_letters(self, job: Job) -> Sequence[DeadLetter]:
        """See `Target`."""
        with self._folder.reading() as tables:
            letters = tables.dead_letters.listed(limit=-1)
        return [each for each in letters if each.job == job.number]

    def _found(self, job: Job) -> Job:
        with self._folder.reading() as tables:
            return tables.jobs.get(job.number)

    def _arrived(self, job: Job, change: Change) -> Arrived:
        """The operation, its picture in the folder."""
        operation = change.operation
        if change.picture is None or not isinstance(operation, PutImage):
            return Arrived(job.number, operation, change.revision)
        data = change.picture_bytes()
        check_size(len(data))
        shown = replace(operation, picture_sha256=keep(self._folder, data))
        return Arrived(job.number, shown, change.revision, has_picture=True)


def _behind(progress: Progress, done: int, total: int) -> Progress:
    """That of a part, told as that of the whole."""
    return lambda stage, some, _: progress(stage, done + some, total)
