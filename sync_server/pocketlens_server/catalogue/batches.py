"""Operations that came together -> what becomes of each, inside one transaction.

    batch = Batch(tables, folder)
    outcomes = [batch.take(each) for each in arrived]
    batch.count(now=clock())

One that cannot be changes nothing and hinders no other.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pocketlens.errors import CatalogError, Conflict, InvalidOperation, NotFound
from pocketlens.products import checked_id
from pocketlens_server.catalogue import revising
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    Operation,
    PutImage,
    apply,
    products_of,
)
from pocketlens_server.catalogue.results import LASTING, Outcome, Result
from pocketlens_server.folders import CatalogueFolder, Tables
from pocketlens_server.storage.history import IMAGE, PRODUCT
from pocketlens_server.storage.jobs import Job, JobKind, JobState
from pocketlens_server.storage.requests import MAX_ID_BYTES, Answered
from pocketlens_server.storage.revisions import MAX_REVISION
from pocketlens_server.storage.waiting_images import WaitingImage


@dataclass(frozen=True, slots=True)
class Request:
    """What makes two operations the same.

    Attributes:
        id: The backend's, 1 to 128 bytes of UTF-8.
        body: Digest of all that was asked for, 16 bytes.
    """

    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Arrived:
    """An operation that came.

    Attributes:
        job: Number of its job.
        operation: The change.
        revision: Of the item, as the backend counts; 0 for none.
        request: None for an operation that is applied however often it comes.
        has_picture: Whether the picture of an image came with it, and was kept (`pictures`).
    """

    job: int
    operation: Operation
    revision: int = 0
    request: Request | None = None
    has_picture: bool = False

    @property
    def request_id(self) -> str:
        """Of the request; "" for none."""
        return "" if self.request is None else self.request.id

    @property
    def named(self) -> list[tuple[int, str]]:
        """Kinds and ids that a full feed names by it."""
        if isinstance(self.operation, DeleteImage | DeleteProduct):
            return []
        products = self.operation.product_ids if isinstance(self.operation, PutImage) else ()
        return [revising.item_of(self.operation), *((PRODUCT, each) for each in products)]


@dataclass(frozen=True, slots=True)
class Refused:
    """What came and is no operation that could be.

    Attributes:
        job: Number of its job.
        request_id: As it said; "" for none.
        reason: For the backend.
        named: Kinds and ids that it names: a full feed means them to stay as they are.
    """

    job: int
    request_id: str
    reason: str
    named: Sequence[tuple[int, str]] = ()


class Batch:
    """Operations inside one transaction, and what is counted of them."""

    def __init__(self, tables: Tables, folder: CatalogueFolder) -> None:
        """Takes the tables of a folder, inside the caller's transaction."""
        self._tables, self._folder = tables, folder
        self._version = tables.history.head + 1
        self._bundles = list(tables.vectors.bundles())
        self._jobs: dict[int, Job] = {}
        self._counted: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._named: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)

    def take(self, arrived: Arrived | Refused) -> Outcome:
        """One operation to its outcome."""
        id_ = arrived.request_id
        try:
            job = self._job(arrived.job)
        except NotFound as exc:  # it ended long ago
            return Outcome(id_, Result.REFUSED, reason=str(exc))
        try:
            outcome = self._outcome(arrived, job)
        except (InvalidOperation, CatalogError, Conflict) as exc:
            outcome = Outcome(id_, Result.REFUSED, reason=str(exc))
        if outcome.result is Result.PICTURE_NEEDED:  # it comes again, and counts then
            return outcome
        counted = self._counted[job.number]
        counted["received"] += 1
        if outcome.is_repeated:
            counted["repeated"] += 1
        elif outcome.result is not Result.WAITING:
            counted[outcome.result.value] += 1
        counted["reused"] += outcome.is_embedding_reused
        if job.kind is JobKind.FULL_FEED:  # whatever becomes of it
            self._named[job.number] += arrived.named
        return outcome

    def delete(self, operation: Operation, revision: int) -> None:
        """Deletes what a full feed does not name."""
        self._changed(operation)
        revising.remember(
            self._tables.history, self._tables.revisions, operation, revision=revision
        )

    def count(self, *, now: datetime) -> None:
        """Adds to the counters of the jobs, in the end."""
        for job, counted in self._counted.items():
            self._tables.jobs.count(job, counted)
        for job in self._jobs:
            self._tables.jobs.touch(job, now=now)
        for job, named in self._named.items():
            self._tables.jobs.name(job, named)

    def _outcome(self, arrived: Arrived | Refused, job: Job) -> Outcome:
        if job.state is not JobState.OPEN:
            raise Conflict(f"The job {job.number} is {job.state.value}. Open another.")
        if isinstance(arrived, Refused):
            raise InvalidOperation(arrived.reason)
        request = arrived.request
        if request is None:
            return self._applied(arrived)
        if not 1 <= len(request.id.encode()) <= MAX_ID_BYTES:
            raise InvalidOperation(
                f"Expected a request id of 1 to {MAX_ID_BYTES} bytes. Received "
                f"{len(request.id.encode())}."
            )
        known = self._tables.requests.known(request.id)
        if known is None:
            outcome = self._applied(arrived)
            if outcome.result in LASTING:
                answered = Answered(request.body, outcome.result.value, outcome.version)
                self._tables.requests.remember(request.id, answered)
            return outcome
        if known.body != request.body:
            raise InvalidOperation(
                f"The request id {request.id!r} was another operation's. Give each its own."
            )
        return Outcome(request.id, Result(known.result), known.version, is_repeated=True)

    def _applied(self, arrived: Arrived) -> Outcome:
        history, revisions = self._tables.history, self._tables.revisions
        revision = arrived.revision
        if not 0 <= revision <= MAX_REVISION:
            raise InvalidOperation(
                f"Expected a revision from 0 to {MAX_REVISION}. Received {revision}."
            )
        kind, id_ = revising.item_of(arrived.operation)
        checked_id(id_, "image" if kind == IMAGE else "product")
        left = revising.newer(history, revisions, arrived.operation, revision=revision)
        if left is None:
            reason = f"A newer revision than {revision} was applied."
            return Outcome(arrived.request_id, Result.SKIPPED, reason=reason)
        if isinstance(left, PutImage):
            outcome = self._image(left, arrived)
        else:
            has_changed = self._changed(left)
            result = Result.APPLIED if has_changed else Result.UNCHANGED
            outcome = Outcome(arrived.request_id, result, self._version if has_changed else 0)
        if outcome.result is not Result.PICTURE_NEEDED:
            revising.remember(history, revisions, left, revision=revision)
        return outcome

    def _image(self, put: PutImage, arrived: Arrived) -> Outcome:
        """An image, which holds if its picture is embedded and waits otherwise."""
        tables, picture, id_ = self._tables, put.picture_sha256, arrived.request_id
        keys = products_of(tables.history, put)
        if not (arrived.has_picture or self._is_held(picture)):
            return Outcome(id_, Result.PICTURE_NEEDED)
        if self._bundles and tables.vectors.is_embedded(self._bundles, picture):
            has_changed = self._changed(put)
            return Outcome(
                id_,
                Result.APPLIED if has_changed else Result.UNCHANGED,
                self._version if has_changed else 0,
                is_embedding_reused=has_changed,
            )
        waiting = WaitingImage(put.image, picture, arrived.job, keys)
        self._superseded(tables.waiting.put(waiting))
        return Outcome(id_, Result.WAITING)

    def _is_held(self, picture: bytes) -> bool:
        """Whether a picture came before, and is on disk: its file alone may be about to be."""
        vectors, waiting = self._tables.vectors, self._tables.waiting
        if waiting.is_kept(picture):
            return True
        is_known = any(vectors.is_embedded([each], picture) for each in self._bundles)
        return is_known and self._folder.picture(picture).exists()

    def _changed(self, operation: Operation) -> bool:
        """Applies an operation; what waits for the same item waits no more."""
        tables = self._tables
        match operation:
            case PutImage(image):
                self._superseded(tables.waiting.drop(image.id))
            case DeleteImage(image_id):
                self._superseded(tables.waiting.drop(image_id))
            case DeleteProduct(product_id):
                key = tables.history.known_key(PRODUCT, product_id)
                dropped = [] if key is None else tables.waiting.drop_product(key)
                for image_id, job in dropped:  # as if it had been embedded before
                    self._superseded(job)
                    apply(tables.history, DeleteImage(image_id))
            case _:
                pass
        return apply(tables.history, operation)

    def _superseded(self, job: int | None) -> None:
        """An image waits no more for a job, since something newer came."""
        if job is not None:
            self._counted[job]["skipped"] += 1

    def _job(self, number: int) -> Job:
        if number not in self._jobs:
            self._jobs[number] = self._tables.jobs.get(number)
        return self._jobs[number]
