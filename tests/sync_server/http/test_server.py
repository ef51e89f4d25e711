"""Public files over HTTP(S), asked for as devices, CDNs and attackers do."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import hashlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest
from tests.making.certificates import Certificates, make_certificates

from pocketlens.errors import ServerError
from pocketlens_server.http.connections import HttpLimits, listening_on
from pocketlens_server.http.files import OpenFile, PublicFiles
from pocketlens_server.http.server import HttpServer

BLOB = bytes(range(256)) * 800  # three chunks and a bit
NAME = hashlib.sha256(BLOB).hexdigest()
TIMESTAMP = b'{"signed": {"version": 7}}'
# The server's own limits, a fifth of their time.
LIMITS = HttpLimits(
    connections=40, host_connections=8, handshake_seconds=0.8, head_seconds=1, stall_seconds=2
)


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("public")
    for name, data in {
        f"main/blobs/{NAME}": BLOB,
        f"main/blobs/.{NAME}.tmp": b"being written",
        "main/metadata/timestamp.json": TIMESTAMP,
        "main/metadata/1.root.json": b"{}",
        f"main/targets/manifest/{NAME}.newest": b"manifest",
        "secret": b"not for anybody",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def served(public: Path, tls: ssl.SSLContext | None) -> Iterator[int]:
    """The port of a server that runs in a thread."""
    loop, listening = asyncio.new_event_loop(), listening_on("127.0.0.1", 0)
    port: int = listening.getsockname()[1]

    async def run() -> None:
        server = HttpServer(PublicFiles(public), listening, tls=tls, limits=LIMITS)
        await server.run(grace_seconds=1)

    running = loop.create_task(run())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([running])))
    thread.start()
    yield port
    loop.call_soon_threadsafe(running.cancel)
    thread.join(10)
    assert not thread.is_alive()
    assert running.cancelled()
    loop.close()


@pytest.fixture
def port(public: Path) -> Iterator[int]:
    yield from served(public, None)


@pytest.fixture
def tls_port(public: Path, certificates: Certificates) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    yield from served(public, context)


def answer(
    port: int, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    connection.request(method, path, headers=named)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response, data


def sent(port: int, data: bytes) -> bytes:
    """All that comes back for raw bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        found = b""
        while chunk := connection.recv(65536):
            found += chunk
        return found


def test_files_that_never_change_may_be_kept_for_ever(port: int) -> None:
    response, data = answer(port, f"/main/blobs/{NAME}")

    assert (response.status, data) == (200, BLOB)
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["ETag"] == f'"{NAME}"'
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Accept-Ranges"] == "bytes"
    for path in ("/main/metadata/1.root.json", f"/main/targets/manifest/{NAME}.newest"):
        assert "immutable" in answer(port, path)[0].headers["Cache-Control"]


def test_the_timestamp_is_asked_for_every_time_and_sent_when_it_is_new(
    port: int, public: Path
) -> None:
    path, place = "/main/metadata/timestamp.json", public / "main/metadata/timestamp.json"
    first, data = answer(port, path)
    again, nothing = answer(port, path, If_None_Match=first.headers["ETag"])
    place.write_bytes(TIMESTAMP + b" ")
    new, newer = answer(port, path, If_None_Match=first.headers["ETag"])
    place.write_bytes(TIMESTAMP)

    assert (first.status, data) == (200, TIMESTAMP)
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.headers["Content-Type"] == "application/json"
    assert (again.status, nothing) == (304, b"")
    assert (new.status, newer) == (200, TIMESTAMP + b" ")


def test_a_part_is_sent_as_a_part(port: int) -> None:
    part, data = answer(port, f"/main/blobs/{NAME}", Range="bytes=100000-199999")
    beyond, nothing = answer(port, f"/main/blobs/{NAME}", Range=f"bytes={len(BLOB)}-")

    assert (part.status, data) == (206, BLOB[100_000:200_000])
    assert part.headers["Content-Range"] == f"bytes 100000-199999/{len(BLOB)}"
    assert (beyond.status, nothing) == (416, b"")
    assert beyond.headers["Content-Range"] == f"bytes */{len(BLOB)}"


