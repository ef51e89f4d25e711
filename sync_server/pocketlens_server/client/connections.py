"""A connection to a server's CatalogService, and its errors as ours.

connection = Connection("shop.example:8443", credentials=credentials)
answer = connection.answered(connection.stub.Publish, request, seconds=60)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import grpc

from pocketlens.errors import PocketLensError, ServerUnavailable
from pocketlens.sync.credentials import Credentials, is_loopback
from pocketlens.sync.statuses import PUSHBACK, PUSHBACK_METADATA, error_of
from pocketlens_protos.v1 import catalog_service_pb2_grpc as stubs

_MESSAGE_BYTES = 4 << 20  # of an answer


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client goes on asking a server that does not answer, or asks to be spared.

    Attributes:
        seconds: Since the first of the failures in a row.
        first_seconds, longest_seconds: That it waits at most before it asks again the first time,
            and any time; it draws how long, so that many clients do not ask at once.
    """

    seconds: float = 60
    first_seconds: float = 0.2
    longest_seconds: float = 10


class Waits:
    """How long to wait after each of some failures in a row."""

    def __init__(self, patience: Patience, rng: random.Random) -> None:
        self._patience, self._rng = patience, rng
        self._longest, self._began = patience.first_seconds, 0.0

    def after(self, exc: grpc.RpcError) -> float | None:
        """Seconds until the same may be asked again; None where no patience is left for them."""
        now = monotonic()
        self._began = self._began or now
        seconds = max(self._rng.uniform(0, self._longest), _asked_seconds(exc))
        self._longest = min(2 * self._longest, self._patience.longest_seconds)
        return seconds if now - self._began + seconds <= self._patience.seconds else None


class Connection:
    """To one server; thread-safe."""

    def __init__(
        self,
        address: str,
        *,
        credentials: Credentials | None = None,
        patience: Patience | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Connects when it is first used.

        Args:
            address: HOST:PORT.
            credentials: With certificates of its own the loopback is encrypted too.
            patience: `Patience()` if None.
            rng: Draws waiting times; one of its own if None.
        """
        self.patience = patience or Patience()
        self._rng = rng or random.Random()  # noqa: S311 # for waiting times
        self._address = address
        credentials = credentials or Credentials()
        options = [
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
            ("grpc.use_local_subchannel_pool", 1),  # what failed for another is tried anew
            ("grpc.enable_retries", 0),  # what may be repeated is known here
            ("grpc.enable_http_proxy", 0),  # only who is named is asked
            # Until it connects again gRPC answers by itself: no longer than is waited here.
            ("grpc.initial_reconnect_backoff_ms", int(self.patience.first_seconds * 1000)),
            ("grpc.max_reconnect_backoff_ms", int(self.patience.longest_seconds * 1000)),
        ]
        if credentials.ca is not None or not is_loopback(address.rpartition(":")[0]):
            trusted = grpc.ssl_channel_credentials(credentials.ca)
            self._channel = grpc.secure_channel(address, trusted, options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        token = credentials.token
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self.stub = stubs.CatalogServiceStub(self._channel)

    def close(self) -> None:
        """Closes it; closing again is no error."""
        self._channel.close()

    def answered(self, method: Callable[..., Any], request: object, *, seconds: float) -> Any:
        """The answer to a request that may be repeated.

        Args:
            method: Of the stub.
            request: Its message.
            seconds: That the server has to answer.

        Raises:
            ServerUnavailable: It did not answer within the client's patience.
            PocketLensError: It refused; the class says why (`sync.statuses`).
        """
        waits = self.waits()
        while True:
            try:
                return method(request, timeout=seconds, metadata=self.metadata)
            except grpc.RpcError as exc:
                error = self.error(exc)
                wait = waits.after(exc) if isinstance(error, ServerUnavailable) else None
                if wait is None:
                    raise error from exc
            sleep(wait)

    def waits(self) -> Waits:
        """Of failures that begin now."""
        return Waits(self.patience, self._rng)

    def error(self, exc: grpc.RpcError) -> PocketLensError:
        """Ours, of gRPC's."""
        status, details = exc.code().name, exc.details() or ""
        if status in PUSHBACK:
            return ServerUnavailable(f"{self._address} does not answer now: {details}")
        return error_of(status, details)


def _asked_seconds(exc: grpc.RpcError) -> float:
    """How long a server asks to be spared; 0 if it does not say."""
    for name, value in exc.trailing_metadata() or ():
        if name == PUSHBACK_METADATA and str(value).isdigit():
            return int(value) / 1000
    return 0.0
