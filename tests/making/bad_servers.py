"""Servers that a device may meet in the place of the one that it asks: dead, silent, or nonsense.

with BAD_SERVERS["silent"]() as address: ...
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import AbstractContextManager, contextmanager

import grpc

from pocketlens_protos.v1 import query_service_pb2 as messages


@contextmanager
def dead() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    yield f"127.0.0.1:{port}"


@contextmanager
def speaking(said: bytes) -> Iterator[str]:
    """A server that says the same to everybody, or nothing at all."""
    listening = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def take() -> None:
        while True:
            try:
                accepted, _ = listening.accept()
            except OSError:
                return
            taken.append(accepted)
            if said:
                accepted.sendall(said)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)
        for each in taken:
            each.close()


@contextmanager
def answering(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """A server of gRPC whose answers are whatever bytes."""

    class Anything(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(lambda request, context: answer(request))

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Anything()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def impossible(_: bytes) -> bytes:
    return messages.SearchResponse(verdict=messages.MATCH, confidence=7).SerializeToString()


def late(_: bytes) -> bytes:
    time.sleep(5)
    return b""


BAD_SERVERS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "dead": dead,
    "silent": lambda: speaking(b""),
    "of another protocol": lambda: speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "sending no message": lambda: answering(lambda _: b"\xff" * 50),
    "sending what cannot be": lambda: answering(impossible),
    "slow": lambda: answering(late),
    "sending nothing": lambda: answering(lambda _: b""),
}
