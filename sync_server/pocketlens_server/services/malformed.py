"""Requests that are no message are refused as that, before a service sees them.

server = grpc.aio.server(interceptors=[RefusesMalformed()])

gRPC itself would answer UNKNOWN, with the text of the exception.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc.aio
from google.protobuf.message import DecodeError

from pocketlens_server.services.wrapping import Continuation, kind_of

_MALFORMED = object()  # in the place of a request
_TOLD = (
    "Expected a message as this method takes it, its texts in UTF-8. Received bytes that cannot be "
    "read as one."
)


class RefusesMalformed(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Answers INVALID_ARGUMENT where bytes are no message of the kind that a method takes."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """See `grpc.aio.ServerInterceptor`."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:  # there is no such method
            return handler
        kind = kind_of(handler)
        answering = _answering_many if handler.response_streaming else _answering
        found: grpc.RpcMethodHandler = handler._replace(
            request_deserializer=_parsing(handler.request_deserializer),
            **{kind: answering(getattr(handler, kind))},
        )
        return found


def _parsing(deserialize: Callable[[bytes], object]) -> Callable[[bytes], object]:
    def parse(data: bytes) -> object:
        try:
            return deserialize(data)
        except DecodeError:
            return _MALFORMED

    return parse


def _answering(behaviour: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
    async def answer(request: Any, context: grpc.aio.ServicerContext) -> object:
        return await behaviour(await _checked(request, context), context)

    return answer


def _answering_many(behaviour: Callable[..., Any]) -> Callable[..., AsyncIterator[object]]:
    async def answer(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[object]:
        async with aclosing(behaviour(await _checked(request, context), context)) as answers:
            async for each in answers:
                yield each

    return answer


async def _checked(request: Any, context: grpc.aio.ServicerContext) -> object:
    """A request, or the requests of a stream, each looked at when it is taken."""
    if hasattr(request, "__aiter__"):
        return _each_checked(request, context)
    if request is _MALFORMED:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _TOLD)
    return request


async def _each_checked(
    requests: AsyncIterator[object], context: grpc.aio.ServicerContext
) -> AsyncIterator[object]:
    async for request in requests:
        yield await _checked(request, context)
