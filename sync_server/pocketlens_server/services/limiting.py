"""Calls beyond the limits are refused at once, with the time after which to come again.

    interceptors = [Admitting(limits), RefusesMalformed(), Guards(...), Limiting(limits, clock)]

`Admitting` stands before all that a call costs but to look its token up, 30 us: gRPC asks what each
interceptor makes of a call before the first of them runs. It asks for a deadline, holds the limits
of the whole server and of each host, and receives the one request of a call inside of them, so that
one which trickles in is ended by the same deadline. `Limiting` comes when it is known who calls.

A refusal is RESOURCE_EXHAUSTED, with the milliseconds to wait in words and in the metadata that the
retries of gRPC's own clients follow.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import grpc.aio

from pocketlens_server.admission import Buckets, Crowd
from pocketlens_server.limits import Limits
from pocketlens_server.peers import caller_id, network_of
from pocketlens_server.services.batches import finished
from pocketlens_server.services.wrapping import Continuation, kind_of, written

PUSHBACK = "grpc-retry-pushback-ms"

# They answer while nothing else does, and who watches them has no deadline. So many of a host.
_HEALTH, _HEALTH_CALLS = "/grpc.health.v1.Health/", 32
# Of one answer, which may take as long as a stream may last.
_LASTING = frozenset(
    f"/pocketlens.v1.CatalogService/{name}"
    for name in ("WaitForJob", "Publish", "Diff", "Rollback", "Replace")
)

# Whoever finds no room comes again within so many seconds, spread over them.
_SOONEST_SECONDS, _LATEST_SECONDS = 0.5, 2.5
_GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples, without their whole parts, spread evenly

_NO_ROOM = {
    "host": "Too many calls of this host are running.",
    "requests": "The server has as many calls as it takes.",
    "calls": "The server answers as many calls as it can.",
    "streams": "The server has as many streams as it takes.",
    "health": "Too many of this host ask how the server is.",
}

Refused = Callable[[str], object]
"""Called with the reason of a refusal: one of `telemetry.REASONS`."""


class Admitting(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Holds what a server gives to all of its clients, before it knows who they are."""

    def __init__(self, limits: Limits, *, refused: Refused = lambda reason: None) -> None:
        """Begins with nobody inside.

        Args:
            limits: What is given.
            refused: Told of each refusal.
        """
        self._limits, self._refused = limits, refused
        self._hosts = Crowd(limits.host_calls)
        # A call of one answer costs as little as a stream while it comes, or its answer goes.
        self._rooms = {name: Crowd(limits.streams) for name in ("requests", "streams")}
        self._working, self._health = Crowd(limits.calls), Crowd(_HEALTH_CALLS)
        self._refusals = 0

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """See `grpc.aio.ServerInterceptor`."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:  # there is no such method
            return handler
        method, behaviour = handler_call_details.method, getattr(handler, kind_of(handler))
        lasts = handler.request_streaming or handler.response_streaming or method in _LASTING
        room = "streams" if lasts else "requests"
        if method.startswith(_HEALTH):
            room = "health"
        seconds = self._limits.stream_seconds if lasts else self._limits.unary_seconds

        async def answer(requests: Any, context: grpc.aio.ServicerContext) -> object:
            timed = _timed(await self._let_in(room, seconds, context), context)
            async with timed():
                request = requests if handler.request_streaming else await _received(context)
                if not handler.response_streaming:
                    async with self._at_work(room, context):
                        return await behaviour(request, context)
            await written(behaviour(request, context), context, waiting=timed)
            return None

        # gRPC itself would wait for the one request of a call however long it takes to come.
        kind = "stream_stream" if handler.response_streaming else "stream_unary"
        every = {"unary_unary": None, "unary_stream": None, kind: answer}
        admitted: grpc.RpcMethodHandler = handler._replace(request_streaming=True, **every)
        return admitted

    async def _let_in(
        self, room: str, seconds: float, context: grpc.aio.ServicerContext
    ) -> float | None:
        """Takes the places of a call; the seconds it may take, None where gRPC holds fewer."""
        remaining, host = context.time_remaining(), network_of(context.peer())
        if remaining is None and self._limits.deadlines_required and room != "health":
            self._refused("deadline")
            text = f"Expected a deadline. Received none. Set one of at most {seconds:g} s."
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        places = [(self._health, host, "health")]
        if room != "health":
            places = [(self._hosts, host, "host"), (self._rooms[room], room, room)]
        for crowd, key, reason in places:
            await self._check(crowd, key, reason, context)
            _enter(crowd, key, context)
        if room == "requests":  # which is not even received where it cannot be answered
            await self._check(self._working, "calls", "calls", context)
        return None if remaining is not None and remaining <= seconds else seconds

    @asynccontextmanager
    async def _at_work(self, room: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        """Around what is done to answer; of streams, most is waiting."""
        if room != "requests":
            yield
            return
        await self._check(self._working, "calls", "calls", context)
        self._working.enter("calls")
        try:
            yield
        finally:
            self._working.leave("calls")

    async def _check(
        self, crowd: Crowd, key: str, reason: str, context: grpc.aio.ServicerContext
    ) -> None:
        """Refuses a call for which there is no place."""
        if not crowd.is_full(key):
            return
        self._refused(reason)
        self._refusals += 1
        spread = self._refusals * _GOLDEN % 1
        wait_seconds = _SOONEST_SECONDS + spread * (_LATEST_SECONDS - _SOONEST_SECONDS)
        await _exhaust(context, _NO_ROOM[reason], wait_seconds)


class Limiting(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Holds what each client may have: calls at once, and calls a second."""

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float],
        *,
        refused: Refused = lambda reason: None,
    ) -> None:
        """Begins with clients that have not called yet.

        Args:
            limits: What each is given.
            clock: Seconds, which do not go back.
            refused: Told of each refusal.
        """
        self._clock, self._refused = clock, refused
        self._crowd = Crowd(limits.client_calls)
        self._buckets = Buckets(rate=limits.client_rate, burst=limits.client_burst)

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """See `grpc.aio.ServerInterceptor`."""
        handler: Any = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(_HEALTH):
            return handler
        kind = kind_of(handler)
        behaviour = getattr(handler, kind)

        async def answer(request: object, context: grpc.aio.ServicerContext) -> object:
            await self._enter(context)
            return await behaviour(request, context)

        async def answer_many(
            request: object, context: grpc.aio.ServicerContext
        ) -> AsyncIterator[object]:
            await self._enter(context)
            async with aclosing(behaviour(request, context)) as answers:
                async for each in answers:
                    yield each

        limited = answer_many if handler.response_streaming else answer
        found: grpc.RpcMethodHandler = handler._replace(**{kind: limited})
        return found

    async def _enter(self, context: grpc.aio.ServicerContext) -> None:
        """Takes a place, until the call has ended in whichever way; refuses it if there is none."""
        client = (caller_id(), network_of(context.peer()))
        if self._crowd.is_full(client):
            self._refused("client")
            await _exhaust(context, "Too many of your calls are running.", _SOONEST_SECONDS)
        wait_seconds = self._buckets.take(client, self._clock())
        if wait_seconds:
            self._refused("rate")
            await _exhaust(context, "You make too many calls a second.", wait_seconds)
        _enter(self._crowd, client, context)


