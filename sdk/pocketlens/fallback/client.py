"""QueryService of a server, over gRPC: one question and its answer, within a deadline."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import grpc

from pocketlens.errors import PocketLensError, ServerUnavailable, TransportError
from pocketlens.sync.credentials import Credentials, is_loopback
from pocketlens.sync.statuses import PUSHBACK, PUSHBACK_METADATA, error_of
from pocketlens_protos.v1 import query_service_pb2 as messages
from pocketlens_protos.v1 import query_service_pb2_grpc as stubs

MAX_ANSWER_BYTES = 4 << 20


class QueryClient:
    """A server at HOST:PORT; encrypted unless that is this machine. Any number of threads."""

    def __init__(self, address: str, credentials: Credentials) -> None:
        """Connects when it is first used.

        Args:
            address: HOST:PORT.
            credentials: With certificates of its own the loopback is encrypted too.
        """
        options = [
            ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),  # the shopper waits
            ("grpc.enable_http_proxy", 0),
            # What was dead is tried anew with each question that is asked: the breaker spares it.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        is_plain = credentials.ca is None and is_loopback(address.rpartition(":")[0])
        if is_plain:
            self._channel = grpc.insecure_channel(address, options)
        else:
            trusted = grpc.ssl_channel_credentials(credentials.ca)
            self._channel = grpc.secure_channel(address, trusted, options)
        token = credentials.token
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._stub = stubs.QueryServiceStub(self._channel)
        self._address = address

    def search(self, request: messages.SearchRequest, *, seconds: float) -> messages.SearchResponse:
        """Asks, once.

        Raises:
            ServerUnavailable: It is not there, or asks to be spared.
            TransportError: It has not answered in time, or not with what can be read.
            NotAuthorized, NotFound, InvalidOperation: As it says.
        """
        try:
            found = self._stub.Search(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as exc:
            raise self._failed(exc, seconds) from exc
        if found is None:  # the call ended well, and its message was lost on the way
            raise TransportError(f"{self._address} has not sent its answer whole.")
        return found  # type: ignore[no-any-return]

    def close(self) -> None:
        """Closes the connection; closing again is no error."""
        self._channel.close()

    def _failed(self, exc: grpc.RpcError, seconds: float) -> PocketLensError:
        status, details = exc.code().name, exc.details()
        if status == "DEADLINE_EXCEEDED":
            return TransportError(f"{self._address} has not answered within {seconds:g} s.")
        if status in PUSHBACK:
            told = dict(exc.trailing_metadata() or ()).get(PUSHBACK_METADATA, "")
            retry = int(told) / 1000 if told.isdecimal() and len(told) < 10 else 0.0
            return ServerUnavailable(
                f"{self._address} cannot be asked now: {details}", retry_seconds=retry
            )
        return error_of(status, f"{self._address}: {details}")
