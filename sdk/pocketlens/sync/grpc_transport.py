"""Files of a catalogue from a PocketLens server, over gRPC. The only module that imports grpc."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import grpc

from pocketlens.errors import TransportError
from pocketlens.formats.manifest import Blob
from pocketlens.sync.transports import AtHand
from pocketlens_protos.v1 import sync_service_pb2 as messages
from pocketlens_protos.v1 import sync_service_pb2_grpc as stubs

POLL_SECONDS, PIECE_SECONDS = 20, 120
MAX_MESSAGE_BYTES = 4 << 20


class GrpcTransport:
    """A catalogue of the server at HOST:PORT; encrypted unless that is this machine."""

    def __init__(self, address: str, catalogue: str, *, ca: bytes | None = None) -> None:
        """Connects when it is first used.

        Args:
            address: HOST:PORT.
            catalogue: Its name.
            ca: Certificates to trust, PEM; those of the system where None.
        """
        self._address, self._catalogue = address, catalogue
        options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
        host = address.rpartition(":")[0]
        if host in ("127.0.0.1", "localhost", "[::1]") and ca is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(ca), options)
        self._stub = stubs.SyncServiceStub(self._channel)
        self._files: dict[str, bytes] = {}
        self._delta = b""

    def poll(self, have: AtHand) -> None:
        """See `pocketlens.sync.transports.Transport`."""
        request = messages.PollRequest(
            catalogue=self._catalogue,
            generation=have.generation,
            version=have.version,
            **have.versions,
        )
        try:
            answer = self._stub.Poll(request, timeout=POLL_SECONDS)
        except grpc.RpcError as exc:
            raise self._unreachable(exc) from exc
        # What the device trusts is its own answer where the server sends nothing newer.
        self._files = {"metadata/timestamp.json": have.timestamp} if have.timestamp else {}
        self._files |= {file.name: file.data for file in answer.files}
        self._delta = answer.delta

    def file(self, name: str) -> Iterator[bytes] | None:
        """See `pocketlens.sync.transports.Transport`."""
        return iter([self._files[name]]) if name in self._files else None

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        """See `pocketlens.sync.transports.Transport`."""
        if blob.sha256 == hashlib.sha256(self._delta).digest():  # it came with the answer
            yield self._delta
            return
        request = messages.GetPiecesRequest(
            catalogue=self._catalogue,
            pieces=[messages.PieceRequest(blob_sha256=blob.sha256, number=number)],
        )
        try:
            for chunk in self._stub.GetPieces(request, timeout=PIECE_SECONDS):
                yield chunk.data
        except grpc.RpcError as exc:
            raise self._unreachable(exc) from exc

    def close(self) -> None:
        """Closes the connection; closing again is no error."""
        self._channel.close()

    def _unreachable(self, exc: grpc.RpcError) -> TransportError:
        code, details = exc.code(), exc.details()
        if code is grpc.StatusCode.NOT_FOUND:
            return TransportError(f"{self._address}: {details} ({self._catalogue!r}).")
        return TransportError(f"{self._address} cannot be reached: {code.name.lower()}: {details}.")
