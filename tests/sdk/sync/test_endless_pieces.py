"""Of a piece that does not end no more is taken than was signed, and what came beside it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import http.server
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

import grpc
import pytest
from tests.making.answering_threads import in_a_thread
from tests.making.followers import answer, sync
from tests.making.networks import CountingTransport
from tests.making.servers import Server

from pocketlens.errors import TransportError
from pocketlens.formats.manifest import PIECE_BYTES
from pocketlens.products import Product
from pocketlens.store.pieces import Pieces
from pocketlens.store.verification import verify
from pocketlens.sync.grpc_transport import GrpcTransport
from pocketlens.sync.http_transport import HttpTransport
from pocketlens.sync.planner import Action
from pocketlens.sync.transports import Transport
from pocketlens_protos.v1 import sync_service_pb2 as messages
from pocketlens_protos.v1 import sync_service_pb2_grpc as stubs
from pocketlens_server.catalogue.operations import PutProduct, apply
from pocketlens_server.publishing import answers
from pocketlens_server.publishing.answers import Asked
from pocketlens_server.publishing.keys import ROLES

FRAME = bytes(64 << 10)
FRAMES = 256  # sixteen pieces: a device that takes them all is noticed, and does not hang


class EndlessService(stubs.SyncServiceServicer):
    """Answers who polls as any server does; no piece ends."""

    def __init__(self, public: Path) -> None:
        self._public = public

    def Poll(  # noqa: N802 # as the service names it
        self, request: messages.PollRequest, context: object
    ) -> messages.PollResponse:
        versions = {role: getattr(request, role) for role in ROLES}
        found = answers.newer(self._public, Asked(request.generation, request.version, versions))
        files = [messages.File(name=name, data=data) for name, data in found.files.items()]
        return messages.PollResponse(files=files, delta=found.delta)

    def GetPieces(  # noqa: N802 # as the service names it
        self, request: object, context: object
    ) -> Iterator[messages.PieceChunk]:
        yield from [messages.PieceChunk(data=FRAME)] * FRAMES


class EndlessFiles(http.server.SimpleHTTPRequestHandler):
    """Serves signed files as they are; no blob ends."""

    protocol_version = "HTTP/1.1"
    part = 206

    def do_GET(self) -> None:
        if not self.path.startswith("/blobs/"):
            super().do_GET()
            return
        self.close_connection = True
        self.send_response(self.part if "Range" in self.headers else 200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(OSError):  # who asked has hung up
            for _ in range(FRAMES):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(FRAME), FRAME))
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


class EndlessFilesWithoutParts(EndlessFiles):
    """Sends the whole file to who asks for a part."""

    part = 200


@contextmanager
def endless_service(public: Path) -> Iterator[Transport]:
    server = grpc.server(ThreadPoolExecutor(2))
    stubs.add_SyncServiceServicer_to_server(EndlessService(public), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield GrpcTransport(f"127.0.0.1:{port}", "main")
    finally:
        server.stop(0).wait()


@contextmanager
def endless_files(public: Path, kind: type[EndlessFiles] = EndlessFiles) -> Iterator[Transport]:
    handler = partial(kind, directory=str(public))
    with in_a_thread(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield HttpTransport(f"http://127.0.0.1:{server.server_address[1]}")


WAYS: dict[str, Callable[[Path], AbstractContextManager[Transport]]] = {
    "grpc": endless_service,
    "http": endless_files,
    "http without parts": partial(endless_files, kind=EndlessFilesWithoutParts),
}


@pytest.mark.parametrize("way", list(WAYS))
def test_no_more_is_taken_than_was_signed_and_one_frame(
    server: Server, store: Path, way: str
) -> None:
    rng = random.Random(1)
    for number in range(PIECE_BYTES // 4096):  # of noise, which does not compress
        apply(server.catalogue.history, PutProduct(Product(f"{number}", rng.randbytes(4096).hex())))
    delta = server.publish().manifests[-1].deltas[0].blob

    with WAYS[way](server.public) as transport:
        counting = CountingTransport(transport)
        with pytest.raises(TransportError, match="Expected a piece of 1,048,576 bytes"):
            sync(server, store, transport=counting)

    ((piece, taken),) = counting.received.items()
    assert piece == (delta.sha256, 0)
    assert PIECE_BYTES <= taken <= PIECE_BYTES + len(FRAME)
    assert Pieces(store / "pieces").at_hand() == frozenset()
    assert verify(store).findings == ()
    assert answer(server, store) == 1
    assert sync(server, store).action is Action.DELTA
    assert answer(server, store) == 2