def test_a_head_is_the_answer_without_its_body(port: int) -> None:
    response, data = answer(port, f"/main/blobs/{NAME}", "HEAD")

    assert (response.status, data) == (200, b"")
    assert response.headers["Content-Length"] == str(len(BLOB))


def test_one_connection_serves_many_requests(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.connect()
    first = connection.sock
    for path, status in [
        ("/main/metadata/timestamp.json", 200),
        ("/main/metadata/2.root.json", 404),
        (f"/main/blobs/{NAME}", 200),
    ] * 3:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == status
        assert connection.sock is first
    connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/main",
        "/main/blobs/",
        "/secret",
        "/main/../secret",
        "/main/blobs/../../secret",
        "/main/blobs/%2e%2e/%2e%2e/secret",
        f"/main/blobs/.{NAME}.tmp",
        f"/main/blobs/{NAME.upper()}",
        f"//main/blobs/{NAME}",
        f"/other/blobs/{NAME}",
        f"/main/metadata/timestamp.json/blobs/{NAME}",
        "/main/metadata/2.root.json",
    ],
)
def test_nothing_else_is_there(port: int, path: str) -> None:
    response, data = answer(port, path)

    assert (response.status, data) == (404, b"")
    assert response.headers["Cache-Control"] == "no-cache"  # it may be there in a minute


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000, b"431"),
    ],
)
def test_what_is_no_request_ends_the_connection(port: int, data: bytes, status: bytes) -> None:
    try:
        found = sent(port, data)
    except ConnectionResetError:  # closed while it was still sending
        found = b"HTTP/1.1 " + status
        assert len(data) > 9000

    assert found.startswith(b"HTTP/1.1 " + status)


def test_tls_serves_the_same(tls_port: int, certificates: Certificates) -> None:
    context = ssl.create_default_context(cafile=str(certificates.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", tls_port, context=context, timeout=10)

    connection.request("GET", f"/main/blobs/{NAME}", headers={"Range": "bytes=1-9"})
    response = connection.getresponse()

    assert (response.status, response.read()) == (206, BLOB[1:10])
    connection.close()


@pytest.mark.parametrize("kind", ["port", "tls_port"])
@pytest.mark.parametrize("said", [b"", b"GET / HT", b"\x16\x03\x01"], ids=["silent", "half", "tls"])
def test_half_open_connections_are_closed_and_hold_nobody_up(
    kind: str, said: bytes, request: pytest.FixtureRequest, certificates: Certificates
) -> None:
    port: int = request.getfixturevalue(kind)
    began = monotonic()
    half_open = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(60)]
    for each in half_open:
        each.sendall(said)

    # More than the server takes at once: the oldest make way for the newest, and for a good caller.
    if kind == "port":
        assert answer(port, "/main/metadata/timestamp.json")[0].status == 200
    for each in half_open:
        with suppress(ConnectionResetError):
            while each.recv(1000):
                pass
        each.close()

    rounds = 2  # of 40 each
    assert monotonic() - began < rounds * (LIMITS.handshake_seconds + LIMITS.head_seconds) + 1


@contextmanager
def held_up(port: int, ask: Callable[[socket.socket], None]) -> Iterator[list[socket.socket]]:
    """Takes all places there are and more, from one host, until the context is left."""
    with ExitStack() as stack:
        connections = []
        for _ in range(LIMITS.connections + 10):
            connection = stack.enter_context(closing(socket.socket()))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # takes little
            connection.connect(("127.0.0.1", port))
            with suppress(OSError):  # one too many, and turned away
                ask(connection)
            connections.append(connection)
        yield connections


def asked_from(host: str, port: int, path: str) -> tuple[int, float]:
    """The status of an answer to another host, and the seconds until it was there."""
    began = monotonic()
    with closing(
        http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(host, 0))
    ) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status, monotonic() - began


