"""Operations as backends send them -> a catalogue's tables, each once, with an answer each.

    ingest = Ingest(folder, clock=clock)
    job = ingest.open(caller="3fa9...", is_full_feed=False)
    outcomes = ingest.submit([Arrived(job.number, DeleteProduct("mug"), request=request)])

What `submit` has answered is on disk: operations, their requests and the counters of their jobs are
one transaction. An image whose picture is not embedded yet waits (see `settling`).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from pocketlens.errors import Conflict, InvalidOperation, NotAuthorized
from pocketlens_server import settings
from pocketlens_server.catalogue import revising
from pocketlens_server.catalogue.batches import Arrived, Batch, Refused
from pocketlens_server.catalogue.operations import DeleteImage, DeleteProduct
from pocketlens_server.catalogue.results import Outcome
from pocketlens_server.folders import CatalogueFolder, Tables
from pocketlens_server.storage.history import IMAGE, PRODUCT
from pocketlens_server.storage.jobs import Job, JobKind, JobState

# Open jobs of a caller; of more, those that nothing has come for longest are taken for abandoned.
# They are counted and not dated: a clock that jumps ahead would end the jobs of everybody, and what
# comes for them would be refused. And each caller's are, so that nobody ends another's. A full feed
# remembers all that it names, and a second one at once makes no sense.
_MOST_OPEN = {JobKind.INGEST: 1000, JobKind.FULL_FEED: 10}


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a full feed let vanish.

    Attributes:
        products, images: How many were deleted; images that waited, and dead letters, too.
        job: The feed's, which has ended, but for pictures that wait.
    """

    products: int
    images: int
    job: Job


