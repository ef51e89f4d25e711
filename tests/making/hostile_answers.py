"""A server that lies: what a device reads of answers over gRPC and over HTTP.

    with answering(folder) as readers:
        outcome(readers["PollResponse"], mutant)

A reader calls a server on the loopback, which answers with the bytes it was given.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
import socketserver
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import grpc

from pocketlens.errors import TransportError
from pocketlens.formats.manifest import PIECE_BYTES, Blob
from pocketlens.options import Deadlines
from pocketlens.store.pieces import Pieces
from pocketlens.sync.grpc_transport import GrpcTransport
from pocketlens.sync.http_transport import HttpTransport
from pocketlens.sync.transports import AtHand
from pocketlens_protos.v1 import sync_service_pb2 as messages
from tests.making.answering_threads import in_a_thread
from tests.making.hostile_messages import MOST_SECONDS, Reader
from tests.making.hostile_tokens import HTTP_LIES, TokenReader

NEW = AtHand(b"", 0, {}, b"")
DATA = b"a delta, or a piece of another file"
SMALL = Blob.of(DATA)
LARGE = Blob(bytes(32), PIECE_BYTES + len(DATA), (bytes(32), SMALL.pieces[0]))
DEADLINES = Deadlines(MOST_SECONDS, MOST_SECONDS, MOST_SECONDS)
ROOTS = tuple(f"metadata/{number}.root.json" for number in (1, 2, 3))
NAMES = (*ROOTS, "metadata/timestamp.json")


@contextmanager
def answering(folder: Path) -> Iterator[dict[str, Reader]]:
    """Readers of each message that a device gets; pieces are put into `folder`."""
    pieces = Pieces(folder)
    with (
        _grpc() as service,
        in_a_thread(_Plain(("127.0.0.1", 0), _Answering)) as plain,
        ExitStack() as stack,
    ):
        asking, fetching = (
            stack.enter_context(
                closing(GrpcTransport(service.address, "main", deadlines=DEADLINES))
            )
            for _ in range(2)
        )

        def read_poll(data: bytes) -> None:
            service.polled, service.piece = data, _CHUNKS[0]
            asking.poll(NEW)
            for name in NAMES:
                b"".join(asking.file(name) or ())
            pieces.put(SMALL.pieces[0], asking.piece(SMALL, 0), size=SMALL.size)

        def read_chunk(data: bytes) -> None:
            service.piece = data
            pieces.put(SMALL.pieces[0], fetching.piece(SMALL, 0), size=SMALL.size)

        def read_http(data: bytes) -> None:
            plain.answer = data
            with closing(HttpTransport(plain.address, deadlines=DEADLINES)) as http:
                b"".join(http.file(NAMES[-1]) or ())
                b"".join(http.piece(LARGE, 1))

        errors = (TransportError,)
        yield {
            "PollResponse": Reader(read_poll, errors, lambda: list(_POLLED)),
            "PieceChunk": Reader(read_chunk, errors, lambda: list(_CHUNKS)),
            "answer over HTTP": TokenReader(
                read_http, errors, lambda: list(_HTTP), _answer_tokens, (*HTTP_LIES, *_ANSWER_LIES)
            ),
        }


def _answer_tokens(data: bytes) -> list[bytes]:
    """A path stays whole: after two slashes comes a host, whose name would be looked up."""
    return [each for each in re.split(rb"(\r\n|: |[ ,;=-])", data) if each]


def _response(names: Sequence[str], delta: bytes) -> bytes:
    files = [messages.File(name=name, data=b"{}") for name in names]
    return messages.PollResponse(files=files, delta=delta).SerializeToString()


_POLLED = (_response(NAMES, DATA), _response(ROOTS[:2], b""))  # the second is cut
_CHUNKS = (
    messages.PieceChunk(data=DATA).SerializeToString(),
    messages.PieceChunk(place=1, data=DATA).SerializeToString(),
)
_HTTP = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\nfile",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfile\r\n3;a=b\r\n...\r\n0\r\n\r\n",
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/9\r\nContent-Length: 4\r\n\r\nfile",
    b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
)
_ANSWER_LIES = (
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200\r\n", b"ICY 200 OK\r\n", b"99", b"1000",
    b"204", b"304", b"429", b"503", b"ffffffffffffffff", b"-4\r\n", b"Content-Encoding: gzip\r\n",
    b"Location: http://[\r\n", b"Location: http://127.0.0.1:99999/\r\n", b"Location: file:///\r\n",
    b"Location: http://127.0.0.1:x/\r\n", b"http://[::1", b"ftp://127.0.0.1/", b"text/html",
    b"X: y\r\n" * 20_000,
)  # fmt: skip


class _Service(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """Answers every call with bytes as they are."""

    polled = piece = b""
    address = ""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        if details.method.endswith("/Poll"):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: self.polled)
        return grpc.unary_stream_rpc_method_handler(lambda request, context: iter([self.piece]))


@contextmanager
def _grpc() -> Iterator[_Service]:
    service = _Service()
    server = grpc.server(ThreadPoolExecutor(1), handlers=[service])
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield service
    finally:
        server.stop(None).wait()


class _Plain(socketserver.TCPServer):
    answer = b""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answering(socketserver.StreamRequestHandler):
    """Reads a request, answers with bytes as they are, and hangs up."""

    def handle(self) -> None:
        assert isinstance(self.server, _Plain)
        with suppress(ConnectionError):
            while self.rfile.readline().strip():
                pass
            self.wfile.write(self.server.answer)
