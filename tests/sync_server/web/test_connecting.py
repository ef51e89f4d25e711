"""Connections of the web side: callers that are slow, that lie, that go, that hold places."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from tests.making.certificates import make_certificates

from pocketlens.errors import QuotaExceeded
from pocketlens_server.http.connections import HttpLimits, listening_on
from pocketlens_server.web import answers
from pocketlens_server.web.answers import Refused
from pocketlens_server.web.bodies import Bodies
from pocketlens_server.web.connecting import ServedApplication
from pocketlens_server.web.limits import WebLimits
from pocketlens_server.web.waiting import while_awaited

# The server's own limits, a fifth of their time.
LIMITS = WebLimits(
    http=HttpLimits(
        connections=40, host_connections=8, handshake_seconds=0.8, head_seconds=1, stall_seconds=2
    ),
    body_seconds=1.5,
)
MOST_BYTES, HOST_BYTES, ALL_BYTES = 1 << 20, 2 << 20, 3 << 20
LARGE = 8 << 20  # more than the system takes by itself


class Echo:
    """Answers with the length of what came, or with as much as is asked for, or never."""

    def __init__(self) -> None:
        self.bodies = Bodies(
            all_bytes=ALL_BYTES, host_bytes=HOST_BYTES, seconds=LIMITS.body_seconds
        )
        self.is_working, self.is_given_up = threading.Event(), threading.Event()
        self.may_end = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._response(request)
        except ClientDisconnect:
            return
        except (Refused, QuotaExceeded) as exc:
            _, response = answers.refused(exc)
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        if request.url.path == "/large":
            return Response(bytes(LARGE))
        if request.url.path == "/quick":  # without a look at the body
            return Response(b"quick")
        async with self.bodies.read(request, most_bytes=MOST_BYTES) as body:
            if request.url.path in ("/never", "/later"):
                await while_awaited(request, self._work(), place=nullcontext)
            return Response(str(len(body)).encode())

    async def _work(self) -> None:
        self.is_working.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.is_given_up.set()
            raise


class Running:
    """A server in a thread.

    Attributes:
        port: On 127.0.0.1.
        echo: What answers.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, limits: WebLimits = LIMITS) -> None:
        self.echo, self._loop = Echo(), asyncio.new_event_loop()
        listening = listening_on("127.0.0.1", 0)
        self.port: int = listening.getsockname()[1]

        async def run() -> None:
            await ServedApplication(self.echo, listening, tls=tls, limits=limits).run(
                grace_seconds=3
            )

        self._task = self._loop.create_task(run())
        done = asyncio.wait([self._task])
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(done))
        self._thread.start()

    def release(self) -> None:
        """Lets what is worked on end."""
        self._loop.call_soon_threadsafe(self.echo.may_end.set)

    def begin_to_stop(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)

    def stop(self) -> float:
        """Ends it; the seconds that took."""
        began = monotonic()
        if self._thread.is_alive():
            self.begin_to_stop()
        self._thread.join(10)
        assert not self._thread.is_alive()
        assert self._task.cancelled()
        self._loop.close()
        return monotonic() - began


@pytest.fixture
def server() -> Iterator[Running]:
    running = Running()
    yield running
    running.stop()


