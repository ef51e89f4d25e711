"""Servers that a device may ask about a photo: one that answers from a store, and worse ones.

    with answering(service := StoreService(store)) as address:
        lens.search(photo, fallback=Fallback(address))
    service.asked[0].embedding.values

They speak over the loopback, to real connections; `elsewhere` runs one in a process of its own:

    python -m tests.making.query_servers KIND STORE       # prints its address; ends with its stdin
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import grpc

from pocketlens import Lens
from pocketlens.answering import Auto
from pocketlens.fallback import messages as codec
from pocketlens.results import SearchResult
from pocketlens_protos.v1 import query_service_pb2 as messages
from pocketlens_protos.v1 import query_service_pb2_grpc as stubs
from tests.making.answering_threads import in_a_thread
from tests.making.certificates import Certificates

ROOT = Path(__file__).resolve().parents[2]


class StoreService(stubs.QueryServiceServicer):
    """Answers as the device itself would, in other words.

    Attributes:
        store: That it answers from.
        asked: Questions that came.
        tokens: What came with each; "" for none.
        changed: What becomes of each answer.
        refusal: Code, text and metadata that are answered in place of it.
        looks: Called when a question has come, before it is answered.
        waits: Is waited for then.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self.asked: list[messages.SearchRequest] = []
        self.tokens: list[str] = []
        self.changed: Callable[[SearchResult], SearchResult] = lambda found: found
        self.refusal: tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]] | None = None
        self.looks: Callable[[], object] = lambda: None
        self.waits = threading.Event()
        self.waits.set()

    def Search(  # noqa: N802
        self, request: messages.SearchRequest, context: grpc.ServicerContext
    ) -> messages.SearchResponse:
        self.asked.append(request)
        self.tokens.append(dict(context.invocation_metadata()).get("authorization", ""))
        self.looks()
        self.waits.wait()
        if self.refusal is not None:
            code, text, metadata = self.refusal
            context.set_trailing_metadata(metadata)
            context.abort(code, text)
        return codec.result_message(self.changed(self._found(request)))

    def _found(self, request: messages.SearchRequest) -> SearchResult:
        wanted = codec.filter_of(request.filter) if request.HasField("filter") else None
        category: Auto | None = "auto" if request.auto_category == request.SEARCH else None
        with Lens.open(self.store) as lens:
            if request.WhichOneof("query") == "photo":
                photo = io.BytesIO(request.photo)
                found = lens.search(photo, request.k, filter=wanted, category=category)
                return replace(found, answered_by="photo")
            vector = codec.embedding_of(request.embedding.values, lens.facts.dim)
            found = lens.search_vector(vector, request.k, filter=wanted, category=category)
            return replace(found, answered_by="embedding")


class Bytes(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """Answers every call with bytes as they are."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._data)


@contextmanager
def answering(
    service: StoreService | Bytes, *, port: int = 0, tls: Certificates | None = None
) -> Iterator[str]:
    """Serves it at the address that it gives."""
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        if isinstance(service, StoreService):
            stubs.add_QueryServiceServicer_to_server(service, server)
        else:
            server.add_generic_rpc_handlers((service,))
        at = f"127.0.0.1:{port}"
        if tls is None:
            port = server.add_insecure_port(at)
        else:
            pair = tls.key.read_bytes(), tls.certificate.read_bytes()
            port = server.add_secure_port(at, grpc.ssl_server_credentials([pair]))
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            if isinstance(service, StoreService):
                service.waits.set()
            server.stop(None).wait()


@contextmanager
def dead() -> Iterator[str]:
    """An address where nobody is, and nobody comes to be."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def silent() -> Iterator[str]:
    """Takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def garbled() -> Iterator[str]:
    """Speaks another language."""
    with in_a_thread(socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Garbling)) as server:
        yield f"127.0.0.1:{server.server_address[1]}"


class _Garbling(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(OSError):
            self.request.recv(1 << 16)
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnot gRPC\n")


def _slow(store: Path) -> AbstractContextManager[str]:
    service = StoreService(store)
    service.waits.clear()
    return answering(service)


KINDS: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
    "good": lambda store: answering(StoreService(store)),
    "dead": lambda store: dead(),
    "silent": lambda store: silent(),
    "slow": _slow,
    "garbled": lambda store: garbled(),
    "garbage": lambda store: answering(Bytes(b"\xff" * 4096)),
}


@contextmanager
def elsewhere(kind: str, store: Path) -> Iterator[str]:
    """A server of a kind in another process, whose work is not this one's."""
    command = [sys.executable, "-m", "tests.making.query_servers", kind, str(store)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.communicate()


def main() -> None:
    with KINDS[sys.argv[1]](Path(sys.argv[2])) as address:
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
