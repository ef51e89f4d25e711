"""A catalogue behind a server's address, as a backend sees it.

with CatalogueClient("shop.example:8443", credentials=credentials) as shop:
    shop.apply(PatchProduct("mug", stock=3), revision=7)
    shop.publish(parent=shop.status().version)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pocketlens.errors import Conflict, PocketLensError
from pocketlens.sync.credentials import Credentials
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_server.catalogue.ingest import Replaced
from pocketlens_server.catalogue.operations import Operation
from pocketlens_server.catalogue.results import Outcome
from pocketlens_server.client.certificates import ClientCertificate
from pocketlens_server.client.connections import Connection, Patience
from pocketlens_server.client.streams import OperationStream
from pocketlens_server.client.target import RemoteTarget
from pocketlens_server.publishing.comparing import Comparison, Status
from pocketlens_server.services import catalog_messages
from pocketlens_server.storage.jobs import Job
from pocketlens_server.storage.waiting_images import DeadLetter

_SECONDS, _LONG_SECONDS = 30.0, 900.0  # to look at something, and to work on all there is
_WAIT_SECONDS = 50.0  # in one call; another follows
_FOR_EVER = float("inf")
_PAGE = 15  # dead letters in one answer: of images of a thousand products each it is 3 MB


@dataclass(frozen=True, slots=True)
class Served:
    """A generation at the newest version.

    Attributes:
        id: 32 bytes.
        state_hash: 32 bytes.
        images, products: Counts.
        snapshot_version, snapshot_bytes: Of what a new device takes.
    """

    id: bytes
    state_hash: bytes
    images: int
    products: int
    snapshot_version: int
    snapshot_bytes: int


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish did.

    Attributes:
        version: The newest now.
        is_new: Whether it was made by this; nothing waited otherwise.
        generations: That are served at it, oldest first.
    """

    version: int
    is_new: bool
    generations: Sequence[Served]


