"""What is no message is refused as that, and a stream that is left is ended at once."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc

from pocketlens_server.services.malformed import RefusesMalformed


def test_a_stream_that_nobody_reads_on_is_closed_with_it() -> None:
    """Not when it is found that nothing holds it: what it has taken is to be free for others."""
    ended, made = [], list[object]()

    async def answers(request: bytes, context: object) -> AsyncGenerator[bytes, None]:
        try:
            yield request
            yield request
        finally:
            ended.append(request)

    def behaviour(request: bytes, context: object) -> AsyncGenerator[bytes, None]:
        made.append(answers(request, context))
        return made[-1]  # type: ignore[return-value]

    async def continuation(details: object) -> Any:
        return grpc.unary_stream_rpc_method_handler(behaviour)

    async def run() -> list[bytes]:
        handler: Any = await RefusesMalformed().intercept_service(continuation, None)
        stream = handler.unary_stream(b"x", None)
        await anext(stream)
        await stream.aclose()
        return list(ended)

    assert asyncio.run(run()) == [b"x"]
