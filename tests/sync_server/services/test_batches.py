"""What was begun for a call is waited for, and what fails of it looks as if it were done."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc.aio
import pytest

from pocketlens_server.services.batches import Loop, finished

Value = TypeVar("Value")


def run(story: Coroutine[Any, Any, Value]) -> Value:
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(story)


def test_what_was_begun_goes_on_where_who_waits_for_it_is_cancelled() -> None:
    async def story() -> list[str]:
        told, begun, may_end = list[str](), asyncio.Event(), asyncio.Event()

        async def batch() -> None:
            begun.set()
            await may_end.wait()
            told.append("done")

        async def call() -> None:
            try:
                await finished(batch())
            finally:
                told.append("cancelled")

        task = asyncio.create_task(call())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        may_end.set()
        async with asyncio.timeout(5):
            while len(told) < 2:
                await asyncio.sleep(0)
        return told

    assert run(story()) == ["cancelled", "done"]


def test_what_comes_of_a_batch_is_given_and_its_error_raised() -> None:
    async def story() -> int:
        async def batch() -> int:
            return 7 // divisor

        divisor = 1
        found = await finished(batch())
        divisor = 0
        with pytest.raises(ZeroDivisionError):
            await finished(batch())
        return found

    assert run(story()) == 7


def test_what_fails_of_grpc_looks_as_if_it_were_done_and_nothing_else_does() -> None:
    async def story() -> object:
        loop = asyncio.get_running_loop()
        of_grpc, other = loop.create_future(), loop.create_future()
        of_grpc.set_exception(grpc.aio.InternalError("Failed."))
        other.set_exception(OSError("Failed."))
        with pytest.raises(OSError, match="Failed"):
            await other
        return await of_grpc

    assert run(story()) is None
