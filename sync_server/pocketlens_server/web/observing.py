"""Each request counted among the calls of the server, and one line of log at its end.

    with observing.around("search", request) as seen:
        seen.code = "NOT_FOUND"

As of a call over gRPC: `pocketlens_calls_total{method="rest/search", code="NOT_FOUND"}`, a request
id that is in every line meanwhile and in the answer, and nothing that a caller chooses in a label.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import Request

from pocketlens_server import logs
from pocketlens_server.admission import Buckets
from pocketlens_server.peers import NOBODY, caller_id
from pocketlens_server.services.recognising import ANYBODY
from pocketlens_server.telemetry import UNKNOWN, Telemetry

logger = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
CANCELLED = "CANCELLED"
_FEW_LINES = 10  # a second, of requests that nobody waits for, or of strangers
_STRANGERS = frozenset({NOBODY, ANYBODY.id})
_WORD = re.compile(r"[A-Za-z0-9._-]{1,40}")  # a UUID, and no token


@dataclass(slots=True)
class Seen:
    """What becomes of a request.

    Attributes:
        request_id: Of it.
        code: As of gRPC.
        status: Of HTTP; 0 where nothing is answered.
    """

    request_id: str
    code: str = "OK"
    status: int = 0


class Observing:
    """Sees every request of one server that there is a route for."""

    def __init__(self, telemetry: Telemetry, clock: Callable[[], float]) -> None:
        """Has seen none yet.

        Args:
            telemetry: Where they are counted.
            clock: Seconds, which do not go back.
        """
        self._telemetry, self._clock = telemetry, clock
        self._few = Buckets(rate=_FEW_LINES, burst=10 * _FEW_LINES)

    @contextmanager
    def around(self, operation: str, request: Request) -> Iterator[Seen]:
        """Around a request; what it gives is to be told what becomes of it."""
        method, began = f"rest/{operation}", self._clock()
        seen = Seen(_request_id(request))
        logs.REQUEST_ID.set(seen.request_id)
        running = self._telemetry.calls_running.labels(method)
        running.inc()
        try:
            yield seen
        except asyncio.CancelledError:
            seen.code = CANCELLED
            raise
        except Exception:
            seen.code = "INTERNAL"
            raise
        finally:
            running.dec()
            seconds = self._clock() - began
            self._telemetry.calls.labels(method, seen.code).inc()
            self._telemetry.call_seconds.labels(method).observe(seconds)
            logger.log(
                self._level(seen.code),
                "call.done method=%s code=%s status=%d ms=%.1f caller=%s peer=%s",
                method,
                seen.code,
                seen.status,
                seconds * 1000,
                caller_id(),
                peer_of(request),
            )

    def count_unknown(self, code: str) -> None:
        """Counts a request that there is no route for: its path is its caller's choice."""
        self._telemetry.calls.labels(UNKNOWN, code).inc()

    def _level(self, code: str) -> int:
        is_given_up = code == CANCELLED
        is_of_many = is_given_up or caller_id() in _STRANGERS
        if is_of_many and self._few.take(is_given_up, self._clock()):
            return logging.DEBUG
        return logging.INFO


def peer_of(request: Request) -> str:
    """The host that a request comes from."""
    return "local" if request.client is None else request.client.host


def _request_id(request: Request) -> str:
    said = request.headers.get(REQUEST_ID, "")
    return said if _WORD.fullmatch(said) else f"{random.getrandbits(64):016x}"
