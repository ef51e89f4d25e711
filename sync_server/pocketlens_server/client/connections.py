"""A connection to a server's CatalogService, and its errors as ours.

connection = Connection("shop.example:8443", credentials=credentials)
answer = connection.answered(connection.stub.Publish, request, seconds=60)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import Any

import grpc

from pocketlens.errors import PocketLensError, ServerUnavailable
from pocketlens.sync.credentials import Credentials, is_loopback
from pocketlens.sync.statuses import PUSHBACK, PUSHBACK_METADATA, error_of
from pocketlens_protos.v1 import catalog_service_pb2_grpc as stubs
from pocketlens_server.client.certificates import ClientCertificate

_MESSAGE_BYTES = 4 << 20  # of an answer


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client goes on asking a server that does not answer, or asks to be spared.

    Attributes:
        seconds: Since the first of the failures in a row.
        first_seconds, longest_seconds: That it waits at most before it asks again the first time,
            and any time; it draws how long, so that many clients do not ask at once.
        silence_seconds: That nothing comes of a connection with calls before it is asked whether
            it is there, and that it then has to say so. A server of ours asks by itself after 60,
            and is heard; one that is asked more often than each 300 hangs up.
    """

    seconds: float = 60
    first_seconds: float = 0.2
    longest_seconds: float = 10
    silence_seconds: float = 90


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
        certificate: ClientCertificate | None = None,
        patience: Patience | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Connects when it is first used.

        Args:
            address: HOST:PORT.
            credentials: With certificates of its own the loopback is encrypted too.
            certificate: To show to a server that asks for one; then it is as well.
            patience: `Patience()` if None.
            rng: Draws waiting times; one of its own if None.
        """
        self.patience = patience or Patience()
        self._rng = rng or random.Random()  # noqa: S311 # for waiting times
        self._address = address
        credentials = credentials or Credentials()
        silence_ms = int(self.patience.silence_seconds * 1000)
        options = [
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
            ("grpc.use_local_subchannel_pool", 1),  # what failed for another is tried anew
            ("grpc.enable_retries", 0),  # what may be repeated is known here
            ("grpc.enable_http_proxy", 0),  # only who is named is asked
            # Until it connects again gRPC answers by itself: no longer than is waited here.
            ("grpc.initial_reconnect_backoff_ms", int(self.patience.first_seconds * 1000)),
            ("grpc.max_reconnect_backoff_ms", int(self.patience.longest_seconds * 1000)),
            # An answer may take as long as a publish does: whether a server is there is another
            # question, which pings ask, as many as it takes. Each kind of them has its timeout.
            ("grpc.keepalive_time_ms", silence_ms),
            ("grpc.keepalive_timeout_ms", silence_ms),
            ("grpc.http2.ping_timeout_ms", silence_ms),
            ("grpc.http2.max_pings_without_data", 0),
        ]
        names_nobody = credentials.ca is None and certificate is None
        if names_nobody and is_loopback(address.rpartition(":")[0]):
            self._channel = grpc.insecure_channel(address, options)
        else:
            shown = (certificate.key, certificate.chain) if certificate else (None, None)
            trusted = grpc.ssl_channel_credentials(credentials.ca, *shown)
            self._channel = grpc.secure_channel(address, trusted, options)
        token = credentials.token
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self.stub = stubs.CatalogServiceStub(self._channel)

    def close(self) -> None:
        """Closes it; closing again is no error."""
        self._channel.close()

    def answered(
        self,
        method: Callable[..., Any],
        request: object,
        *,
        seconds: float,
        patience_seconds: float | None = None,
        again: Callable[[PocketLensError], PocketLensError] = lambda error: error,
    ) -> Any:
        """The answer to a request that may be repeated.

        Args:
            method: Of the stub.
            request: Its message.
            seconds: That the server has to answer.
            patience_seconds: To go on asking; None for the client's.
            again: What a refusal means where an earlier try may have been done, its answer lost.

        Raises:
            ServerUnavailable: It did not answer within the client's patience.
            PocketLensError: It refused; the class says why (`sync.statuses`).
        """
        waits, is_again = self.waits(patience_seconds), False
        while True:
            try:
                return method(request, timeout=seconds, metadata=self.metadata)
            except grpc.RpcError as exc:
                error = self.error(exc)
                wait = waits.after(exc) if isinstance(error, ServerUnavailable) else None
                if wait is None:
                    raise (again(error) if is_again else error) from exc
            is_again = True
            sleep(wait)

    def waits(self, seconds: float | None = None) -> Waits:
        """Of failures that begin now; with so many seconds for them, or as many as it has."""
        patience = self.patience if seconds is None else replace(self.patience, seconds=seconds)
        return Waits(patience, self._rng)

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
