"""Bodies of requests: in memory, bounded in bytes, each and all together, a host's too, in time.

    async with bodies.read(request, most_bytes=16 << 20) as body: ...

What all hold is counted from their first byte on, so that many who send slowly take no more than
they have sent, and until they are answered.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.requests import Request

from pocketlens.errors import QuotaExceeded
from pocketlens_server.peers import network
from pocketlens_server.web.answers import Refused
from pocketlens_server.web.observing import peer_of

_RETRY_SECONDS = 1  # by then some are answered


class Bodies:
    """Those of one server."""

    def __init__(self, *, all_bytes: int, host_bytes: int, seconds: float) -> None:
        """Holds none yet.

        Args:
            all_bytes: That all may have at once.
            host_bytes: That those from one host may have.
            seconds: That one may take to come.
        """
        self._all_bytes, self._host_bytes, self._seconds = all_bytes, host_bytes, seconds
        self._held = Counter[str]()  # by host; of none that has nothing

    @property
    def held_bytes(self) -> int:
        """What all have now."""
        return self._held.total()

    @asynccontextmanager
    async def read(self, request: Request, *, most_bytes: int) -> AsyncIterator[bytes]:
        """The body of a request; what it takes is given back when the context is left.

        Raises:
            Refused: It is too large, is compressed, or does not come in time.
            QuotaExceeded: All together are too large, or all of its host.
            starlette.requests.ClientDisconnect: Nobody sends it any more.
        """
        self._check_head(request, most_bytes)
        host, chunks, size = network(peer_of(request)), list[bytes](), 0
        try:
            async with asyncio.timeout(self._seconds) as limit:
                async for chunk in request.stream():
                    if size + len(chunk) > most_bytes:
                        raise _too_large(most_bytes)
                    if not self._has_room(host, len(chunk)):
                        raise QuotaExceeded(
                            "The server holds as many photos as it takes.",
                            retry_seconds=_RETRY_SECONDS,
                        )
                    size += len(chunk)
                    self._held[host] += len(chunk)
                    chunks.append(chunk)
            yield _joined(chunks)
        except TimeoutError as exc:
            if not limit.expired():  # it is another's
                raise
            raise Refused(
                HTTPStatus.REQUEST_TIMEOUT,
                "DEADLINE_EXCEEDED",
                f"Expected the body within {self._seconds:g} s. Try a smaller photo.",
            ) from exc
        finally:
            self._held[host] -= size
            if not self._held[host]:
                del self._held[host]

    def _has_room(self, host: str, size: int) -> bool:
        is_below = self._held[host] + size <= self._host_bytes
        return is_below and self.held_bytes + size <= self._all_bytes

    @staticmethod
    def _check_head(request: Request, most_bytes: int) -> None:
        """What can be said before the body comes."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Refused(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "INVALID_ARGUMENT",
                "Expected a body that is not compressed: photos are already.",
            )
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > most_bytes:
            raise _too_large(most_bytes)


def _joined(chunks: list[bytes]) -> bytes:
    """All of them, which are not held twice from then on."""
    body = b"".join(chunks)
    chunks.clear()
    return body


def _too_large(most_bytes: int) -> Refused:
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "INVALID_ARGUMENT",
        f"Expected a body of at most {most_bytes:,} bytes. Received more. Try a smaller photo.",
    )
