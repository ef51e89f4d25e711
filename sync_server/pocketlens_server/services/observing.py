"""Each call counted, and one line of log about it at its end.

server = grpc.aio.server(interceptors=[Observes(telemetry), ...])

A call has a request id: the one in its metadata as `x-request-id`, if that is a short word, or else
a new one. It is in every line that is logged meanwhile, and comes back in the trailing metadata.
Not in the initial: gRPC's clients do not try a call again of which those have come.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc.aio

from pocketlens_server import logs
from pocketlens_server.admission import Buckets
from pocketlens_server.peers import NOBODY, caller_id, host_of
from pocketlens_server.services.wrapping import Continuation, around
from pocketlens_server.telemetry import UNKNOWN, Telemetry

logger = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
_HEALTH = "grpc.health."  # asked for every few seconds
# Lines a second of calls that their callers gave up, of those for which there was no room, and of
# those of callers who are not known: whoever makes such, thousands a second, is to fill no disk,
# and to write of it is not to take what others lack. All are counted.
_FEW_LINES = 10
_OFTEN = frozenset({grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED})
_WORD = re.compile(r"[A-Za-z0-9._-]{1,40}")  # a UUID, and no token


class Observes(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Sees every call from its beginning to its end; the first of all interceptors."""

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        clock: Callable[[], float] = time.monotonic,
        new_id: Callable[[], str] = lambda: f"{random.getrandbits(64):016x}",
    ) -> None:
        """Has seen none yet.

        Args:
            telemetry: Where calls are counted.
            clock: Seconds, which do not go back.
            new_id: Makes a request id that no other call has.
        """
        self._telemetry, self._clock, self._new_id = telemetry, clock, new_id
        self._few = Buckets(rate=_FEW_LINES, burst=10 * _FEW_LINES)

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """See `grpc.aio.ServerInterceptor`."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            # Its name is the caller's choice: no label, and no line of log, is made of it.
            self._telemetry.calls.labels(UNKNOWN, grpc.StatusCode.UNIMPLEMENTED.name).inc()
            return handler
        method = handler_call_details.method.removeprefix("/")
        return around(handler, partial(self._observed, method))

    @asynccontextmanager
    async def _observed(
        self, method: str, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[None]:
        """Around a call."""
        request_id = self._request_id(context)
        logs.REQUEST_ID.set(request_id)
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        peer, given, began = host_of(context.peer()), context.time_remaining(), self._clock()
        running = self._telemetry.calls_running.labels(method)
        running.inc()
        code = grpc.StatusCode.OK
        try:
            yield
            code = context.code() or code
        except grpc.aio.AbortError:
            code = context.code()
            raise
        except asyncio.CancelledError:
            is_late = given is not None and context.time_remaining() <= _soon(given)
            code = grpc.StatusCode.DEADLINE_EXCEEDED if is_late else grpc.StatusCode.CANCELLED
            raise
        except grpc.aio.InternalError:  # what was written reaches nobody: the caller is gone
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception:
            code = grpc.StatusCode.UNKNOWN  # as gRPC answers it
            raise
        finally:
            running.dec()
            seconds = self._clock() - began
            self._telemetry.calls.labels(method, code.name).inc()
            self._telemetry.call_seconds.labels(method).observe(seconds)
            logger.log(
                self._level(method, code),
                "call.done method=%s code=%s ms=%.1f caller=%s peer=%s",
                method,
                code.name,
                seconds * 1000,
                caller_id(),
                peer,
            )

    def _level(self, method: str, code: grpc.StatusCode) -> int:
        """Of the line of a call."""
        if method.startswith(_HEALTH):
            return logging.DEBUG
        often = code.name if code in _OFTEN else NOBODY if caller_id() == NOBODY else None
        if often and self._few.take(often, self._clock()):
            return logging.DEBUG
        return logging.INFO

    def _request_id(self, context: grpc.aio.ServicerContext) -> str:
        for name, value in context.invocation_metadata() or ():
            if name == REQUEST_ID and isinstance(value, str) and _WORD.fullmatch(value):
                return value
        return self._new_id()


def _soon(given_seconds: float) -> float:
    """Seconds before a deadline that are as good as none: a client gives up by its own clock.

    What it was given comes rounded up, by a hundredth and more.
    """
    return 0.05 + 0.02 * given_seconds
