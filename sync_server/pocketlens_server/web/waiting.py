"""Work for whoever waits for its answer, and for nobody else.

found = await while_awaited(request, queries.search(...), place=working)    # or ClientDisconnect
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

Value = TypeVar("Value")


async def while_awaited(
    request: Request,
    work: Coroutine[object, object, Value],
    *,
    place: Callable[[], AbstractContextManager[None]],
) -> Value:
    """What is done for a request that has come whole.

    Args:
        request: Whose connection says whether anybody waits; while it is worked on, nobody else is
            given its place (`http.places`).
        work: It is cancelled when nobody does, wherever it is.
        place: Gives what is to be around it; where that raises, nothing is begun.

    Raises:
        ClientDisconnect: Nobody does any more.
    """
    answering = request.scope.get("state", {}).get("answering", nullcontext)
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(request))
    try:
        with place(), answering():
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientDisconnect
            return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    """Waits until nobody is there any more."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
