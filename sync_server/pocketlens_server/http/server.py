"""Files over HTTP/1.1 on one socket: bounded in connections, in bytes and in time.

    server = HttpServer(PublicFiles(public), listening_on("127.0.0.1", 8080), tls=None)
    await server.run(until)

A connection that sends no request, or takes no answer, is closed within `HttpLimits`, and before
that if somebody else comes while all places are taken (`places`). See docs/decisions, "Public files
are served by our own small server".
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Protocol

from pocketlens.errors import ServerError
from pocketlens_server.config import address
from pocketlens_server.http import messages
from pocketlens_server.http.files import NEVER_KEPT, OpenFile
from pocketlens_server.http.messages import Refused, Request
from pocketlens_server.http.places import Place, Places
from pocketlens_server.peers import network

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 64 << 10
_BACKLOG = 512
_RETRY_SECONDS = 1  # after the system had no room for a connection


class Files(Protocol):
    """What is served; called in threads."""

    def open(self, path: str) -> OpenFile:
        """The file at a path.

        Raises:
            Refused: There is none, or not now.
        """


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


class HttpServer:
    """Answers GET and HEAD of files."""

    def __init__(
        self,
        files: Files,
        listening: socket.socket,
        *,
        tls: ssl.SSLContext | None,
        limits: HttpLimits | None = None,
    ) -> None:
        self._files, self._listening, self._tls = files, listening, tls
        self._limits = limits or HttpLimits()
        self._places = Places(most=self._limits.connections, share=self._limits.host_connections)
        self._open: dict[Place, asyncio.Task[None]] = {}
        self._may_enter = asyncio.Event()

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
    def _answering(self, place: Place) -> Iterator[None]:
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

    async def _connection(self, accepted: socket.socket, place: Place) -> None:
        """One connection, from its handshake to its end."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=messages.MAX_HEAD_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        timeout = self._limits.handshake_seconds if self._tls else None
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=timeout,
                ssl_shutdown_timeout=timeout,
            )
        except OSError as exc:  # errors of TLS are
            logger.debug("http.handshake.failed error=%s", exc)
            accepted.close()
            return
        # What was sent is the system's, and is not lost with a connection that is given up. (With 0
        # asyncio's TLS would stop for ever.)
        transport.set_write_buffer_limits(high=1)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            # Callers that are late, or gone, are no error of ours.
            with suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer, place):
                    pass
                async with asyncio.timeout(self._limits.stall_seconds):
                    writer.close()
                    await writer.wait_closed()
        finally:
            transport.abort()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: Place
    ) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            async with asyncio.timeout(self._limits.head_seconds):
                data = await reader.readuntil(b"\r\n\r\n")
            request = messages.parse(data)
        except asyncio.LimitOverrunError:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            await self._refuse(writer, status, keeps_open=False)
            return False
        except Refused as refused:
            await self._refuse(writer, refused.status, keeps_open=False)
            return False
        with self._answering(place):
            try:
                found = await asyncio.to_thread(self._files.open, request.path)
                with closing(found.file):
                    await self._answer(writer, request, found)
            except Refused as refused:
                await self._refuse(writer, refused.status, keeps_open=request.keeps_open)
        return request.keeps_open

    async def _answer(
        self, writer: asyncio.StreamWriter, request: Request, found: OpenFile
    ) -> None:
        headers = {"Date": formatdate(usegmt=True), **found.headers}
        if messages.is_known(request, found.etag):
            status = HTTPStatus.NOT_MODIFIED
            await self._send(writer, messages.head(status, headers, keeps_open=request.keeps_open))
            return
        try:
            part = messages.byte_range(request, size=found.size, etag=found.etag)
        except Refused as refused:
            size = {"Content-Range": f"bytes */{found.size}"}
            await self._refuse(writer, refused.status, keeps_open=request.keeps_open, headers=size)
            return
        wanted = range(found.size) if part is None else part
        headers["Content-Length"] = str(len(wanted))
        status = HTTPStatus.OK
        if part is not None:
            status = HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {part[0]}-{part[-1]}/{found.size}"
        await self._send(writer, messages.head(status, headers, keeps_open=request.keeps_open))
        if request.method == "GET":
            found.file.seek(wanted.start)
            for start in range(0, len(wanted), _CHUNK_BYTES):
                size_bytes = min(_CHUNK_BYTES, len(wanted) - start)
                await self._send(writer, await asyncio.to_thread(found.file.read, size_bytes))

    async def _refuse(
        self,
        writer: asyncio.StreamWriter,
        status: HTTPStatus,
        *,
        keeps_open: bool,
        headers: dict[str, str] | None = None,
    ) -> None:
        """An answer without a body, which nobody is to keep."""
        allowed = {"Allow": "GET, HEAD"} if status == HTTPStatus.METHOD_NOT_ALLOWED else {}
        every = {"Date": formatdate(usegmt=True), "Content-Length": "0", **NEVER_KEPT}
        answer = messages.head(status, every | allowed | (headers or {}), keeps_open=keeps_open)
        await self._send(writer, answer)

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        async with asyncio.timeout(self._limits.stall_seconds):
            await writer.drain()
