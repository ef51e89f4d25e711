"""Requests that wait together are worked on together: as many at once as have come meanwhile.

    batches = MicroBatches(embed_many, most=16, waiting=256, name="embed")
    embedding, queue_seconds = await batches.done(tensor)

Nobody waits for company: a worker that is free takes what there is. While it works others come, and
they are its next batch, so that batches are as large as the load. Whoever is gone, or whose time is
over, leaves the queue, and is let go with it. No more wait than may; the next one is told when to
come again.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

from pocketlens.errors import QuotaExceeded, ServerUnavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

_SLOWEST_FIRST_SECONDS = 0.1  # a batch is thought to take, before one was seen


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    future: asyncio.Future[tuple[Result, float]]
    since: float = field(default_factory=monotonic)


class MicroBatches(Generic[Item, Result]):
    """One kind of work; used from one loop, done in threads of its own."""

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        *,
        most: int,
        waiting: int,
        name: str,
        workers: int = 1,
        worked: Callable[[int], object] = lambda count: None,
    ) -> None:
        """Begins idle.

        Args:
            work: Items to as many results, in their order; an Exception in the place of a result
                is that item's alone, one that is raised is every item's.
            most: Items of a batch.
            waiting: Items at most that are not being worked on.
            name: Of the threads.
            workers: Batches at once.
            worked: Told the size of each batch.
        """
        self._work, self._most, self._waiting_most, self._worked = work, most, waiting, worked
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._free, self._workers = workers, workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=f"pocketlens-{name}")
        self._tasks: set[asyncio.Task[None]] = set()
        self._batch_seconds, self._is_closed = _SLOWEST_FIRST_SECONDS, False

    @property
    def waiting(self) -> int:
        """Items that are not being worked on yet, and whose callers are there."""
        return sum(not each.future.done() for each in self._queue)

    async def done(self, item: Item) -> tuple[Result, float]:
        """The result of an item, and the seconds that it waited; cancelled, it is not worked on.

        Raises:
            QuotaExceeded: As many wait as may.
            ServerUnavailable: The server is about to end.
        """
        if self._is_closed:
            raise ServerUnavailable("The server is about to end. Try again.")
        if len(self._queue) >= self._waiting_most:
            batches = -(-len(self._queue) // self._most)
            seconds = max(0.1, batches * self._batch_seconds / self._workers)
            raise QuotaExceeded(
                f"{len(self._queue)} photos wait already. Try again in {seconds:.1f} s.",
                retry_seconds=seconds,
            )
        waiting = _Waiting[Item, Result](item, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._begin()
        try:
            return await waiting.future
        except asyncio.CancelledError:
            with suppress(ValueError):  # it is worked on
                self._queue.remove(waiting)
            raise

    async def close(self) -> None:
        """Refuses more, and ends when nothing waits any more; closing again is no error."""
        self._is_closed = True
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)

    def _begin(self) -> None:
        while self._free and (batch := self._next()):
            self._free -= 1
            task = asyncio.create_task(self._run(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next(self) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        while self._queue and len(batch) < self._most:
            each = self._queue.popleft()
            if not each.future.done():  # a caller that is gone has cancelled it
                batch.append(each)
        return batch

    async def _run(self, batch: list[_Waiting[Item, Result]]) -> None:
        began = monotonic()
        self._worked(len(batch))
        try:
            items = [each.item for each in batch]
            loop = asyncio.get_running_loop()
            results: Sequence[Result | Exception] = await loop.run_in_executor(
                self._threads, self._work, items
            )
        except Exception as exc:  # told to each who waits
            results = [exc] * len(batch)
        self._batch_seconds = monotonic() - began
        self._free += 1
        for each, result in zip(batch, results, strict=True):
            if each.future.done():
                continue
            if isinstance(result, Exception):
                each.future.set_exception(result)
            else:
                each.future.set_result((result, began - each.since))
        self._begin()