@contextmanager
def connected(server: Running, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A connection from a host of the loopback."""
    address = ("127.0.0.1", server.port)
    with socket.create_connection(address, timeout=10, source_address=(host, 0)) as connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    found = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            found += chunk
    return found


def asked(server: Running, path: str = "/", body: bytes | None = None) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        return response.status, response.read()


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"


def test_requests_follow_each_other_on_one_connection(server: Running) -> None:
    with connected(server) as connection:
        connection.sendall(HEAD + b"12345" + HEAD.replace(b"5", b"2") + b"12")
        found = rest(connection)

    assert found.count(b"HTTP/1.1 200 OK") == 2
    assert found.endswith(b"2")


@pytest.mark.parametrize("said", [b"", b"POST / HT", HEAD[:-2], HEAD + b"12345" + HEAD[:20]])
def test_a_head_that_does_not_come_is_not_waited_for(said: bytes, server: Running) -> None:
    began = monotonic()
    with connected(server) as connection:
        connection.sendall(said)
        rest(connection)

    assert 0.5 < monotonic() - began < 2.5


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(server: Running) -> None:
    """Also when it is the second of its connection."""
    for first in (b"", HEAD + b"12345"):
        began = monotonic()
        with connected(server) as connection, suppress(OSError):
            connection.sendall(first)
            connection.settimeout(0.1)
            for each in range(100):
                connection.sendall(HEAD[each % 20 : each % 20 + 1].replace(b"\r", b"a"))
                with suppress(TimeoutError):
                    if not connection.recv(4096):
                        break
        assert monotonic() - began < 3


def test_a_body_that_comes_slowly_is_told_so(server: Running) -> None:
    began = monotonic()
    with connected(server) as connection:
        connection.sendall(HEAD + b"123")
        found = rest(connection)

    assert found.startswith(b"HTTP/1.1 408 ")
    assert json.loads(found.partition(b"\r\n\r\n")[2])["error"]["code"] == "DEADLINE_EXCEEDED"
    assert monotonic() - began < 4


def test_a_body_that_nobody_wanted_is_not_waited_for(server: Running) -> None:
    began = monotonic()
    with connected(server) as connection:
        connection.sendall(b"POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n1")
        found = rest(connection)

    assert found.endswith(b"quick")
    assert monotonic() - began < 2.5


def test_an_answer_that_is_not_taken_is_not_waited_for(server: Running) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        threading.Event().wait(3)
        connection.settimeout(10)
        found = rest(connection)

    assert len(found) < LARGE


def test_an_answer_that_is_taken_slowly_comes_whole(server: Running) -> None:
    """It takes longer than a head may."""
    began = monotonic()
    with connected(server) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        taken = 0
        while taken < LARGE and (chunk := connection.recv(1 << 16)):
            taken += len(chunk)
            threading.Event().wait(0.015)

    assert taken > LARGE
    assert monotonic() - began > LIMITS.http.head_seconds


def test_many_large_bodies_at_once_are_refused_before_there_is_no_room(server: Running) -> None:
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {MOST_BYTES}\r\n\r\n".encode()
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(server, f"127.0.0.{host}")) for host in (2, 2, 3)]
        for connection in slow:  # all but the last byte
            connection.sendall(head + bytes(MOST_BYTES - 1))
        until(lambda: server.echo.bodies.held_bytes == ALL_BYTES - 3)
        refused = asked(server, body=bytes(1000))
        for connection in slow:
            connection.sendall(b"x")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")

    assert refused[0] == 429
    assert asked(server, body=bytes(1000)) == (200, b"1000")
    until(lambda: server.echo.bodies.held_bytes == 0)


def test_large_bodies_of_one_host_leave_room_for_others(server: Running) -> None:
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {MOST_BYTES}\r\n\r\n".encode()
    with connected(server) as one, connected(server) as two:
        for connection in (one, two):
            connection.sendall(head + bytes(MOST_BYTES - 1))
        until(lambda: server.echo.bodies.held_bytes == HOST_BYTES - 2)

        assert asked(server, body=bytes(1000))[0] == 429
        with connected(server, "127.0.0.2") as other:
            other.sendall(HEAD + b"12345")
            assert other.recv(4096).startswith(b"HTTP/1.1 200 OK")


def test_work_ends_when_nobody_waits_for_it(server: Running) -> None:
    with connected(server) as connection:
        connection.sendall(HEAD.replace(b"/ ", b"/never ") + b"12345")
        assert server.echo.is_working.wait(10)
    assert server.echo.is_given_up.wait(10)
    until(lambda: server.echo.bodies.held_bytes == 0)


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # for no host
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 900_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600),  # TLS where there is none
    ],
)
def test_what_is_no_request_is_told_in_json_and_closed(said: bytes, server: Running) -> None:
    with connected(server) as connection:
        connection.sendall(said)
        found = rest(connection)

    assert found.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(found.partition(b"\r\n\r\n")[2])["error"]["code"] == "INVALID_ARGUMENT"
    assert asked(server) == (200, b"0")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET /quick HTTP/1.1\r\nHost: a\r\nX: " + b"x" * LIMITS.head_bytes + b"\r\n\r\n", 431),
        (b"GET /quick?" + b"x" * LIMITS.head_bytes + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ],
)
def test_a_head_that_cannot_be_is_told_so_and_nothing_follows(
    said: bytes, status: int, server: Running
) -> None:
    with connected(server) as connection:
        connection.sendall(said + b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n")
        found = rest(connection)

    assert found.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(found.partition(b"\r\n\r\n")[2])["error"]["code"] == "INVALID_ARGUMENT"


def test_garbage_after_an_answer_closes_and_no_more(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(server) as connection:
        connection.sendall(b"POST /quick HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
        connection.sendall(b"zz no chunk\r\n")
        assert b"HTTP/1.1" not in rest(connection)
    assert asked(server) == (200, b"0")
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("said", [b"", HEAD[:20], HEAD + b"12"])
def test_one_host_holds_up_no_other(said: bytes, server: Running) -> None:
    with ExitStack() as stack:
        for _ in range(LIMITS.http.connections + 10):
            connection = stack.enter_context(connected(server))
            with suppress(OSError):  # one too many, and turned away
                connection.sendall(said)
        answered = [answered_to(f"127.0.0.{host}", server.port) for host in range(2, 7)]

    assert answered == [200] * 5


def answered_to(host: str, port: int) -> int:
    with closing(
        http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(host, 0))
    ) as connection:
        connection.request("GET", "/quick")
        return connection.getresponse().status


def test_what_is_being_answered_ends_when_the_server_does_and_nothing_follows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    patient = replace(LIMITS, http=replace(LIMITS.http, head_seconds=60))
    running = Running(limits=patient)
    with connected(running) as idle, connected(running) as busy:
        busy.sendall(HEAD.replace(b"/ ", b"/later ") + b"12345")
        assert running.echo.is_working.wait(10)
        running.begin_to_stop()
        assert rest(idle) == b""
        running.release()
        found = rest(busy)
    running.stop()

    assert found.startswith(b"HTTP/1.1 200 OK")
    assert "http.cut" not in caplog.text


def test_work_that_does_not_end_is_cut_when_its_time_is_over() -> None:
    running = Running()
    with connected(running) as connection:
        connection.sendall(HEAD.replace(b"/ ", b"/never ") + b"12345")
        assert running.echo.is_working.wait(10)
        seconds = running.stop()

    assert running.echo.is_given_up.is_set()
    assert 2 < seconds < 6


def test_a_handshake_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made.certificate, made.key)
    running = Running(tls)
    try:
        began = monotonic()
        with connected(running) as connection:
            connection.sendall(b"\x16\x03\x01")
            rest(connection)
        assert monotonic() - began < 2.5
        trusting = ssl.create_default_context(cafile=str(made.ca))
        with closing(
            http.client.HTTPSConnection("127.0.0.1", running.port, context=trusting, timeout=10)
        ) as secured:
            secured.request("POST", "/", bytes(500_000))
            assert secured.getresponse().read() == b"500000"
    finally:
        running.stop()


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another thread does."""
    began = monotonic()
    while not condition():
        assert monotonic() - began < 10
        threading.Event().wait(0.01)
