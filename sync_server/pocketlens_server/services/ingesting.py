"""One stream of operations: messages in, pictures kept, outcomes out in the same order.

    async for response in Ingesting(live, requests).responses(): ...

No more than a window of operations waits for its outcome, in number and in bytes, and no more than
one part of a picture is in memory: who sends faster is held back by the connection itself.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress

from pocketlens.errors import CatalogError, InvalidOperation
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_server import callers
from pocketlens_server.catalogue.batches import Arrived, Refused, Request
from pocketlens_server.catalogue.live_catalogue import LiveCatalogue
from pocketlens_server.catalogue.pictures import Arriving, check_size, keep
from pocketlens_server.catalogue.results import Outcome
from pocketlens_server.services import catalog_messages
from pocketlens_server.services.window import Window
from pocketlens_server.storage.jobs import Job

WINDOW = 256  # operations of a stream that wait for their outcome
WINDOW_BYTES = 4 << 20  # of them: a product with all that it may have is 2 MiB, a usual one 300 B
MAX_TOGETHER = 100  # operations of one message
_NOT_WHOLE = "Expected all parts of the picture before anything else."

_Waiting = asyncio.Future[Outcome] | list[asyncio.Future[Outcome]]
"""Of one operation, or of several that came together."""


class Ingesting:
    """The operations of one stream, which belong to one job."""

    def __init__(
        self, live: LiveCatalogue, requests: AsyncIterator[messages.IngestRequest]
    ) -> None:
        """Takes a stream, at its first message."""
        self._live, self._requests = live, requests
        self._caller = callers.current().id
        self._outcomes: asyncio.Queue[_Waiting | None] = asyncio.Queue()
        self._window = Window(operations=WINDOW, size_bytes=WINDOW_BYTES)
        # An operation whose picture comes in parts, which are passed over where it was refused.
        self._announced: tuple[messages.Operation, Arriving] | None = None
        self._takes_parts = False

    async def responses(self) -> AsyncGenerator[messages.IngestResponse, None]:
        """Yields the job, an outcome for each operation, and the job again.

        When the stream ends as it should the job is closed then; one that breaks may be gone on
        with.

        Raises:
            InvalidOperation: A message is not what comes at its place.
            NotFound, NotAuthorized, Conflict: There is no such job to go on with.
            ServerError, StoreFull: What was not answered may be sent again.
        """
        first = await anext(self._requests, None)
        if first is None or first.WhichOneof("message") != "open":
            raise InvalidOperation("Expected `open` in the first message of a stream.")
        job = await self._opened(first.open)
        yield messages.IngestResponse(opened=catalog_messages.job_message(job))
        reading = asyncio.create_task(self._read(job))
        try:
            with self._live.going_on(job.number):
                while (waiting := await self._outcomes.get()) is not None:
                    yield await self._answer(waiting)
                await reading  # raises what ended it
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, Exception):  # it was told above, or nobody asks
                await reading
            half = self._announced
            if half is not None:
                half[1].discard()
        # To gRPC a connection that is cut is an end of requests like any other. Only one after
        # which an answer can still be sent was meant, and only then is half a picture a refusal.
        found = await self._live.ask(lambda: self._live.job(job.number))
        yield messages.IngestResponse(opened=catalog_messages.job_message(found))
        if half is not None:
            refused = _refused(job, half[0], _NOT_WHOLE)
            yield await self._answer(self._live.submitted(self, refused))
        await self._live.change(lambda: self._live.ingest.close(job.number))

    async def _opened(self, wanted: messages.OpenJob) -> Job:
        ingest, caller = self._live.ingest, self._caller
        if wanted.job:
            return await self._live.change(lambda: ingest.resume(wanted.job, caller=caller))
        in_use, has_left = self._live.in_use, threading.Event()

        def opened() -> Job:
            job = ingest.open(
                caller=caller,
                is_full_feed=wanted.is_full_feed,
                expected=min(wanted.expected, 1 << 40),
                in_use=in_use,
            )
            return ingest.cancel(job.number) if has_left.is_set() else job

        try:
            return await self._live.change(opened)
        except asyncio.CancelledError:  # while a publish wrote: nobody would end what comes of it
            has_left.set()
            raise

    async def _answer(self, waiting: _Waiting) -> messages.IngestResponse:
        """What came together is answered together."""
        several = waiting if isinstance(waiting, list) else [waiting]
        outcomes = [catalog_messages.outcome_message(await each) for each in several]
        self._window.leave()
        if isinstance(waiting, list):
            return messages.IngestResponse(outcomes=messages.Outcomes(outcomes=outcomes))
        return messages.IngestResponse(outcome=outcomes[0])

    async def _read(self, job: Job) -> None:
        """Reads on while there is room for outcomes."""
        try:
            async for request in self._requests:
                match request.WhichOneof("message"):
                    case "operation":
                        size_bytes = catalog_messages.waiting_bytes(request.operation)
                        await self._window.enter(1, size_bytes=size_bytes)
                        self._answer_half_a_picture(job)
                        await self._begin(job, request.operation)
                    case "operations":
                        await self._begin_all(job, request.operations.operations)
                    case "picture_part":
                        await self._go_on(job, request.picture_part)
                    case _:
                        raise InvalidOperation(
                            "Expected an operation. Received nothing known here."
                        )
        finally:
            self._outcomes.put_nowait(None)

    async def _begin_all(self, job: Job, several: Sequence[messages.Operation]) -> None:
        """Operations without pictures."""
        if not 1 <= len(several) <= MAX_TOGETHER:
            raise InvalidOperation(
                f"Expected 1 to {MAX_TOGETHER} operations in a message. Received {len(several):,}."
            )
        size_bytes = sum(map(catalog_messages.waiting_bytes, several))
        await self._window.enter(len(several), size_bytes=size_bytes)
        self._answer_half_a_picture(job)
        self._takes_parts = False
        arrived = [self._arrived(job, each) for each in several]
        self._outcomes.put_nowait([self._live.submitted(self, each) for each in arrived])

    async def _begin(self, job: Job, message: messages.Operation) -> None:
        """An operation; its picture may follow in parts."""
        self._takes_parts = False
        put = message.put_image
        size_bytes = put.picture_bytes or len(put.picture)
        if message.WhichOneof("change") != "put_image" or not size_bytes:
            self._submit(job, message)
            return
        self._takes_parts = size_bytes > len(put.picture)
        try:
            catalog_messages.check_counts(message)
            check_size(size_bytes, come=len(put.picture))
            if not self._takes_parts:
                sha256 = await self._live.keep(lambda: keep(self._live.folder, put.picture))
                self._submit_shown(job, message, sha256)
                return
            arriving = Arriving(self._live.folder, size_bytes=size_bytes)
        except InvalidOperation as exc:
            self._refuse(job, message, str(exc))
            return
        self._announced = message, arriving
        if put.picture:
            await self._go_on(job, put.picture)

    async def _go_on(self, job: Job, part: bytes) -> None:
        """The next part of a picture."""
        if not self._takes_parts:
            raise InvalidOperation("Expected an operation. Received a part of no picture.")
        if self._announced is None:  # of one that was refused
            return
        message, arriving = self._announced
        try:
            await self._live.keep(lambda: arriving.write(part))
            if arriving.is_whole:
                sha256 = await self._live.keep(arriving.keep)
                self._announced, self._takes_parts = None, False  # so far it may be discarded
                self._submit_shown(job, message, sha256)
        except InvalidOperation as exc:
            self._announced = None
            arriving.discard()
            self._refuse(job, message, str(exc))

    def _answer_half_a_picture(self, job: Job) -> None:
        """Refuses the operation whose picture has not come whole before the next one."""
        if self._announced is not None:
            message, arriving = self._announced
            self._announced = None
            arriving.discard()
            self._refuse(job, message, _NOT_WHOLE)

    def _submit_shown(self, job: Job, message: messages.Operation, sha256: bytes) -> None:
        """An image whose picture has come."""
        said = message.put_image.picture_sha256
        if said and said != sha256:
            self._refuse(job, message, "The picture is not the one of `picture_sha256`.")
            return
        message.put_image.picture_sha256 = sha256
        self._submit(job, message, has_picture=True)

    def _submit(self, job: Job, message: messages.Operation, *, has_picture: bool = False) -> None:
        arrived = self._arrived(job, message, has_picture=has_picture)
        self._outcomes.put_nowait(self._live.submitted(self, arrived))

    def _arrived(
        self, job: Job, message: messages.Operation, *, has_picture: bool = False
    ) -> Arrived | Refused:
        """An operation on its way; what cannot be read as one is refused alone."""
        put = message.put_image
        if (put.picture or put.picture_bytes) and not has_picture:
            return _refused(job, message, "Expected a picture to come alone, or its hash.")
        try:
            operation = catalog_messages.operation_of(message)
        except (InvalidOperation, CatalogError) as exc:
            return _refused(job, message, str(exc))
        request = Request(message.request_id, catalog_messages.digest(message))
        return Arrived(job.number, operation, message.revision, request, has_picture)

    def _refuse(self, job: Job, message: messages.Operation, reason: str) -> None:
        self._outcomes.put_nowait(self._live.submitted(self, _refused(job, message, reason)))


def _refused(job: Job, message: messages.Operation, reason: str) -> Refused:
    named = catalog_messages.named_by(message)
    return Refused(job.number, message.request_id, reason, named)