class CatalogueClient:
    """One catalogue; thread-safe. What may be repeated is, while the server does not answer."""

    def __init__(
        self,
        address: str,
        catalogue: str = "main",
        *,
        credentials: Credentials | None = None,
        certificate: ClientCertificate | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Connects when it is first used.

        Args:
            address: HOST:PORT.
            catalogue: Its name.
            credentials: A token of the scope "backend", and whom to trust.
            certificate: To show to a server that asks for one.
            patience: `Patience()` if None.
        """
        self._connection = Connection(
            address, credentials=credentials, certificate=certificate, patience=patience
        )
        self._catalogue = catalogue

    def __enter__(self) -> CatalogueClient:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the connection."""
        self.close()

    def close(self) -> None:
        """Closes the connection; closing again is no error."""
        self._connection.close()

    def stream(
        self, *, is_full_feed: bool = False, expected: int = 0, job: int = 0
    ) -> OperationStream:
        """A stream of operations; see `OperationStream`."""
        return OperationStream(
            self._connection,
            self._catalogue,
            is_full_feed=is_full_feed,
            expected=expected,
            job=job,
        )

    def apply(
        self,
        operation: Operation,
        *,
        picture: Path | bytes | None = None,
        revision: int = 0,
        request_id: str = "",
    ) -> Outcome:
        """Sends one operation, in a job of its own; see `OperationStream.send`.

        A worker that sends many keeps a stream open: it is many times as fast.
        """
        with self.stream(expected=1) as stream:
            future = stream.send(
                operation, picture=picture, revision=revision, request_id=request_id
            )
        return future.result()

    def target(self) -> RemoteTarget:
        """Where a push goes."""
        return RemoteTarget(self)

    def status(self) -> Status:
        """What there is, and what waits."""
        request = messages.GetCatalogueRequest(catalogue=self._catalogue)
        return catalog_messages.status_of(self._asked("GetCatalogue", request))

    def job(self, number: int) -> Job:
        """A job as it is.

        Raises:
            NotFound: There is none of that number.
        """
        request = messages.GetJobRequest(catalogue=self._catalogue, job=number)
        return catalog_messages.job_of(self._asked("GetJob", request).job)

    def wait(self, number: int, *, seconds: float | None = None) -> Job:
        """A job once it has ended, or as it is after so many seconds; None for however long."""
        request = messages.WaitForJobRequest(catalogue=self._catalogue, job=number)
        left = _FOR_EVER if seconds is None else seconds
        while True:
            some = min(left, _WAIT_SECONDS)
            request.milliseconds = int(some * 1000)
            answer = self._asked("WaitForJob", request, seconds=some + _SECONDS)
            job = catalog_messages.job_of(answer.job)
            left -= some
            if job.has_ended or left <= 0:
                return job

    def jobs(self, *, limit: int = 100, before: int = 0) -> list[Job]:
        """Jobs, newest first."""
        request = messages.ListJobsRequest(catalogue=self._catalogue, limit=limit, before=before)
        return [catalog_messages.job_of(each) for each in self._asked("ListJobs", request).jobs]

    def cancel(self, number: int, *, patience_seconds: float | None = None) -> Job:
        """Ends a job; what of it waits is dropped, what was applied stays.

        Args:
            number: Of the job.
            patience_seconds: To go on asking a server that does not answer, which then has as many
                to; None for the client's patience.

        Raises:
            Conflict: It has ended.
        """
        request = messages.CancelJobRequest(catalogue=self._catalogue, job=number)
        answer = self._connection.answered(
            self._connection.stub.CancelJob,
            request,
            seconds=_SECONDS if patience_seconds is None else patience_seconds,
            patience_seconds=patience_seconds,
        )
        return catalog_messages.job_of(answer.job)

    def dead_letters(self) -> list[DeadLetter]:
        """Images that were accepted and could not be embedded, oldest first."""
        found: list[DeadLetter] = []
        while True:
            request = messages.ListDeadLettersRequest(
                catalogue=self._catalogue, limit=_PAGE, after=found[-1].number if found else 0
            )
            letters = self._asked("ListDeadLetters", request).letters
            found += map(catalog_messages.letter_of, letters)
            if len(letters) < _PAGE:
                return found

    def retry(self, numbers: Collection[int] | None = None) -> int:
        """Lets dead letters wait again, all if it is None; how many do."""
        if numbers is not None and not numbers:  # to a server it would be all
            return 0
        request = messages.RetryDeadLettersRequest(catalogue=self._catalogue, numbers=numbers)
        return int(self._asked("RetryDeadLetters", request).retried)

    def purge(self, numbers: Collection[int] | None = None) -> int:
        """Forgets dead letters, all if it is None; how many there were of them."""
        if numbers is not None and not numbers:  # to a server it would be all
            return 0
        request = messages.PurgeDeadLettersRequest(catalogue=self._catalogue, numbers=numbers)
        return int(self._asked("PurgeDeadLetters", request).purged)

    def publish(
        self,
        *,
        parent: int | None = None,
        allowed_gates: Sequence[str] = (),
        rollout: float | None = None,
    ) -> Published:
        """Makes a version of all that was applied, and makes it visible.

        Args:
            parent: Only if this is the newest version; None for whatever it is.
            allowed_gates: Whose findings are meant.
            rollout: Share of devices that may take it; None for all.

        Raises:
            Conflict: `parent` is not the newest version: another published first, or this call did
                and its answer was lost, which the text says then.
            ServerError: A gate holds it; the text says which and why.
        """
        request = messages.PublishRequest(
            catalogue=self._catalogue, parent=parent, allowed_gates=allowed_gates, rollout=rollout
        )
        answer = self._connection.answered(
            self._connection.stub.Publish, request, seconds=_LONG_SECONDS, again=_maybe_its_own
        )
        generations = [
            Served(
                each.id,
                each.state_hash,
                each.images,
                each.products,
                each.snapshot_version,
                each.snapshot_bytes,
            )
            for each in answer.generations
        ]
        return Published(answer.version, answer.is_new, generations)

    def diff(self, base: int = 0, head: int = 0, *, limit: int = 100) -> Comparison:
        """What differs between two versions; by default what waits.

        Raises:
            InvalidOperation: There is no such version.
        """
        request = messages.DiffRequest(catalogue=self._catalogue, base=base, head=head, limit=limit)
        answer = self._asked("Diff", request, seconds=_LONG_SECONDS)
        return catalog_messages.comparison_of(answer)

    def roll_back(self, version: int, *, parent: int | None = None) -> int:
        """Lets everything be as at an earlier version; how much changes. It waits to be published.

        Raises:
            Conflict: `parent` is not the newest version.
            ServerError: There is no such version any more.
        """
        request = messages.RollbackRequest(
            catalogue=self._catalogue, version=version, parent=parent
        )
        return int(self._asked("Rollback", request, seconds=_LONG_SECONDS).changed)

    def replace(self, job: int, *, revision: int = 0, lost_share: float | None = None) -> Replaced:
        """Deletes what a full feed has not named; see `Ingest.replace`."""
        request = messages.ReplaceRequest(
            catalogue=self._catalogue, job=job, revision=revision, lost_share=lost_share
        )
        answer = self._asked("Replace", request, seconds=_LONG_SECONDS)
        return Replaced(
            answer.deleted_products, answer.deleted_images, catalog_messages.job_of(answer.job)
        )

    def _asked(self, method: str, request: object, *, seconds: float = _SECONDS) -> Any:
        call = getattr(self._connection.stub, method)
        return self._connection.answered(call, request, seconds=seconds)


def _maybe_its_own(error: PocketLensError) -> PocketLensError:
    """Of a publish that was asked for again: whose the newest version is nothing tells."""
    if not isinstance(error, Conflict):
        return error
    return Conflict(
        f"{error} It was asked before, without an answer: the newest may be what that published."
    )
