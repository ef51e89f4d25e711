"""The application's connections: HTTP/1.1 by uvicorn, bounded in number, in bytes and in time.

    served = ServedApplication(application, listening_on("127.0.0.1", 8090), tls=None)
    await served.run(grace_seconds=8)          # until it is cancelled

uvicorn's own server has no limit for a handshake, for the first head, or for a head that comes
slowly after another request; so connections are ours (`http.connections`, as of public files), and
uvicorn is what each speaks.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from http import HTTPStatus

import h11
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from pocketlens_server.http.connections import Connections, HttpLimits, abort
from pocketlens_server.http.places import Place
from pocketlens_server.services.answering import Told
from pocketlens_server.web.answers import error_in_json, refusal
from pocketlens_server.web.limits import WebLimits

logger = logging.getLogger(__name__)


class ServedApplication:
    """An application on one socket."""

    def __init__(
        self,
        application: ASGIApp,
        listening: socket.socket,
        *,
        tls: ssl.SSLContext | None,
        limits: WebLimits | None = None,
    ) -> None:
        """Takes no connection yet.

        Args:
            application: What answers.
            listening: See `http.connections.listening_on`.
            tls: What connections are encrypted with; it may be given another certificate meanwhile.
            limits: Of connections, and of heads.
        """
        self._limits, self._tls = limits or WebLimits(), tls
        self._config = Config(
            _of_good_heads(application, self._limits.head_bytes),
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=self._limits.head_bytes,
            timeout_keep_alive=math.ceil(self._limits.http.head_seconds),
        )
        self._config.load()
        self._state = ServerState()
        self._connections = Connections(listening, self._limits.http, self._connection)

    async def run(self, *, grace_seconds: float) -> None:
        """Takes connections until it is cancelled; answers that run then have time to end."""
        try:
            await self._connections.run(grace_seconds=grace_seconds)
        finally:  # those of connections that were cut see it
            await asyncio.gather(*self._state.tasks, return_exceptions=True)

    async def _connection(self, accepted: socket.socket, place: Place) -> None:
        """One connection, from its handshake to its end."""
        protocol = _Connection(
            self._config,
            self._state,
            answering=partial(self._connections.answering, place),
            limits=self._limits.http,
            is_last=lambda: self._connections.is_ending,
        )
        seconds = self._limits.http.handshake_seconds if self._tls else None
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
            )
        except OSError as exc:  # errors of TLS are
            logger.debug("web.handshake.failed error=%s", exc)
            accepted.close()
            return
        try:
            await protocol.closed
        finally:
            abort(transport)


def _of_good_heads(application: ASGIApp, most_bytes: int) -> ASGIApp:
    """An application that no bad head comes to; nothing else of its connection is read."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await (_refusal(scope, most_bytes) or application)(scope, receive, send)

    return answer


def _refusal(scope: Scope, most_bytes: int) -> Response | None:
    """What a head is answered that h11 lets pass: one that came at once, however large it is.

    And one that says two ends of its body, of which a proxy may have believed the other
    (RFC 9112, section 6.3).
    """
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    size = len(scope["raw_path"]) + len(scope["query_string"])
    if size + sum(len(name) + len(value) for name, value in headers) > most_bytes:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        text = f"Expected a head of at most {most_bytes:,} bytes. Received more."
    elif {b"content-length", b"transfer-encoding"} <= {name for name, _ in headers}:
        status = HTTPStatus.BAD_REQUEST
        text = "Expected Content-Length or Transfer-Encoding. Received both."
    else:
        return None
    return refusal(Told("INVALID_ARGUMENT", text), status=status, headers={"Connection": "close"})


class _Connection(H11Protocol):
    """One that must begin a request, or take its answer, before its time is over."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        *,
        answering: Callable[[], AbstractContextManager[None]],
        limits: HttpLimits,
        is_last: Callable[[], bool],
    ) -> None:
        """Is not connected yet.

        Args:
            config: Of uvicorn.
            state: Of it, for all connections.
            answering: Gives what is to be around an answer; the application finds it in its scope.
            limits: For each head, and for each part of an answer that the system does not take.
            is_last: Whether no other request is to follow.
        """
        super().__init__(config, state, {"answering": answering})
        self.closed = self.loop.create_future()
        self._limits, self._is_last = limits, is_last
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0

    def connection_made(  # type: ignore[override]  # as uvicorn has it
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if not self.closed.done():
            self.closed.set_result(None)

    def handle_events(self) -> None:
        super().handle_events()
        if self._is_asked:
            self._stop()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_asked:  # another request had come already
            return
        if self._is_last():
            self.transport.close()
        self._wait()

    def send_400_response(self, msg: str) -> None:
        """To what is no request; in the words of every other refusal."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            data = error_in_json("INVALID_ARGUMENT", "Expected a request of HTTP/1.1.")
            headers = [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(data))),
                ("Connection", "close"),
            ]
            events: list[h11.Event] = [
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=data),
                h11.EndOfMessage(),
            ]
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._wait()

    @property
    def _is_asked(self) -> bool:
        """Whether a request has come that is not answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        """Lets the time for the next head begin, or for what is still to be taken."""
        self._stop()
        self._unsent = self.transport.get_write_buffer_size()
        limits = self._limits
        seconds = limits.stall_seconds if self._unsent else limits.head_seconds
        self._timer = self.loop.call_later(seconds, self._end)

    def _end(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent < self._unsent:  # it takes its answer, slowly
            self._wait()
        else:
            abort(self.transport)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
