"""A service with one method of each kind, of plain bytes, on a server in the loop of the test.

async with served([Observes(telemetry)]) as kinds:
    await kinds.call("one_one", b"x")                   # b"x"
    kinds.is_open.clear()                               # from now on calls wait
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

SERVICE = "pocketlens.tests.Kinds"
KINDS = ("one_one", "one_many", "many_one", "many_many")


class Kinds:
    """The service, and a channel to it.

    Attributes:
        is_open: Whether calls are answered; they wait for it.
        begun: How many the service has seen.
        running: Of them, how many have not ended, however they did.
        fails: Whether calls raise what no caller is meant to see.
        port: On 127.0.0.1.
    """

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.begun, self.running, self.fails, self.port = 0, 0, False, 0
        self.channel: grpc.aio.Channel | None = None

    async def one_one(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        async with self._answering():
            return request

    async def one_many(
        self, request: bytes, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        async with self._answering():
            for _ in range(3):
                yield request

    async def many_one(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> bytes:
        async with self._answering():
            return b"".join([each async for each in requests])

    async def many_many(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        async with self._answering():
            async for each in requests:
                yield each

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        self.begun += 1
        self.running += 1
        try:
            await self.is_open.wait()
            if self.fails:
                raise ZeroDivisionError
            yield
        finally:
            self.running -= 1

    def begin(self, kind: str, data: bytes = b"x", **options: Any) -> Any:
        """A call that has begun; three requests where there are many."""
        assert self.channel is not None
        options = {"timeout": 10, **options}
        requests = self._requests(data, self.begun)
        method = f"/{SERVICE}/{kind}"
        match kind.split("_"):
            case ["one", "one"]:
                return self.channel.unary_unary(method)(data, **options)
            case ["one", "many"]:
                return self.channel.unary_stream(method)(data, **options)
            case ["many", "one"]:
                return self.channel.stream_unary(method)(requests, **options)
        return self.channel.stream_stream(method)(requests, **options)

    async def _requests(self, data: bytes, begun: int) -> AsyncIterator[bytes]:
        """Sent once the service has seen a call: grpc.aio fails if a call ends while it sends."""
        await until(lambda: self.begun > begun)
        for _ in range(3):
            yield data

    async def call(self, kind: str, data: bytes = b"x", **options: Any) -> bytes:
        """What a call brings, all of it; `grpc.aio.AioRpcError` where it fails."""
        return await finished(self.begin(kind, data, **options))


async def finished(call: Any) -> bytes:
    """What a call that has begun brings."""
    if hasattr(call, "__aiter__"):
        return b"".join([each async for each in call])
    data: bytes = await call
    return data


@asynccontextmanager
async def served(interceptors: Sequence[grpc.aio.ServerInterceptor]) -> AsyncIterator[Kinds]:
    """The service behind interceptors, the outermost first."""
    kinds = Kinds()
    handlers = {
        "one_one": grpc.unary_unary_rpc_method_handler(kinds.one_one),
        "one_many": grpc.unary_stream_rpc_method_handler(kinds.one_many),
        "many_one": grpc.stream_unary_rpc_method_handler(kinds.many_one),
        "many_many": grpc.stream_stream_rpc_method_handler(kinds.many_many),
    }
    server = grpc.aio.server(interceptors=list(interceptors))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    kinds.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{kinds.port}") as channel:
        kinds.channel = channel
        try:
            yield kinds
        finally:
            kinds.is_open.set()
            await server.stop(1)


async def until(condition: Any) -> None:
    """Waits for what another task brings about."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)
