"""Every transport brings the same files, and tells the same of those that are not there."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.making.answering_threads import in_a_thread
from tests.making.certificates import Certificates, make_certificates
from tests.making.servers import Server
from tests.making.serving import on_disk, serving
from tests.making.shops import make_shop

from pocketlens.errors import ServerUnavailable, TransportError
from pocketlens.formats.manifest import PIECE_BYTES, Blob
from pocketlens.options import Deadlines
from pocketlens.sync.credentials import Credentials
from pocketlens.sync.grpc_transport import GrpcTransport
from pocketlens.sync.http_transport import HttpTransport
from pocketlens.sync.transports import AtHand, FolderTransport, MemoryTransport, Transport
from pocketlens_server.config import ServerConfig, Tls

NEW = AtHand(b"", 0, {}, b"")
LARGE = hashlib.shake_256(b"large").digest(2 * PIECE_BYTES + 1000)
KINDS = ["folder", "memory", "grpc", "grpc with TLS", "http", "https"]
TOKEN = "secret-0123456789"  # noqa: S105 # of no server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("server")
    made = Server.of_shop(make_shop(folder / "shop", products=20), folder / "made")
    made.publish()
    made.catalogue.blobs.put([LARGE])
    on_disk(made, folder / "disk")
    return made


@pytest.fixture(scope="module")
def transports(
    server: Server, certificates: Certificates
) -> Iterator[dict[str, Callable[[], Transport]]]:
    disk = server.public.parent.parent / "disk"
    tls = ServerConfig(tls=Tls(certificates.certificate, certificates.key))
    trusted = Credentials(certificates.ca.read_bytes(), TOKEN)
    files = {
        str(path.relative_to(server.public)): path.read_bytes()
        for path in server.public.rglob("*")
        if path.is_file()
    }
    with serving(disk) as plain, serving(disk, tls) as encrypted:
        yield {
            "folder": lambda: FolderTransport(server.public),
            "memory": lambda: MemoryTransport(files),
            "grpc": lambda: GrpcTransport(plain.grpc, "main"),
            "grpc with TLS": lambda: GrpcTransport(encrypted.grpc, "main", credentials=trusted),
            "http": lambda: HttpTransport(plain.http),
            "https": lambda: HttpTransport(encrypted.http, credentials=trusted),
        }


@pytest.fixture(params=KINDS)
def transport(
    request: pytest.FixtureRequest, transports: dict[str, Callable[[], Transport]]
) -> Iterator[Transport]:
    made = transports[request.param]()
    made.poll(NEW)
    yield made
    made.close()
    made.close()


def test_signed_files_come_whole(transport: Transport, server: Server) -> None:
    for name in ("metadata/timestamp.json", "metadata/1.root.json", "metadata/2.publishing.json"):
        found = transport.file(name)
        assert found is not None
        assert b"".join(found) == (server.public / name).read_bytes()


def test_a_file_that_is_not_there_is_none(transport: Transport) -> None:
    assert transport.file("metadata/2.root.json") is None
    assert transport.file("metadata/timestamp.json") is not None  # the connection goes on


def test_pieces_come_whole(transport: Transport) -> None:
    blob = Blob.of(LARGE)
    for number in (2, 0, 1):
        start = number * PIECE_BYTES
        data = b"".join(transport.piece(blob, number))
        assert data == LARGE[start : start + PIECE_BYTES]


def test_a_piece_that_nobody_takes_to_its_end_holds_nothing_up(transport: Transport) -> None:
    blob = Blob.of(LARGE)
    for _ in range(3):
        chunks = transport.piece(blob, 0)
        next(chunks)
        del chunks

    assert b"".join(transport.piece(blob, 2)) == LARGE[2 * PIECE_BYTES :]


def test_a_blob_that_is_not_there_is_told(transport: Transport) -> None:
    with pytest.raises(TransportError) as failed:
        list(transport.piece(Blob(bytes(32), 10, (bytes(32),)), 0))

    assert not isinstance(failed.value, ServerUnavailable)  # it will not be there later either


def test_a_server_of_another_authority_is_not_trusted(
    server: Server, certificates: Certificates, tmp_path: Path
) -> None:
    others = Credentials(make_certificates(tmp_path / "other").ca.read_bytes(), TOKEN)
    tls = ServerConfig(tls=Tls(certificates.certificate, certificates.key))
    with serving(server.public.parent.parent / "disk", tls) as address:
        for transport in (
            HttpTransport(address.http, credentials=others),
            HttpTransport(address.http),  # the system's do not know it
        ):
            with pytest.raises(TransportError, match="cannot be trusted") as failed:
                transport.file("metadata/timestamp.json")
            assert TOKEN not in str(failed.value)
            transport.close()
        grpc = GrpcTransport(address.grpc, "main", credentials=others)
        with pytest.raises(TransportError) as failed:
            grpc.poll(NEW)
        assert TOKEN not in str(failed.value)
        grpc.close()


def test_who_asks_a_server_with_tls_in_the_clear_is_told_how(
    server: Server, certificates: Certificates
) -> None:
    disk = server.public.parent.parent / "disk"
    tls = ServerConfig(tls=Tls(certificates.certificate, certificates.key))
    with serving(disk, tls) as encrypted:
        transport = GrpcTransport(encrypted.grpc, "main")
        with pytest.raises(ServerUnavailable, match="--ca"):
            transport.poll(NEW)
        transport.close()


# --- answers that no honest server gives ---------------------------------------------------------


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers every request with what the server was told to, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))  # type: ignore[attr-defined]
        status, headers, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Liar(http.server.ThreadingHTTPServer):
    """A server of `Answering`."""

    answer: tuple[int, dict[str, str], bytes] = (200, {"Content-Length": "0"}, b"")

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[dict[str, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.mark.parametrize(
    ("answer", "says", "is_pushback"),
    [
        ((503, {"Content-Length": "0", "Retry-After": "3600"}, b""), "answers 503", True),
        ((429, {"Content-Length": "0"}, b""), "answers 429", True),
        ((500, {"Content-Length": "0"}, b""), "answers 500", False),
        ((401, {"Content-Length": "0"}, b""), "answers 401", False),
        ((200, {"Content-Type": "text/html; charset=utf-8", "Content-Length": "6"}, b"<html>"),
         "sign in", False),
        ((302, {"Location": "/again", "Content-Length": "0"}, b""), "redirects more than 3", False),
        ((200, {"Content-Length": "100"}, b"short"), "broke off", True),
        ((200, {"Transfer-Encoding": "chunked"}, b"zz\r\n"), "broke off", True),
    ],
)  # fmt: skip
def test_answers_that_are_none_are_told(
    answer: tuple[int, dict[str, str], bytes], says: str, is_pushback: bool
) -> None:
    with in_a_thread(Liar()) as server:
        server.answer = answer[0], answer[1] | {"Connection": "close"}, answer[2]
        transport = HttpTransport(server.address, deadlines=Deadlines(2, 2, 4))
        with pytest.raises(TransportError, match=says) as failed:
            b"".join(transport.file("metadata/timestamp.json") or ())
        transport.close()

    assert isinstance(failed.value, ServerUnavailable) is is_pushback


def test_of_a_server_without_ranges_a_file_is_read_once() -> None:
    blob, part = Blob.of(LARGE), PIECE_BYTES
    with in_a_thread(Liar()) as server:
        server.answer = 200, {"Content-Length": str(len(LARGE))}, LARGE
        transport = HttpTransport(server.address)
        for number in (0, 1, 2):
            data = b"".join(transport.piece(blob, number))
            assert data == LARGE[number * part : (number + 1) * part]
        assert len(server.asked) == 1

        assert b"".join(transport.piece(blob, 1)) == LARGE[part : 2 * part]  # again, and again
        assert b"".join(transport.piece(blob, 1)) == LARGE[part : 2 * part]
        next(transport.piece(blob, 2))
        assert b"".join(transport.file("metadata/timestamp.json") or ()) == LARGE
        assert b"".join(transport.piece(blob, 2)) == LARGE[2 * part :]
        transport.close()


def test_of_a_server_without_ranges_what_broke_off_is_asked_for_again() -> None:
    blob, part = Blob.of(LARGE), PIECE_BYTES
    with in_a_thread(Liar()) as server:
        short = {"Content-Length": str(len(LARGE)), "Connection": "close"}
        server.answer = 200, short, LARGE[: part + 1000]
        transport = HttpTransport(server.address)
        assert b"".join(transport.piece(blob, 0)) == LARGE[:part]
        with pytest.raises(ServerUnavailable, match="broke off"):
            b"".join(transport.piece(blob, 1))
        server.answer = 200, {"Content-Length": str(len(LARGE))}, LARGE

        assert b"".join(transport.piece(blob, 1)) == LARGE[part : 2 * part]
        transport.close()


def test_what_was_not_asked_for_in_that_form_is_not_inflated() -> None:
    with in_a_thread(Liar()) as server:
        server.answer = (
            200,
            {"Content-Encoding": "gzip", "Content-Length": "4"},
            b"\x1f\x8b\x08\x00",
        )
        transport = HttpTransport(server.address)

        assert b"".join(transport.file("metadata/timestamp.json") or ()) == b"\x1f\x8b\x08\x00"
        transport.close()


def test_a_connection_that_was_closed_between_two_calls_is_made_anew() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfile"
    served: list[int] = []

    def serve(listening: socket.socket) -> None:
        # Answers the first request of a connection, and hangs up when a second has come.
        for number in range(3):
            accepted, _ = listening.accept()
            with accepted:
                while accepted.recv(65536) and served[-1:] != [number]:
                    accepted.sendall(answer)
                    served.append(number)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=[listening])
        thread.start()
        transport = HttpTransport(f"http://127.0.0.1:{listening.getsockname()[1]}")
        for _ in range(3):
            assert b"".join(transport.file("metadata/timestamp.json") or ()) == b"file"
        transport.close()
        thread.join(10)

    assert served == [0, 1, 2]


def test_a_token_goes_to_its_own_server_alone() -> None:
    with ExitStack() as stack:
        own, other = (stack.enter_context(in_a_thread(Liar())) for _ in range(2))
        own.answer = 302, {"Location": f"{other.address}/x", "Content-Length": "0"}, b""
        other.answer = 200, {"Content-Length": "4"}, b"file"
        transport = HttpTransport(own.address, credentials=Credentials(token=TOKEN))

        assert b"".join(transport.file("metadata/timestamp.json") or ()) == b"file"
        transport.close()

    assert own.asked[0]["Authorization"] == f"Bearer {TOKEN}"
    assert "Authorization" not in other.asked[0]
