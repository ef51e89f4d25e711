"""Methods of gRPC with something around each call, of whichever of the four kinds they are.

    wrapped = around(handler, lambda context: watched(context))

Streams are written in the task of the call, not yielded: what is around them ends where the call
does, when it is cancelled too.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Any

import grpc.aio

from pocketlens_server.services.batches import finished

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]]
Around = Callable[[grpc.aio.ServicerContext], AbstractAsyncContextManager[None]]

_END = object()  # of the answers of a stream
_KINDS = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


def kind_of(handler: Any) -> str:
    """The field of a handler that has what answers."""
    return _KINDS[handler.request_streaming, handler.response_streaming]


def around(handler: Any, enter: Around) -> grpc.RpcMethodHandler:
    """A handler that answers as `handler` does, inside of what `enter` gives for each call."""
    kind = kind_of(handler)
    behaviour = getattr(handler, kind)

    async def answer(request: object, context: grpc.aio.ServicerContext) -> object:
        async with enter(context):
            return await behaviour(request, context)

    async def answer_many(request: object, context: grpc.aio.ServicerContext) -> None:
        async with enter(context):
            await written(behaviour(request, context), context)

    chosen = answer_many if handler.response_streaming else answer
    wrapped: grpc.RpcMethodHandler = handler._replace(**{kind: chosen})
    return wrapped


async def written(
    answers: Any,
    context: grpc.aio.ServicerContext,
    *,
    waiting: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> None:
    """Writes the answers of a stream.

    Args:
        answers: What a behaviour gives: some yield them, others write them themselves.
        context: Of the call.
        waiting: Gives what is to be around each time that an answer is waited for.
    """
    if not hasattr(answers, "__aiter__"):
        await answers
        return
    async with aclosing(answers):
        while True:
            async with waiting():
                answer = await anext(answers, _END)
            if answer is _END:
                return
            await finished(context.write(answer))
