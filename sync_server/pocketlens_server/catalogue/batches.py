"""Operations that came together -> what becomes of each, inside one transaction.

    batch = Batch(tables, folder)
    outcomes = [batch.take(each) for each in arrived]
    batch.count(now=clock())

One that cannot be changes nothing and hinders no other. One whose job has ended is not refused: it
may be sent in another job, and is no operation that a person must look at.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pocketlens.errors import CatalogError, Conflict, InvalidOperation, NotFound
from pocketlens.products import checked_id
from pocketlens_server.catalogue import revising
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    KeepImage,
    Operation,
    PutImage,
    apply,
    products_of,
    show,
)
from pocketlens_server.catalogue.results import LASTING, Outcome, Refusal, Result
from pocketlens_server.folders import CatalogueFolder, Tables
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT
from pocketlens_server.storage.jobs import JobKind, JobState
from pocketlens_server.storage.requests import MAX_ID_BYTES, Answered
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
        self._jobs: dict[int, tuple[JobKind | None, Conflict | None]] = {}
        self._counted: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._named: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
        self._has_superseded = False

    def take(self, arrived: Arrived | Refused) -> Outcome | Conflict:
        """One operation to its outcome, or to the error that its job takes no more.

        A request that was answered before is answered so whatever has become of its job.
        """
        kind, ended = self._job(arrived.job)
        request = arrived.request if isinstance(arrived, Arrived) else None
        known = None if request is None else self._tables.requests.known(request.id)
        if request is not None and known is not None and known.body == request.body:
            outcome = _repeated(arrived, known)
        elif ended is not None:
            return ended
        else:
            outcome = self._outcome(arrived, known)
        if kind is JobKind.FULL_FEED and ended is None:  # whatever becomes of it
            self._named[arrived.job] += arrived.named
        if outcome.result is Result.PICTURE_NEEDED:  # it comes again, and counts then
            return outcome
        counted = self._counted[arrived.job]
        counted["received"] += 1
        if outcome.is_repeated:
            counted["repeated"] += 1
        elif outcome.result is not Result.WAITING:
            counted[outcome.result.value] += 1
        counted["reused"] += outcome.is_embedding_reused
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
        if self._has_superseded:  # which may have been the last that another job waited for
            self._tables.jobs.end_embedded(now=now)

    def _outcome(self, arrived: Arrived | Refused, known: Answered | None) -> Outcome:
        """Of an operation that was not answered; `known` is another's, under its request id."""
        if isinstance(arrived, Refused):
            return _refused(arrived, Refusal.INVALID, arrived.reason)
        request = arrived.request
        try:
            if request is not None:
                _check_request(request, known)
            outcome = self._applied(arrived)
        except NotFound as exc:
            return _refused(arrived, Refusal.NOT_THERE_YET, str(exc))
        except Conflict as exc:
            return _refused(arrived, Refusal.REQUEST_ID_TAKEN, str(exc))
        except (InvalidOperation, CatalogError) as exc:
            return _refused(arrived, Refusal.INVALID, str(exc))
        if request is not None and outcome.result in LASTING:
            answered = Answered(request.body, outcome.result.value, outcome.version)
            self._tables.requests.remember(request.id, answered)
        return outcome

    def _applied(self, arrived: Arrived) -> Outcome:
        history, revisions = self._tables.history, self._tables.revisions
        revision = arrived.revision
        revising.check_revision(revision)
        kind, id_ = revising.item_of(arrived.operation)
        checked_id(id_, "image" if kind == IMAGE else "product")
        left = revising.newer(history, revisions, arrived.operation, revision=revision)
        if left is None:
            return Outcome(arrived.request_id, Result.SKIPPED, reason=_skipped(revision))
        if isinstance(left, PutImage):
            outcome = self._image(left, arrived)
        else:
            outcome = self._held(arrived, has_changed=self._changed(left))
        if outcome.result is not Result.PICTURE_NEEDED:
            revising.remember(history, revisions, left, revision=revision)
        return outcome

    def _image(self, put: PutImage, arrived: Arrived) -> Outcome:
        """An image, which holds if its picture is embedded and waits otherwise."""
        tables, picture, id_ = self._tables, put.picture_sha256, arrived.request_id
        keys = products_of(tables.history, put)
        if not self._is_held(picture, has_come=arrived.has_picture):
            return Outcome(id_, Result.PICTURE_NEEDED)
        if self._bundles and tables.vectors.is_embedded(self._bundles, picture):
            self._superseded(tables.waiting.drop(put.image.id))
            has_changed = show(tables.history, put.image, picture, keys)
            return replace(
                self._held(arrived, has_changed=has_changed), is_embedding_reused=has_changed
            )
        waiting = WaitingImage(put.image, picture, arrived.job, keys, id_)
        self._superseded(tables.waiting.put(waiting))
        return Outcome(id_, Result.WAITING)

    def _held(self, arrived: Arrived, *, has_changed: bool) -> Outcome:
        """The outcome of an operation that holds, and the version in which that is seen."""
        history = self._tables.history
        if has_changed:
            return Outcome(arrived.request_id, Result.APPLIED, self._version)
        kind, id_ = revising.item_of(arrived.operation)
        key = history.known_key(kind, id_)
        kinds = (PRODUCT, OFFER) if kind == PRODUCT else (IMAGE,)
        is_coming = key is not None and any(history.is_coming(each, key) for each in kinds)
        return Outcome(arrived.request_id, Result.UNCHANGED, self._version if is_coming else 0)

    def _is_held(self, picture: bytes, *, has_come: bool) -> bool:
        """Whether a picture came, now or before, and is on disk: its file alone may be about to be.

        One that came now may have been collected since by a clock that jumped ahead.
        """
        vectors = self._tables.vectors
        is_known = has_come or any(vectors.is_embedded([each], picture) for each in self._bundles)
        if is_known and self._folder.picture(picture).exists():
            return True
        return self._tables.waiting.is_kept(picture)

    def _changed(self, operation: Operation) -> bool:
        """Applies an operation; what waits for the same item waits no more."""
        tables = self._tables
        has_changed = apply(tables.history, operation)  # which refuses before anything changes
        match operation:
            case DeleteImage(image_id):
                self._superseded(tables.waiting.drop(image_id))
            case DeleteProduct(product_id):
                key = tables.history.known_key(PRODUCT, product_id)
                dropped = [] if key is None else tables.waiting.drop_product(key)
                for image_id, job in dropped:  # as if it had been embedded before
                    self._superseded(job)
                    apply(tables.history, DeleteImage(image_id))
            case KeepImage(image_id):
                key = tables.history.known_key(IMAGE, image_id)
                holds = key is not None and tables.history.value(IMAGE, key) is not None
                if not (holds or tables.waiting.is_coming(image_id)):
                    raise NotFound(f"There is no image {image_id!r}. Put it, with its picture.")
            case _:
                pass
        return has_changed

    def _superseded(self, job: int | None) -> None:
        """An image waits no more for a job, since something newer came."""
        if job is not None:
            self._counted[job]["skipped"] += 1
            self._has_superseded = True

    def _job(self, number: int) -> tuple[JobKind | None, Conflict | None]:
        """Kind of a job, and why it takes no more, if so."""
        if number not in self._jobs:
            self._jobs[number] = self._looked_up(number)
        return self._jobs[number]

    def _looked_up(self, number: int) -> tuple[JobKind | None, Conflict | None]:
        try:
            kind, state = self._tables.jobs.kind_and_state(number)
        except NotFound:  # it ended long ago
            return None, Conflict(f"The job {number} has ended. Open another.")
        if state is JobState.OPEN:
            return kind, None
        return kind, Conflict(f"The job {number} is {state.value}. Open another.")


def _check_request(request: Request, known: Answered | None) -> None:
    """Refuses a request id that is none, or was another operation's."""
    if not 1 <= len(request.id.encode()) <= MAX_ID_BYTES:
        raise InvalidOperation(
            f"Expected a request id of 1 to {MAX_ID_BYTES} bytes. Received "
            f"{len(request.id.encode())}."
        )
    if known is not None:
        raise Conflict(f"The request id {request.id!r} was another operation's. Give each its own.")


def _repeated(arrived: Arrived | Refused, known: Answered) -> Outcome:
    """As it was answered the first time."""
    result = Result(known.result)
    revision = arrived.revision if isinstance(arrived, Arrived) else 0
    reason = _skipped(revision) if result is Result.SKIPPED else ""
    return Outcome(arrived.request_id, result, known.version, reason, is_repeated=True)


def _skipped(revision: int) -> str:
    return f"A newer revision than {revision} was applied."


def _refused(arrived: Arrived | Refused, refusal: Refusal, reason: str) -> Outcome:
    return Outcome(arrived.request_id, Result.REFUSED, reason=reason, refusal=refusal)
