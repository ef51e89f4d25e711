"""A catalogue that is being served: operations of all streams in, and pictures embedded.

    live = LiveCatalogue(folder, clock=clock, decoders=decoders)
    live.start()
    outcome = await live.submitted(stream, arrived)

Streams take turns: a batch takes some operations of each, so that nobody waits for the thousands
of another. What changes tables quickly, what takes long, what embeds, what compares and what asks
have threads of their own.

Where another process holds the tables for too long, whatever was to be done raises
ServerUnavailable: the same may be done again later.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TypeVar

from pocketlens.errors import Conflict, PocketLensError, ServerError, ServerUnavailable
from pocketlens_server.catalogue.batches import Arrived, Refused
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.catalogue.embedders import Embedders
from pocketlens_server.catalogue.ingest import Ingest
from pocketlens_server.catalogue.results import Outcome, Result
from pocketlens_server.catalogue.settling import settle
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.storage.database_errors import is_held
from pocketlens_server.storage.jobs import Job
from pocketlens_server.storage.waiting_images import DeadLetter
from pocketlens_server.telemetry import Telemetry

logger = logging.getLogger(__name__)

Value = TypeVar("Value")
Queued = tuple[Arrived | Refused, "asyncio.Future[Outcome]"]

# Operations a transaction: some 15 ms of work, beside which its fsync is small. With four times as
# many all together are a sixth faster, and who sends one waits three times as long (ingest.py of
# the benchmarks).
BATCH = 128
TURN = 8  # of one stream in a batch, while others wait
_THREADS = {"write": 1, "publish": 1, "embed": 1, "keep": 2, "compare": 1, "ask": 2}
_BUSY_SECONDS = 60  # that a command beside the server may write for
_LOOK_SECONDS = 5  # between looks at what another process has brought
_ASK_SECONDS = 0.25  # between questions after a job; most jobs of one picture end before
_RETRY_SECONDS = 30  # after embedding failed


class LiveCatalogue:
    """One catalogue of a server that runs; used from one loop.

    Attributes:
        folder: Of the catalogue, where writing takes turns.
        ingest: The way into it.
        applied: Operations that it has applied, and images that it has let hold once they were
            embedded.
    """

    def __init__(
        self,
        folder: CatalogueFolder,
        *,
        clock: Callable[[], datetime],
        decoders: Decoders,
        telemetry: Telemetry,
    ) -> None:
        """Takes a catalogue's folder; `start` begins.

        Args:
            folder: Of the catalogue.
            clock: For jobs and dead letters.
            decoders: Of the whole server.
            telemetry: What happens is counted there.
        """
        self.folder = folder.keeping(busy_seconds=_BUSY_SECONDS)
        self.ingest = Ingest(self.folder, clock=clock)
        self.applied = 0
        self._clock, self._decoders, self._telemetry = clock, decoders, telemetry
        self._embedders = Embedders(self.folder)
        self._streams: dict[object, deque[Queued]] = {}
        self._in_use: Counter[int] = Counter()
        self._has_come, self._may_embed = asyncio.Event(), asyncio.Event()
        self._threads = {
            kind: ThreadPoolExecutor(count, f"{kind}-{folder.name}")
            for kind, count in _THREADS.items()
        }
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to write and to embed."""
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._embed())]

    async def stop(self) -> None:
        """Ends, once every operation that was taken is answered."""
        writing, embedding = self._tasks[:1], self._tasks[1:]
        for task in embedding:  # at once: it is no error that decoders are closed from now on
            task.cancel()
        while any(not task.done() for task in writing) and self._has_come.is_set():
            await asyncio.sleep(0.01)
        for task in writing:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for threads in self._threads.values():
            await asyncio.to_thread(threads.shutdown)
        self._embedders.close()
        if self.folder.kept is not None:
            await asyncio.to_thread(self.folder.kept.close)

    def submitted(self, stream: object, arrived: Arrived | Refused) -> asyncio.Future[Outcome]:
        """What becomes of an operation, once it is on disk.

        Args:
            stream: Who sends it: operations of one are taken in the order of these calls.
            arrived: The operation.

        Returns:
            That raises ServerError or StoreFull where nothing of its batch was changed; the same
            may be sent again. It raises Conflict where the job has ended.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._streams.setdefault(stream, deque()).append((arrived, future))
        self._has_come.set()
        return future

    @contextmanager
    def going_on(self, number: int) -> Iterator[None]:
        """While a stream goes on with a job, which may be silent for long."""
        self._in_use[number] += 1
        try:
            yield
        finally:
            self._in_use[number] -= 1
            self._in_use += Counter()  # those with none are forgotten

    @property
    def in_use(self) -> frozenset[int]:
        """Jobs that streams go on with: none of them is abandoned."""
        return frozenset(self._in_use)

    async def change(self, work: Callable[[], Value]) -> Value:
        """Runs what changes tables and is soon done."""
        return await self._run("write", work)

    async def publish(self, work: Callable[[], Value]) -> Value:
        """Runs what changes tables and may take long; one such at a time."""
        with self._telemetry.publish_seconds.labels(catalogue=self.folder.name).time():
            return await self._run("publish", work)

    async def keep(self, work: Callable[[], Value]) -> Value:
        """Runs what writes files of pictures."""
        return await self._run("keep", work)

    async def ask(self, work: Callable[[], Value]) -> Value:
        """Runs what only reads, and is soon done."""
        return await self._run("ask", work)

    async def compare(self, work: Callable[[], Value]) -> Value:
        """Runs what only reads, and may take long; one such at a time."""
        return await self._run("compare", work)

    async def wait_for(self, number: int, *, seconds: float) -> Job:
        """A job once it has ended, or as it is after so many seconds.

        Raises:
            NotFound: There is none of that number.
        """
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + seconds, _ASK_SECONDS / 16
        while True:
            job = await self.ask(lambda: self.job(number))
            left = until - loop.time()
            if job.has_ended or left <= 0:
                return job
            # Woken by every change, those who wait would take what the changes need.
            await asyncio.sleep(min(left, pause))
            pause = min(2 * pause, _ASK_SECONDS)

    def job(self, number: int) -> Job:
        """A job as it is.

        Raises:
            NotFound: There is none of that number.
        """
        with self.folder.reading() as tables:
            return tables.jobs.get(number)

    def jobs(self, *, limit: int, before: int) -> list[Job]:
        """Jobs, newest first; see `Jobs.newest`."""
        with self.folder.reading() as tables:
            return tables.jobs.newest(limit=limit, before=before)

    def dead_letters(self, *, limit: int, after: int) -> list[DeadLetter]:
        """Dead letters, oldest first; see `DeadLetters.listed`."""
        with self.folder.reading() as tables:
            return tables.dead_letters.listed(limit=limit, after=after)

    def embed_soon(self) -> None:
        """Lets pictures that wait be looked at now."""
        self._may_embed.set()

    async def _run(self, kind: str, work: Callable[[], Value]) -> Value:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads[kind], work)
        except ServerError as exc:
            if not is_held(exc):
                raise
            raise ServerUnavailable("Another process holds the catalogue. Try again.") from exc

    async def _write(self) -> None:
        """Takes batches, for ever."""
        while True:
            await self._has_come.wait()
            batch = self._next_batch()
            waiting = self._telemetry.operations_waiting.labels(catalogue=self.folder.name)
            waiting.set(sum(map(len, self._streams.values())))
            if batch:
                await self._take(batch)
            else:
                self._has_come.clear()

    def _next_batch(self) -> list[Queued]:
        """Some of what each stream has sent, round after round while there is room."""
        batch: list[Queued] = []
        while self._streams and len(batch) < BATCH:
            for stream, queued in list(self._streams.items()):
                if len(batch) == BATCH:
                    break  # the others are first in the next
                for _ in range(min(TURN, len(queued), BATCH - len(batch))):
                    batch.append(queued.popleft())
                del self._streams[stream]
                if queued:
                    self._streams[stream] = queued  # behind the others
        return batch

    async def _take(self, batch: list[Queued]) -> None:
        arrived = [each for each, _ in batch]
        try:
            outcomes = await self.change(lambda: self.ingest.submit(arrived))
        except (ServerError, ServerUnavailable) as exc:  # of the tables, whatever was sent
            logger.warning("ingest.failed catalogue=%s error=%s", self.folder.name, exc)
            _fail(batch, ServerUnavailable(str(exc)))
            return
        except PocketLensError as exc:
            _fail(batch, exc)
            return
        except Exception:  # a bug: who waits must be told, and the others go on
            logger.exception("ingest.failed catalogue=%s", self.folder.name)
            if len(batch) == 1:
                _fail(batch, ServerUnavailable("The server failed. Send it again."))
                return
        else:
            self._answer(batch, outcomes)
            return
        for each in batch:  # it may be met by one alone
            await self._take([each])

    def _answer(self, batch: list[Queued], answers: list[Outcome | Conflict]) -> None:
        outcomes: list[Outcome] = []
        for each, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Conflict):
                _fail([each], answer)
                continue
            outcomes.append(answer)
            if not each[1].done():  # its caller may be gone
                each[1].set_result(answer)
        results = Counter(each.result for each in outcomes if not each.is_repeated)
        self.applied += results[Result.APPLIED]
        name, counted = self.folder.name, self._telemetry
        for result, count in results.items():
            counted.operations.labels(catalogue=name, outcome=result.value).inc(count)
        reused = sum(each.is_embedding_reused for each in outcomes)
        counted.embeddings.labels(catalogue=name, origin="reused").inc(reused)
        if results[Result.WAITING]:
            self.embed_soon()

    async def _embed(self) -> None:
        """Embeds what waits, for ever; what another process has brought too."""
        while True:
            self._may_embed.clear()
            pictures = None
            try:
                pictures = await self._run("embed", self._settle)
            except PocketLensError as exc:
                logger.warning("embedding.failed catalogue=%s error=%s", self.folder.name, exc)
            except Exception:  # a bug, or a system out of files: later it may do better
                logger.exception("embedding.failed catalogue=%s", self.folder.name)
            if pictures is None:  # not in `except`, where all that the error names is kept
                await asyncio.sleep(_RETRY_SECONDS)
            elif not pictures:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._may_embed.wait()

    def _settle(self) -> int:
        settled = settle(
            self.folder, clock=self._clock, decoders=self._decoders, embedders=self._embedders
        )
        self.applied += settled.images
        made = self._telemetry.embeddings.labels(catalogue=self.folder.name, origin="made")
        made.inc(settled.embedded)
        return settled.pictures


def _fail(batch: list[Queued], error: PocketLensError) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
            future.exception()  # its caller may be gone, and then nobody looks at it