def _enter(crowd: Crowd, key: Hashable, context: grpc.aio.ServicerContext) -> None:
    """Takes a place until the call is over, its answer sent or nobody there to take it."""
    crowd.enter(key)
    context.add_done_callback(lambda _: crowd.leave(key))


def _timed(
    seconds: float | None, context: grpc.aio.ServicerContext
) -> Callable[[], AbstractAsyncContextManager[None]]:
    """What is to be around all that a call waits for, to end it so many seconds from now.

    But for what it sends: gRPC could not be told anything else before that has gone. A caller who
    does not take its answer keeps its place, until its own deadline or the end of the connection.
    """
    until = None if seconds is None else asyncio.get_running_loop().time() + seconds

    @asynccontextmanager
    async def timed() -> AsyncIterator[None]:
        limit = asyncio.timeout_at(until)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():  # it is the service's own
                raise
            text = f"The server gives at most {seconds:g} s to a call like this."
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, text)

    return timed


async def _received(context: grpc.aio.ServicerContext) -> object:
    """The one request of a call."""
    request = await finished(context.read())
    if request is grpc.aio.EOF:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Expected a message. Received none.")
    return request


async def _exhaust(context: grpc.aio.ServicerContext, text: str, wait_seconds: float) -> None:
    wait_ms = math.ceil(wait_seconds * 1000)
    told = f"{text} Try again in {wait_ms / 1000:g} s."
    trailing = (*context.trailing_metadata(), (PUSHBACK, str(wait_ms)))
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, told, trailing)
