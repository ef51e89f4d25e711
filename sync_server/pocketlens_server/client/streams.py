"""Operations to a server in one stream, each with a future for its outcome.

    with OperationStream(connection, "main") as stream:
        outcome = stream.send(PatchProduct("mug", stock=3), revision=7).result()

A stream that breaks is opened again and goes on with its job: operations that were not answered are
sent again under the request ids they had, by which the server applies none twice.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import threading
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import islice
from math import inf
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

import grpc

from pocketlens.errors import Conflict, InvalidOperation, ServerUnavailable
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_server.catalogue.operations import Operation
from pocketlens_server.catalogue.results import Outcome, Refusal, Result
from pocketlens_server.client.connections import Connection, Waits
from pocketlens_server.client.sent import MESSAGE_BYTES, Sent, message_of, with_picture
from pocketlens_server.services import catalog_messages
from pocketlens_server.storage.jobs import Job

logger = logging.getLogger(__name__)

WINDOW = 512  # operations that are not answered; `send` waits while there are as many
HELD_BYTES = 64 << 20  # of pictures among them that were given as bytes: one of any size
TOGETHER = 64  # operations of one message: with four times as many it is a tenth faster
_FRAME_BYTES = 5  # around each of the operations of a message, at most
_STREAM_SECONDS = 3000.0  # less than a server lets a stream last; another goes on with the job


class OperationStream:
    """One job of operations; thread-safe. An error that ends it is raised by every later call."""

    def __init__(
        self,
        connection: Connection,
        catalogue: str,
        *,
        is_full_feed: bool = False,
        expected: int = 0,
        job: int = 0,
    ) -> None:
        """Opens a job, or goes on with one.

        Args:
            connection: To the server.
            catalogue: Its name.
            is_full_feed: Whether the job will name everything there is.
            expected: Operations that are to come; 0 where unknown.
            job: Number of an open one to go on with; 0 for a new one.

        Raises:
            PocketLensError: The server refused, or does not answer.
        """
        self._connection, self._catalogue = connection, catalogue
        self._open = messages.OpenJob(job=job, is_full_feed=is_full_feed, expected=expected)
        self._state = threading.Condition()
        self._unanswered: deque[Sent] = deque()
        self._held_bytes = 0
        self._sent = 0  # of them, on the stream that is open
        self._attempt = 0
        self._call: grpc.Call | None = None
        self._has_come = False  # an outcome, on that stream
        self._opened_at = inf  # that stream, on the monotonic clock
        self._is_closing = False
        self._is_whole = False  # all is answered, and the job has ended without word of it
        self._error: BaseException | None = None
        self._job: Future[Job] = Future()
        self._thread = threading.Thread(target=self._run, name="operations", daemon=True)
        self._thread.start()
        self._job.result()

    @property
    def job(self) -> Job:
        """The job as it was when it was opened."""
        return self._job.result()

    def __enter__(self) -> OperationStream:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it; after an error the job stays open, so that it can be gone on with."""
        if kind is None:
            self.close()
        else:
            self.abandon()

    def send(
        self,
        operation: Operation,
        *,
        picture: Path | bytes | None = None,
        revision: int = 0,
        request_id: str = "",
        hash_first: bool = False,
    ) -> Future[Outcome]:
        """Sends an operation; waits while too many are not answered.

        Args:
            operation: The change; of an image the hash of its picture is found here.
            picture: File or bytes of an image's picture.
            revision: Of the item; 0 for none.
            request_id: By which the server knows it; one is made if empty. Name it where the same
                operation may be sent by another process later.
            hash_first: Whether the picture is sent only if the server does not have it. Nothing
                else of the same image may be sent before the outcome is there.

        Returns:
            What became of it, once that is on disk; it raises what ended the stream before. It
            cannot be cancelled: what was sent is on its way.

        Raises:
            OSError: The picture cannot be read. Where its file is gone only later the operation is
                sent by its hash, and refused if the server does not have it.
            InvalidOperation: The stream was closed.
            PocketLensError: The stream has ended by an error.
        """
        request_id = request_id or uuid.uuid4().hex
        future: Future[Outcome] = Future()
        future.set_running_or_notify_cancel()  # cancelled, it could not take its outcome
        try:
            message = message_of(operation, picture, revision, request_id)
        except InvalidOperation as exc:  # as the server refuses others, which go on
            refused = Outcome(request_id, Result.REFUSED, reason=str(exc), refusal=Refusal.INVALID)
            future.set_result(refused)
            return future
        sent = Sent(message, picture, picture is not None and not hash_first, future)
        with self._state:
            self._state.wait_for(
                lambda: self._has_room(sent) or self._is_closing or self._error is not None
            )
            self._check()
            if self._is_closing:
                raise InvalidOperation("Expected an open stream. This one was closed.")
            self._unanswered.append(sent)
            self._held_bytes += sent.held_bytes
            self._state.notify_all()
        return future

    def close(self) -> None:
        """Ends the job, once every operation is answered; closing again is no error.

        Raises:
            PocketLensError: The stream has ended by an error.
        """
        with self._state:
            self._is_closing = True
            self._state.notify_all()
        self._thread.join()
        if not self._is_whole:
            self._check()

    def abandon(self) -> None:
        """Ends the stream and leaves the job open; what was not answered may hold or not."""
        with self._state:
            self._error = self._error or ServerUnavailable("The stream was abandoned.")
            if self._call is not None:
                self._call.cancel()  # before its requests end, which would end the job
            self._state.notify_all()
        self._thread.join()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _has_room(self, sent: Sent) -> bool:
        held_bytes = self._held_bytes and self._held_bytes + sent.held_bytes
        return len(self._unanswered) < WINDOW and held_bytes <= HELD_BYTES

    def _run(self) -> None:
        """Streams, one after the other, until all is answered or nothing goes on."""
        waits = self._connection.waits()
        while True:
            self._has_come, self._opened_at = False, inf
            try:
                self._stream()
            except grpc.RpcError as exc:
                if self._has_got_on():
                    waits = self._connection.waits()
                if self._goes_on(exc, waits):
                    continue
            except Exception as exc:  # whatever it is, who waits must be told
                self._end(exc)
            return

    def _has_got_on(self) -> bool:
        """Whether the stream that broke was of use: to be opened alone is none."""
        return self._has_come or monotonic() - self._opened_at > self._connection.patience.seconds

    def _goes_on(self, exc: grpc.RpcError, waits: Waits) -> bool:
        """Waits after a stream that broke; whether there is to be another."""
        error = self._connection.error(exc)
        is_late = exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        seconds = waits.after(exc) if is_late or isinstance(error, ServerUnavailable) else None
        if seconds is None:
            self._end(error)
            return False
        logger.debug("operations.again error=%s", error)
        with self._state:
            self._state.wait_for(lambda: self._error is not None, seconds)
        return True

    def _stream(self) -> None:
        """One stream, to its end, with which the job is closed."""
        with self._state:
            self._check()
            self._attempt += 1
            self._sent = 0
            call = self._connection.stub.Ingest(
                self._requests(self._attempt),
                timeout=_STREAM_SECONDS,
                metadata=self._connection.metadata,
            )
            self._call = call
        try:
            for response in call:
                self._take(response)
        finally:
            call.cancel()  # one that has ended stays as it ended
            with self._state:
                self._attempt += 1  # its requests end
                self._state.notify_all()
        if self._unanswered or not self._is_closing:
            raise ServerUnavailable("The server has ended the stream before its end.")

    def _take(self, response: Any) -> None:
        if response.WhichOneof("message") == "opened":
            self._opened_at = monotonic()
            self._open.job = response.opened.number
            if not self._job.done():
                self._job.set_result(catalog_messages.job_of(response.opened))
            return
        self._has_come = True
        several = response.outcomes.outcomes or [response.outcome]
        answered: list[tuple[Future[Outcome], Outcome]] = []
        with self._state:
            for outcome in map(catalog_messages.outcome_of, several):
                sent = self._unanswered.popleft()
                self._sent -= 1
                if sent.needs_picture(outcome):
                    sent.sends_picture = True
                    self._unanswered.append(sent)
                else:
                    self._held_bytes -= sent.held_bytes
                    answered.append((sent.future, sent.told(outcome)))
            self._state.notify_all()
        for future, outcome in answered:
            future.set_result(outcome)

    def _requests(self, attempt: int) -> Iterator[messages.IngestRequest]:
        """What one stream sends: what is not answered, then what comes, until it is closed."""
        yield messages.IngestRequest(catalogue=self._catalogue, open=self._open)
        while True:
            with self._state:
                self._state.wait_for(
                    lambda: (
                        self._attempt != attempt
                        or self._error is not None
                        or self._sent < len(self._unanswered)
                        or (self._is_closing and not self._unanswered)
                    )
                )
                if self._attempt != attempt or self._error is not None:
                    return
                if self._sent == len(self._unanswered):
                    return
                some = self._next()
                self._sent += len(some)
            if len(some) == 1:
                yield from with_picture(some[0])
            else:
                together = messages.Operations(operations=[each.message for each in some])
                yield messages.IngestRequest(operations=together)

    def _next(self) -> list[Sent]:
        """What goes into the next message: as many as are there, or one with its picture."""
        some: list[Sent] = []
        left_bytes = MESSAGE_BYTES
        for sent in islice(self._unanswered, self._sent, self._sent + TOGETHER):
            left_bytes -= sent.message.ByteSize() + _FRAME_BYTES
            if some and (sent.sends_picture or left_bytes < 0):
                break
            some.append(sent)
            if sent.sends_picture:
                break
        return some

    def _end(self, error: BaseException) -> None:
        with self._state:
            self._error = error = self._error or error
            left = list(self._unanswered)
            self._is_whole = isinstance(error, Conflict) and self._job.done() and not left
            self._unanswered.clear()
            self._state.notify_all()
        if not self._job.done():
            self._job.set_exception(error)
        for each in left:
            each.future.set_exception(error)
