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
import threading
from contextlib import closing, suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

from pocketlens_server.http import messages
from pocketlens_server.http.connections import Connections, HttpLimits, abort
from pocketlens_server.http.files import NEVER_KEPT, OpenFile
from pocketlens_server.http.messages import Refused, Request
from pocketlens_server.http.places import Place

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 64 << 10


class Files(Protocol):
    """What is served; called in threads."""

    def open(self, path: str) -> OpenFile:
        """The file at a path.

        Raises:
            Refused: There is none, or not now.
        """


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
        self._files, self._tls = files, tls
        self._limits = limits or HttpLimits()
        self._connections = Connections(listening, self._limits, self._connection)

    async def run(self, *, grace_seconds: float) -> None:
        """Takes connections until it is cancelled; answers that run then have time to end."""
        await self._connections.run(grace_seconds=grace_seconds)

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
            abort(transport)

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
        with self._connections.answering(place):
            try:
                found = await self._opened(request.path)
                with closing(found.file):
                    await self._answer(writer, request, found)
            except Refused as refused:
                await self._refuse(writer, refused.status, keeps_open=request.keeps_open)
        return request.keeps_open

    async def _opened(self, path: str) -> OpenFile:
        """A file; one that is there only when its caller has been given up is closed again."""
        lock, found, is_wanted = threading.Lock(), list[OpenFile](), True

        def opened() -> OpenFile:
            file = self._files.open(path)
            with lock:
                if is_wanted:
                    found.append(file)
                else:
                    file.file.close()
            return file

        try:
            return await asyncio.to_thread(opened)
        except asyncio.CancelledError:
            with lock:
                is_wanted = False
                for each in found:
                    each.file.close()
            raise

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
