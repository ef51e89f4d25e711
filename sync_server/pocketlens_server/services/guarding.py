"""Nobody calls what the table does not open to them: tokens are looked at before a service is.

server = grpc.aio.server(interceptors=[RefusesMalformed(), Guards(tokens, clock=clock)])

A method without a row is not there, for anybody. Without a token that holds no request is read.
Inside a call `callers.current()` says who makes it. A call that lasts ends within `recheck_seconds`
after its token was revoked, by whichever process, or has expired.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import grpc.aio

from pocketlens_server import auth, callers
from pocketlens_server.auth import Rule
from pocketlens_server.callers import Caller
from pocketlens_server.services.answering import answered
from pocketlens_server.services.recognising import ANYBODY, Recognises
from pocketlens_server.services.wrapping import Continuation, kind_of
from pocketlens_server.tokens import Tokens

# A look takes 30 us: of 1,000 calls that last, 1.5 % of a core.
RECHECK_SECONDS = 2.0

_END = object()  # of a stream


class Guards(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Refuses every call that the table of methods does not open to its caller."""

    def __init__(
        self,
        tokens: Tokens | None,
        *,
        clock: Callable[[], datetime],
        methods: Mapping[str, Rule] = auth.METHODS,
        recheck_seconds: float = RECHECK_SECONDS,
    ) -> None:
        """Looks at no token yet.

        Args:
            tokens: Opened in the thread of the calls; None where everybody may do everything.
            clock: What tokens expire by.
            methods: What each method needs.
            recheck_seconds: From one look at the token of a call that lasts to the next.
        """
        self._recognises, self._methods = Recognises(tokens, clock=clock), methods
        self._recheck_seconds = recheck_seconds

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """See `grpc.aio.ServerInterceptor`."""
        rule = self._methods.get(handler_call_details.method)
        if rule is None:
            return None  # gRPC answers what it does where there is no such method
        shown = auth.shown(handler_call_details.invocation_metadata or ())
        look = partial(self._recognises.caller, rule, shown)
        try:
            caller = look()
            callers.enter(caller)
            auth.check(rule, caller)
        except Exception as exc:  # whatever fails opens nothing
            return _refusing(exc)
        handler: Any = await continuation(handler_call_details)
        if handler is None or caller is callers.INSECURE or caller is ANYBODY:
            return handler
        call = _Call(rule, caller, look, self._recheck_seconds)
        kind = kind_of(handler)
        answering = _answering_many if handler.response_streaming else _answering
        guarded = answering(getattr(handler, kind), call)
        found: grpc.RpcMethodHandler = handler._replace(**{kind: guarded})
        return found


def _refusing(error: Exception) -> grpc.RpcMethodHandler:
    """In the place of a method; as one of a stream it is called before any request is read."""

    async def refuse(requests: object, context: grpc.aio.ServicerContext) -> None:
        async with answered(context):
            raise error

    found: grpc.RpcMethodHandler = grpc.stream_unary_rpc_method_handler(refuse)
    return found


def _answering(
    behaviour: Callable[..., Awaitable[object]], call: _Call
) -> Callable[..., Awaitable[object]]:
    async def answer(request: Any, context: grpc.aio.ServicerContext) -> object:
        async with call.guarded(context) as waiting, waiting():
            return await behaviour(await call.checked(request), context)

    return answer


def _answering_many(
    behaviour: Callable[..., Any], call: _Call
) -> Callable[..., AsyncIterator[object]]:
    async def answer(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[object]:
        async with call.guarded(context) as waiting:
            async with waiting():
                checked = await call.checked(request)
            async with aclosing(behaviour(checked, context)) as answers:
                while True:
                    async with waiting():
                        message = await anext(answers, _END)
                    if message is _END:
                        return
                    yield message

    return answer


_Waiting = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class _Call:
    """One call, made by somebody who may make it.

    Attributes:
        rule: Of its method.
        caller: Who makes it.
        look: Raises once the caller's token does not hold any more.
        recheck_seconds: From one look to the next.
    """

    rule: Rule
    caller: Caller
    look: Callable[[], object]
    recheck_seconds: float

    @asynccontextmanager
    async def guarded(self, context: grpc.aio.ServicerContext) -> AsyncIterator[_Waiting]:
        """Around the whole call; what it gives is to be around all that the call waits for."""
        watch = _Watch(self.look, self.recheck_seconds)
        try:
            yield watch.waiting
        except grpc.aio.AbortError:  # answered already
            raise
        except Exception:
            async with answered(context):
                raise
        finally:
            watch.close()

    async def checked(self, request: Any) -> object:
        """A request, or the requests of a stream, whose catalogue the caller's token opens."""
        if not self.rule.is_about_catalogue:
            return request
        if not hasattr(request, "__aiter__"):
            self._check(request)
            return request
        requests = aiter(request)
        first = await anext(requests, _END)
        if first is _END:
            return requests
        self._check(first)
        return self._checked_on(first, requests)

    async def _checked_on(
        self, first: object, requests: AsyncIterator[object]
    ) -> AsyncIterator[object]:
        yield first
        async for request in requests:
            if getattr(request, "catalogue", ""):  # the first has said it, the others need not
                self._check(request)
            yield request

    def _check(self, request: object) -> None:
        # A message without the field names none, which only a token for all catalogues opens.
        auth.check_catalogue(self.caller, getattr(request, "catalogue", ""))


class _Watch:
    """Looks again and again, and ends what is waited for once a look raises."""

    def __init__(self, look: Callable[[], object], seconds: float) -> None:
        self._look, self._seconds = look, seconds
        self._loop = asyncio.get_running_loop()
        self._error: Exception | None = None
        self._limit: asyncio.Timeout | None = None
        self._timer = self._loop.call_later(seconds, self._look_again)

    def close(self) -> None:
        """Looks no more."""
        self._timer.cancel()

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Around what may take long.

        Nothing may leave it that comes back: what is inside would be ended in the wrong place.
        """
        if self._error is None:
            try:
                async with asyncio.timeout(None) as self._limit:
                    yield
            except TimeoutError:
                if self._error is None:  # it is the service's own
                    raise
            else:
                return
            finally:
                self._limit = None
        raise self._error

    def _look_again(self) -> None:
        try:
            self._look()
        except Exception as exc:  # whatever fails keeps nothing open
            self._error = exc
            if self._limit is not None:
                self._limit.reschedule(self._loop.time())
        else:
            self._timer = self._loop.call_later(self._seconds, self._look_again)
