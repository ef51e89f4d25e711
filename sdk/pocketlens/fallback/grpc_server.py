"""Questions to a QueryService over gRPC. The only module of this room that imports grpc.

    reply = GrpcServer("shop.example:8443", None).search(request, token="", timeout=1.5)

Every way to fail is a reply: a search goes on with what the device found.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass

import grpc

from pocketlens.closing import Closing
from pocketlens.results import FallbackOutcome
from pocketlens.sync.channels import channel_to, is_encrypted, retry_seconds
from pocketlens.sync.statuses import PUSHBACK, RECEIVED
from pocketlens_protos.v1 import query_service_pb2 as messages
from pocketlens_protos.v1 import query_service_pb2_grpc as stubs

CONNECT_SECONDS = 10.0  # of one attempt: it goes on while searches have given up, for the next one
_TOLD = 200  # characters of what a server says of itself
_REFUSALS = {*RECEIVED, "UNIMPLEMENTED", "FAILED_PRECONDITION"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one question.

    Attributes:
        outcome: ANSWERED, LATE, UNAVAILABLE, REFUSED or UNUSABLE.
        response: The answer, not looked at yet; None without one.
        reason: For people.
        retry_seconds: For which the server asks to be spared.
    """

    outcome: FallbackOutcome
    response: messages.SearchResponse | None = None
    reason: str = ""
    retry_seconds: float = 0.0


class GrpcServer(Closing):
    """A connection to one server; any thread may ask."""

    def __init__(self, address: str, ca: bytes | None) -> None:
        """Connects when it is first asked.

        Args:
            address: HOST:PORT.
            ca: Certificates to trust in place of the system's, PEM.
        """
        self._address, self._is_encrypted = address, is_encrypted(address, ca)
        self._channel = channel_to(address, ca, connect_seconds=CONNECT_SECONDS)
        self._stub = stubs.QueryServiceStub(self._channel)

    def search(self, request: messages.SearchRequest, *, token: str, timeout: float) -> Reply:
        """Asks once, and waits for so many seconds, the connection included.

        Args:
            request: The question.
            token: To show; "" for none.
            timeout: Seconds.
        """
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        try:
            response = self._stub.Search(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as exc:
            return self._failed(exc, timeout)
        except ValueError:  # what grpc raises where the channel was closed before
            return Reply(FallbackOutcome.UNAVAILABLE, reason="The connection was closed.")
        if response is None:  # the call ended well, and its message was lost on the way
            reason = f"{self._address} has not sent its answer whole."
            return Reply(FallbackOutcome.UNUSABLE, reason=reason)
        return Reply(FallbackOutcome.ANSWERED, response)

    def close(self) -> None:
        """Ends the connection; calls under way are cut."""
        self._channel.close()

    def _failed(self, exc: grpc.RpcError, timeout: float) -> Reply:
        status, details = exc.code().name, _one_line(exc.details() or "")
        address = self._address
        if status == "DEADLINE_EXCEEDED":
            reason = f"{address} has not answered within {timeout:.3g} s."
            return Reply(FallbackOutcome.LATE, reason=reason)
        if status in PUSHBACK:
            is_plain = not self._is_encrypted and "Socket closed" in details
            hint = " If the server has TLS, name its authority: ca=..." if is_plain else ""
            reason = f"{address} cannot answer now: {details}.{hint}"
            return Reply(FallbackOutcome.UNAVAILABLE, None, reason, retry_seconds(exc))
        reason = f"{details} ({status.lower()})"
        if status in _REFUSALS:
            return Reply(FallbackOutcome.REFUSED, reason=f"{address} refuses: {reason}.")
        return Reply(FallbackOutcome.UNUSABLE, reason=f"{address} sends no answer: {reason}.")


def _one_line(text: str) -> str:
    """What a stranger says, fit for a log."""
    return "".join(each if each.isprintable() else " " for each in text[:_TOLD])
