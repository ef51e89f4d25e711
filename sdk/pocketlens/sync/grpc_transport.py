"""Files of a catalogue from a PocketLens server, over gRPC."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from time import monotonic

import grpc

from pocketlens.errors import ServerUnavailable, TransportError
from pocketlens.formats.manifest import Blob
from pocketlens.options import Deadlines
from pocketlens.sync.channels import channel_to, is_encrypted, retry_seconds
from pocketlens.sync.credentials import Credentials
from pocketlens.sync.deadlines import Cutter
from pocketlens.sync.statuses import PUSHBACK, error_of
from pocketlens.sync.transports import AtHand
from pocketlens_protos.v1 import sync_service_pb2 as messages
from pocketlens_protos.v1 import sync_service_pb2_grpc as stubs

_TIMESTAMP = "metadata/timestamp.json"


class GrpcTransport:
    """A catalogue of the server at HOST:PORT; encrypted unless that is this machine."""

    def __init__(
        self,
        address: str,
        catalogue: str,
        *,
        credentials: Credentials | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        """Connects when it is first used.

        Args:
            address: HOST:PORT.
            catalogue: Its name.
            credentials: With certificates of its own the loopback is encrypted too.
            deadlines: `Deadlines()` if None.
        """
        self._address, self._catalogue = address, catalogue
        self._deadlines = deadlines or Deadlines()
        credentials = credentials or Credentials()
        self._is_encrypted = is_encrypted(address, credentials.ca)
        connect_seconds = self._deadlines.connect_seconds
        self._channel = channel_to(address, credentials.ca, connect_seconds=connect_seconds)
        token = credentials.token
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._stub = stubs.SyncServiceStub(self._channel)
        self._have = AtHand(b"", 0, {}, b"")
        self._files: dict[str, bytes] = {}
        self._cut_at: int | None = None  # root after which to ask again
        self._delta = b""

    def poll(self, have: AtHand) -> None:
        """See `pocketlens.sync.transports.Transport`."""
        request = messages.PollRequest(
            catalogue=self._catalogue,
            generation=have.generation,
            version=have.version,
            without_delta=have.without_delta,
            **have.versions,
        )
        # The answer is one message: that none of it has come is all that can be seen.
        connect_seconds = self._deadlines.connect_seconds
        timeout, began = connect_seconds + self._deadlines.idle_seconds, monotonic()
        try:
            answer = self._stub.Poll(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as exc:
            if exc.code() is grpc.StatusCode.UNAVAILABLE and monotonic() - began > connect_seconds:
                raise TransportError(
                    f"{self._address} cannot be reached within {connect_seconds:g} s."
                ) from exc
            raise self._failed(exc, timeout) from error_of(exc.code().name, exc.details())
        if answer is None:  # the call ended well, and its message was lost on the way
            raise TransportError(f"{self._address} has not sent its answer whole.")
        self._have = have
        files = {file.name: file.data for file in answer.files}
        # What the device trusts is its own answer where the server sends nothing newer.
        self._files = {_TIMESTAMP: have.timestamp} if have.timestamp else {}
        self._files |= files
        # Roots come alone where there are more of them than one answer takes.
        roots = sum(name.endswith(".root.json") for name in files)
        is_cut = roots > 0 and _TIMESTAMP not in files
        self._cut_at = have.versions.get("root", 0) + roots if is_cut else None
        self._delta = answer.delta

    def file(self, name: str) -> Iterator[bytes] | None:
        """See `pocketlens.sync.transports.Transport`."""
        last = self._cut_at
        if last is not None and name == f"metadata/{last + 1}.root.json":
            self.poll(replace(self._have, versions={**self._have.versions, "root": last}))
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
        call = self._stub.GetPieces(
            request, timeout=self._deadlines.call_seconds, metadata=self._metadata
        )
        cutter = Cutter(self._deadlines.idle_seconds, call.cancel)
        try:
            with cutter:
                for chunk in call:
                    if chunk.data:
                        cutter.postpone()
                        yield chunk.data
        except grpc.RpcError as exc:
            if cutter.is_late:
                raise TransportError(
                    f"{self._address} has sent nothing for {self._deadlines.idle_seconds:g} s."
                ) from exc
            seconds = self._deadlines.call_seconds
            raise self._failed(exc, seconds) from error_of(exc.code().name, exc.details())
        finally:
            call.cancel()  # one that has ended stays as it ended

    def close(self) -> None:
        """Closes the connection; closing again is no error."""
        self._channel.close()

    def _failed(self, exc: grpc.RpcError, seconds: float) -> TransportError:
        status, details = exc.code().name, exc.details()
        if status == "DEADLINE_EXCEEDED":
            return TransportError(f"{self._address} has not answered within {seconds:g} s.")
        if status in PUSHBACK:
            is_plain = not self._is_encrypted and "Socket closed" in (details or "")
            hint = " If the server has TLS, name its authority: --ca." if is_plain else ""
            text = f"{self._address} cannot be reached: {details}.{hint}"
            return ServerUnavailable(text, retry_seconds=retry_seconds(exc))
        return TransportError(
            f"{self._address} does not send {self._catalogue!r}: {details} ({status.lower()})."
        )
