"""Connections of one socket, each with a place and a task, no more than there is room for.

    connections = Connections(listening_on("127.0.0.1", 8080), limits, connection)
    await connections.run(grace_seconds=8)     # until it is cancelled

`connection` is what is done with each, from its handshake to its end; around what it answers is
`answering`, so that it is known whose place may be given up (`places`).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from pocketlens.errors import ServerError
from pocketlens_server.config import address
from pocketlens_server.http.places import Place, Places
from pocketlens_server.peers import network

logger = logging.getLogger(__name__)

_BACKLOG = 512
_RETRY_SECONDS = 1  # after the system had no room for a connection

Connection = Callable[[socket.socket, Place], Coroutine[None, None, None]]
"""What is done with a connection; it closes it, also when it is cancelled."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one server spends on its callers.

    Attributes:
        connections: Open at once.
        host_connections: That a host keeps, whoever comes, while all are taken: so many of it are
            enough for all phones behind one address.
        handshake_seconds: For TLS.
        head_seconds: From one answer, or the handshake, to the whole head of the next request:
            with the handshake below 10, after which a connection that says nothing is gone.
        stall_seconds: For a caller to take the next 64 KiB.
    """

    connections: int = 512
    host_connections: int = 64
    handshake_seconds: float = 4
    head_seconds: float = 5
    stall_seconds: float = 10


def listening_on(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 takes a free one.

    Raises:
        ServerError: The port is taken, or the host is none of this machine.
    """
    name = host.strip("[]")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    try:
        listening = socket.create_server((name, port), family=family, backlog=_BACKLOG)
    except OSError as exc:
        raise ServerError(f"Cannot listen on {address(host, port)}: {exc.strerror}.") from exc
    listening.setblocking(False)
    return listening


def abort(transport: asyncio.Transport) -> None:
    """Ends a connection now, however often it has been closed.

    Python 3.11.2 has let go of TLS that was closed twice, which ends by itself, and fails.
    """
    with suppress(AttributeError):
        transport.abort()


class Connections:
    """Those of one socket."""

    def __init__(
        self, listening: socket.socket, limits: HttpLimits, connection: Connection
    ) -> None:
        """Takes none yet.

        Args:
            listening: See `listening_on`; it is closed in the end.
            limits: How many there may be.
            connection: What is done with each.
        """
        self._listening, self._connection = listening, connection
        self._places = Places(most=limits.connections, share=limits.host_connections)
        self._open: dict[Place, asyncio.Task[None]] = {}
        self._may_enter = asyncio.Event()
        self._is_ending = False

    @property
    def is_ending(self) -> bool:
        """Whether no further request is to be waited for."""
        return self._is_ending

    async def run(self, *, grace_seconds: float) -> None:
        """Takes connections until it is cancelled; answers that run then have time to end."""
        try:
            while True:
                accepted, host = await self._accepted()
                try:
                    place = await self._entered(host)
                except BaseException:
                    accepted.close()
                    raise
                if place is None:
                    accepted.close()
                    continue
                task = asyncio.create_task(self._connection(accepted, place))
                self._open[place] = task
                task.add_done_callback(partial(self._ended, place))
                await asyncio.sleep(0)  # it begins before anybody can cancel it
        finally:
            self._is_ending = True
            self._listening.close()
            for place, task in self._open.items():
                if place.is_idle:
                    task.cancel()
            if self._open:
                _, unended = await asyncio.wait(self._open.values(), timeout=grace_seconds)
                if unended:
                    logger.warning("http.cut connections=%d", len(unended))
            tasks = list(self._open.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)  # what was aborted closes in the loop's next turn

    async def _entered(self, host: str) -> Place | None:
        """A place, which another may have to give up; None for a host beyond its share."""
        while self._places.are_taken:
            given_up = self._places.to_give_up(host)
            if given_up is not None:
                self._open[given_up].cancel()
                self._places.leave(given_up)
            elif self._places.has_share(host):
                return None
            else:
                self._may_enter.clear()
                await self._may_enter.wait()
        return self._places.enter(host)

    def _ended(self, place: Place, _: asyncio.Task[None]) -> None:
        del self._open[place]
        self._places.leave(place)
        self._may_enter.set()

    @contextmanager
    def answering(self, place: Place) -> Iterator[None]:
        """Around the answer to a request that has come whole."""
        place.is_idle = False
        try:
            yield
        finally:
            place.is_idle = True
            self._may_enter.set()

    async def _accepted(self) -> tuple[socket.socket, str]:
        """The next connection, and whom to count it as."""
        while True:
            try:
                accepted, peer = await asyncio.get_running_loop().sock_accept(self._listening)
            except OSError as exc:  # no descriptor left: connections wait in the queue
                logger.warning("http.accept.failed error=%s", exc)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                # A head and its body are two writes: without this the second waits for 40 ms.
                with suppress(OSError):  # it is gone again
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return accepted, network(peer[0])
