"""What waits together is worked on together; who is gone is left out, and nobody waits for ever."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.errors import QueryError, QuotaExceeded, ServerUnavailable
from pocketlens_server.query.micro_batches import MicroBatches


class Work:
    """Doubles numbers once it may; odd hundreds are refused, and 13 fails the whole batch."""

    def __init__(self) -> None:
        self.may_go, self.batches = threading.Event(), list[list[int]]()

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        assert self.may_go.wait(30)
        self.batches.append(list(numbers))
        if 13 in numbers:
            raise RuntimeError("a bug")
        return [QueryError(str(each)) if each >= 100 else 2 * each for each in numbers]


def batches_of(work: Work, **options: int) -> MicroBatches[int, int]:
    return MicroBatches(work, name="test", **({"most": 4, "waiting": 100} | options))  # type: ignore[arg-type]


async def settled() -> None:
    """Lets everything that may run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_who_comes_alone_does_not_wait() -> None:
    async def run() -> None:
        work = Work()
        work.may_go.set()
        batches = batches_of(work)
        for number in range(3):
            assert (await batches.done(number))[0] == 2 * number
        await batches.close()
        assert work.batches == [[0], [1], [2]]

    asyncio.run(run())


def test_who_comes_meanwhile_is_the_next_batch() -> None:
    async def run() -> None:
        work = Work()
        batches = batches_of(work)
        asked = [asyncio.ensure_future(batches.done(each)) for each in range(8)]
        await settled()
        assert batches.waiting == 7
        work.may_go.set()
        found = await asyncio.gather(*asked)
        assert [each for each, _ in found] == [2 * each for each in range(8)]
        assert all(seconds >= 0 for _, seconds in found)
        assert work.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]
        await batches.close()

    asyncio.run(run())


def test_who_is_gone_is_not_worked_on() -> None:
    async def run() -> None:
        work = Work()
        batches = batches_of(work)
        asked = [asyncio.ensure_future(batches.done(each)) for each in range(6)]
        await settled()
        for each in (1, 2, 4):
            asked[each].cancel()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):  # its time is over
                await batches.done(7)
        work.may_go.set()
        await asyncio.gather(*asked, return_exceptions=True)
        assert work.batches == [[0], [3, 5]]
        await batches.close()

    asyncio.run(run())


def test_of_who_is_gone_nothing_is_kept() -> None:
    """Their photos are counted no more, so they must not be there."""

    class Photo:
        pass

    async def run() -> None:
        may_go = threading.Event()
        batches = MicroBatches[Photo, bool](
            lambda photos: [may_go.wait(30) for _ in photos], most=1, waiting=9, name="test"
        )
        first, photo = asyncio.ensure_future(batches.done(Photo())), Photo()
        kept, gone = weakref.ref(photo), asyncio.ensure_future(batches.done(photo))
        del photo
        await settled()
        gone.cancel()
        await settled()
        del gone
        assert kept() is None
        may_go.set()
        assert (await first)[0]
        await batches.close()

    asyncio.run(run())


def test_whose_time_ends_with_a_batch_is_not_in_the_next() -> None:
    """However long the loop was busy: who is late hears of it before work is given out."""

    async def run() -> None:
        work = Work()
        batches, loop = batches_of(work), asyncio.get_running_loop()
        first = asyncio.ensure_future(batches.done(0))
        until = loop.time() + 0.05

        async def in_time() -> None:
            async with asyncio.timeout_at(until):
                await batches.done(1)

        late = asyncio.ensure_future(in_time())
        await settled()
        work.may_go.set()
        while not work.batches or loop.time() < until + 0.05:
            pass  # the loop sees the end of the batch and that of the time at once
        found = await asyncio.gather(first, late, return_exceptions=True)
        assert isinstance(found[1], TimeoutError)
        assert (await batches.done(2))[0] == 4
        assert work.batches == [[0], [2]]
        await batches.close()

    asyncio.run(run())


def test_no_more_wait_than_may_and_the_next_is_told_when_to_come() -> None:
    async def run() -> None:
        work = Work()
        batches = batches_of(work, waiting=3)
        asked = [asyncio.ensure_future(batches.done(each)) for each in range(4)]
        await settled()
        with pytest.raises(QuotaExceeded, match="Try again in") as refused:
            await batches.done(9)
        assert refused.value.retry_seconds > 0
        asked[2].cancel()  # leaves its place
        asked.append(asyncio.ensure_future(batches.done(5)))
        await settled()
        work.may_go.set()
        await asyncio.gather(*asked, return_exceptions=True)
        assert work.batches == [[0], [1, 3, 5]]
        await batches.close()

    asyncio.run(run())


def test_an_error_is_of_its_item_and_a_bug_of_its_batch_alone() -> None:
    async def run() -> None:
        work = Work()
        batches = batches_of(work)
        asked = [asyncio.ensure_future(batches.done(each)) for each in (1, 100, 2, 3, 4, 13, 5)]
        await settled()
        work.may_go.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [each[0] if isinstance(each, tuple) else type(each) for each in found] == [
            2, QueryError, 4, 6, 8, RuntimeError, RuntimeError,
        ]  # fmt: skip
        assert (await batches.done(6))[0] == 12
        await batches.close()

    asyncio.run(run())


def test_closing_finishes_what_waits_and_refuses_the_rest() -> None:
    async def run() -> None:
        work = Work()
        batches = batches_of(work)
        asked = [asyncio.ensure_future(batches.done(each)) for each in range(3)]
        await settled()
        closing = asyncio.ensure_future(batches.close())
        await settled()
        with pytest.raises(ServerUnavailable):
            await batches.done(9)
        work.may_go.set()
        await closing
        assert [each for each, _ in await asyncio.gather(*asked)] == [0, 2, 4]
        with pytest.raises(ServerUnavailable):
            await batches.done(9)

    asyncio.run(run())


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 99).filter(lambda each: each != 13), max_size=60),
    st.integers(1, 7),
    st.integers(1, 3),
)
def test_everybody_gets_their_own(numbers: list[int], most: int, workers: int) -> None:
    async def run() -> None:
        work = Work()
        work.may_go.set()
        batches = batches_of(work, most=most, workers=workers)
        found = await asyncio.gather(*map(batches.done, numbers))
        assert [each for each, _ in found] == [2 * each for each in numbers]
        assert all(len(batch) <= most for batch in work.batches)
        await batches.close()

    asyncio.run(run())