class Ingest:
    """The way into one catalogue; thread-safe, since every call is a transaction of its own."""

    def __init__(self, folder: CatalogueFolder, *, clock: Callable[[], datetime]) -> None:
        self._folder, self._clock = folder, clock

    def open(
        self,
        *,
        caller: str,
        is_full_feed: bool = False,
        expected: int = 0,
        in_use: Collection[int] = (),
    ) -> Job:
        """A new job; `in_use` are numbers of those that somebody goes on with just now."""
        kind = JobKind.FULL_FEED if is_full_feed else JobKind.INGEST
        now = self._clock()
        with self._folder.changing() as tables:
            kept = _MOST_OPEN[kind] - 1
            tables.jobs.abandon(kind, caller=caller, kept=kept, in_use=in_use, now=now)
            tables.jobs.forget_old()
            return tables.jobs.open(kind, caller=caller, now=now, expected=expected)

    def resume(self, number: int, *, caller: str) -> Job:
        """A job that is still open.

        Raises:
            NotFound: There is none of that number.
            NotAuthorized: Another opened it.
            Conflict: Nothing more of it is taken.
        """
        with self._folder.changing() as tables:
            job = _open_job(tables, number, caller)
            tables.jobs.touch(number, now=self._clock())
        return job

    def submit(self, arrived: Sequence[Arrived | Refused]) -> list[Outcome | Conflict]:
        """Applies operations in their order; one that cannot be hinders no other.

        Returns:
            What became of each; of one that is not applied because its job has ended, the error
            that whoever goes on with that job must be told.

        Raises:
            ServerError: Another process was writing for too long; nothing has changed.
            StoreFull: The disk has no room; nothing has changed.
        """
        with self._folder.changing() as tables:
            batch = Batch(tables, self._folder)
            outcomes = [batch.take(each) for each in arrived]
            batch.count(now=self._clock())
            tables.requests.forget_old()
        return outcomes

    def close(self, number: int) -> Job:
        """Ends a job of which nothing more comes; a full feed stays open for `replace`."""
        with self._folder.changing() as tables:
            if tables.jobs.kind_and_state(number)[0] is not JobKind.FULL_FEED:
                tables.jobs.close(number, now=self._clock())
            return tables.jobs.get(number)

    def cancel(self, number: int) -> Job:
        """Ends a job; what of it waits is dropped, what was applied stays. Again changes nothing.

        Raises:
            NotFound: There is no such job.
            Conflict: It is done, or is no backend's.
        """
        with self._folder.changing() as tables:
            job = tables.jobs.get(number)
            if job.kind is JobKind.MODEL:
                raise Conflict(f"The job {number} is a model's: it is added by a local command.")
            if job.state is JobState.CANCELLED:
                return job
            if job.has_ended:
                raise Conflict(f"The job {number} is {job.state.value} already.")
            tables.jobs.count(number, {"skipped": tables.waiting.drop_job(number)})
            tables.jobs.end(number, JobState.CANCELLED, now=self._clock())
            return tables.jobs.get(number)

    def replace(
        self, number: int, *, caller: str, revision: int = 0, lost_share: float | None = None
    ) -> Replaced:
        """Deletes what a full feed has not named, holding or waiting; again it answers the same.

        Args:
            number: Of its job, which is open.
            caller: Who opened it.
            revision: Items of a newer one are kept; 0 for none.
            lost_share: Of the products, and of the images, that may vanish; None for as many as a
                publish lets pass (`GateLimits.lost_share`, of more than `lost_least`).

        Raises:
            NotFound, NotAuthorized, Conflict: See `resume`.
            InvalidOperation: It is no full feed, too much would vanish, or the revision or share is
                none; nothing has changed.
        """
        limits = settings.read(self._folder.folder).gates
        share, least = (
            (limits.lost_share, limits.lost_least) if lost_share is None else (lost_share, 0)
        )
        if not 0 <= share <= 1:
            raise InvalidOperation(f"Expected a share from 0 to 1. Received {share}.")
        revising.check_revision(revision)
        with self._folder.changing() as tables:
            deleted = _deleted_before(tables, number, caller)
            if deleted is not None:
                return deleted
            if _open_job(tables, number, caller).kind is not JobKind.FULL_FEED:
                raise InvalidOperation(f"The job {number} is no full feed: it deletes nothing.")
            there = {kind: dict.fromkeys(tables.history.ids(kind)) for kind in (IMAGE, PRODUCT)}
            there[IMAGE] |= dict.fromkeys(sorted(tables.waiting.ids()))
            gone = {
                kind: _unnamed(tables, number, kind, revision, there[kind])
                for kind in (IMAGE, PRODUCT)
            }
            if lost_share is None and any(gone.values()) and tables.jobs.names_nothing(number):
                raise InvalidOperation(
                    "The feed names nothing: all would vanish, and nothing has. If it is meant, "
                    "say a share of 1."
                )
            for kind, what in ((PRODUCT, "products"), (IMAGE, "images")):
                count = len(there[kind])
                if len(gone[kind]) > max(least, share * count):
                    raise InvalidOperation(
                        f"The feed names {count - len(gone[kind]):,} of {count:,} {what}: more "
                        f"than {share:.0%} would vanish, and nothing has. If it is meant, say a "
                        "larger share."
                    )
            batch = Batch(tables, self._folder)
            for id_ in gone[IMAGE]:
                batch.delete(DeleteImage(id_), revision)
            for id_ in gone[PRODUCT]:
                batch.delete(DeleteProduct(id_), revision)
            now = self._clock()
            batch.count(now=now)
            counts = {"products": len(gone[PRODUCT]), "images": len(gone[IMAGE])}
            tables.jobs.end_feed(number, **counts, now=now)
            return Replaced(**counts, job=tables.jobs.get(number))


def _open_job(tables: Tables, number: int, caller: str) -> Job:
    """A job that may be gone on with; see `Ingest.resume`."""
    job = tables.jobs.get(number)
    if job.caller != caller:
        raise NotAuthorized(f"The job {number} was opened by another.")
    if job.state is not JobState.OPEN:
        raise Conflict(f"The job {number} is {job.state.value}. Open another.")
    return job


def _deleted_before(tables: Tables, number: int, caller: str) -> Replaced | None:
    """What a full feed of a caller has let vanish already; None where it has not ended so."""
    deleted, job = tables.jobs.deleted(number), tables.jobs.get(number)
    return None if deleted is None or job.caller != caller else Replaced(*deleted, job=job)


def _unnamed(tables: Tables, job: int, kind: int, revision: int, ids: Collection[str]) -> list[str]:
    """Those of some ids that a full feed has not named, but for what is newer."""
    named = tables.jobs.named(job, kind)
    gone = [id_ for id_ in ids if id_ not in named]
    if revision == 0:
        return gone
    keys = {id_: tables.history.known_key(kind, id_) for id_ in gone}
    return [
        id_
        for id_, key in keys.items()
        if key is None or tables.revisions.of(kind, key).whole <= revision
    ]