@pytest.mark.parametrize("attack", ["silent", "half a head", "takes no answer"])
def test_one_host_holds_up_no_other(attack: str, port: int, public: Path) -> None:
    path, large = "/main/metadata/timestamp.json", of_much(public)
    head = f"GET /main/blobs/{large} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    said = {"silent": b"", "half a head": head[:20], "takes no answer": head}[attack]

    with held_up(port, lambda connection: connection.sendall(said)):
        others = [asked_from(f"127.0.0.{host}", port, path) for host in range(2, 12)]

    assert [status for status, _ in others] == [200] * 10
    assert max(seconds for _, seconds in others) < LIMITS.head_seconds / 2


def test_a_host_beyond_its_share_loses_answers_and_no_more(port: int, public: Path) -> None:
    """While there is another to take its places: what runs within its share runs on."""
    head = f"GET /main/blobs/{of_much(public)} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    path = f"/main/blobs/{NAME}"
    with (
        held_up(port, lambda connection: connection.sendall(head)),
        ThreadPoolExecutor(LIMITS.connections) as threads,
    ):
        most = LIMITS.connections - LIMITS.host_connections
        asked = threads.map(lambda n: asked_from(f"127.0.0.{n + 2}", port, path), range(most))
        statuses = [status for status, _ in asked]

    assert statuses == [200] * most


def test_a_request_that_comes_byte_by_byte_is_not_waited_for(port: int) -> None:
    began = monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.settimeout(0.2)
        for _ in range(100):
            try:
                connection.sendall(b"x")
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break

    assert LIMITS.head_seconds - 0.3 < monotonic() - began < LIMITS.head_seconds + 1


MUCH = bytes(32 << 20)  # more than the system holds for a connection


def of_much(public: Path) -> str:
    """The name of a blob of `MUCH`."""
    name = hashlib.sha256(MUCH).hexdigest()
    place = public / "main" / "blobs" / name
    if not place.exists():
        place.write_bytes(MUCH)
    return name


def ask_for_much(connection: socket.socket, public: Path) -> int:
    """Asks for `MUCH`, and returns how many bytes that is."""
    connection.sendall(f"GET /main/blobs/{of_much(public)} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return len(MUCH)


def test_an_answer_that_nobody_takes_is_given_up(public: Path, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        size = ask_for_much(connection, public)
        threading.Event().wait(LIMITS.stall_seconds + 1)
        received = 0
        with suppress(ConnectionResetError):
            while chunk := connection.recv(1 << 20):
                received += len(chunk)

    assert received < size


def test_a_server_that_ends_cuts_what_runs_on_and_says_so(
    public: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        closing(socket.socket()) as connection,  # outlives the server
        contextmanager(served)(public, None) as port,
    ):
        connection.connect(("127.0.0.1", port))
        ask_for_much(connection, public)
        assert connection.recv(1)

    assert "http.cut connections=1" in caplog.text


def test_a_port_that_is_taken_is_told(port: int) -> None:
    with pytest.raises(ServerError, match=f"Cannot listen on 127.0.0.1:{port}"):
        listening_on("127.0.0.1", port)


class Slow:
    """Files of a disk that takes its time.

    Attributes:
        is_asked: Whether one is being opened.
        may_open: Until then it takes.
        opened: Those that were.
    """

    def __init__(self, public: Path) -> None:
        self.is_asked, self.may_open = threading.Event(), threading.Event()
        self.opened: list[OpenFile] = []
        self._files = PublicFiles(public)

    def open(self, path: str) -> OpenFile:
        self.is_asked.set()
        self.may_open.wait(10)
        self.opened.append(self._files.open(path))
        return self.opened[-1]


def test_a_file_that_is_open_after_its_caller_was_given_up_is_closed(public: Path) -> None:
    files = Slow(public)

    async def given_up() -> None:
        listening = listening_on("127.0.0.1", 0)
        address = listening.getsockname()
        server = HttpServer(files, listening, tls=None, limits=LIMITS)
        running = asyncio.create_task(server.run(grace_seconds=0))
        with socket.socket() as caller:
            caller.setblocking(False)
            await asyncio.get_running_loop().sock_connect(caller, address)
            caller.send(f"GET /main/blobs/{NAME} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await asyncio.to_thread(files.is_asked.wait, 10)
            running.cancel()
            await asyncio.wait([running])
        files.may_open.set()

    asyncio.run(given_up())  # which waits for its threads

    assert [each.file.closed for each in files.opened] == [True]
