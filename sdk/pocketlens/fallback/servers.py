"""One server of a Lens: its connection, its breaker, and a call that the deadline can leave behind.

    answer = Server("shop.example:8443", None, breaker).ask(call)

Whatever may take its time (a flush of the ledger, loading gRPC, names, connections) is in a thread
of its own. The order is: may the server be asked, may so much leave, list it, send it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING

from pocketlens.closing import Closing
from pocketlens.errors import StoreError, TransportError
from pocketlens.fallback import messages as codec
from pocketlens.fallback.breaker import Breaker
from pocketlens.fallback.ledger import Entry, Ledger
from pocketlens.results import FallbackOutcome, SearchResult, Verdict
from pocketlens_protos.v1 import query_service_pb2 as messages

if TYPE_CHECKING:
    from pocketlens.fallback.grpc_server import GrpcServer

logger = logging.getLogger(__name__)

_AT_ONCE = 8  # questions; more wait, and their deadlines go on
_FAILURES = (FallbackOutcome.LATE, FallbackOutcome.UNAVAILABLE, FallbackOutcome.UNUSABLE)


@dataclass(slots=True)
class Call:
    """One question on its way.

    Attributes:
        request: The question.
        token: To show; "" for none.
        until: When the deadline is, on the clock of `monotonic`.
        ledger: That lists it.
        daily_bytes: Of the ledger, at most.
        clock: The device's, in UTC.
        sent_bytes: That left; set before they do.
    """

    request: messages.SearchRequest
    token: str
    until: float
    ledger: Ledger
    daily_bytes: int | None
    clock: Callable[[], datetime]
    sent_bytes: int = 0

    @property
    def seconds_left(self) -> float:
        """Until the deadline, 0 or more."""
        return max(self.until - monotonic(), 0.0)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call.

    Attributes:
        outcome: In a word.
        reason: For people.
        result: The server's, which can be; None without one.
        retry_seconds: For which the server asks to be spared.
    """

    outcome: FallbackOutcome
    reason: str = ""
    result: SearchResult | None = field(default=None, repr=False)
    retry_seconds: float = 0.0


CLOSED = Answer(FallbackOutcome.NOT_ASKED, "The Lens was closed.")
_NO_TIME = Answer(FallbackOutcome.LATE, "There was no time left to ask.")


class Server(Closing):
    """One server; any thread may ask."""

    def __init__(self, address: str, ca: bytes | None, breaker: Breaker) -> None:
        """Connects when it is asked.

        Args:
            address: HOST:PORT.
            ca: Certificates to trust in place of the system's, PEM.
            breaker: Of this server.
        """
        self._address, self._ca, self._breaker = address, ca, breaker
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="pocketlens-fallback")
        self._grpc: GrpcServer | None = None
        self._is_closed = False

    def ask(self, call: Call) -> Answer:
        """Asks, and waits until the deadline at most."""
        if (seconds := self._breaker.begin()) > 0:
            reason = f"{self._address} failed before, and is left alone for {seconds:.2g} s more."
            return Answer(FallbackOutcome.RESTING, reason)
        with self._lock:
            if self._is_closed:
                return CLOSED
            asked = self._threads.submit(self._asked, call)
        try:
            return asked.result(call.seconds_left)
        except TimeoutError:
            return Answer(FallbackOutcome.LATE, f"{self._address} has not answered in time.")

    def close(self) -> None:
        """Ends the connection, and waits for the ledger; who waits for an answer is told."""
        with self._lock:
            self._is_closed = True
            server = self._grpc
        if server is not None:
            server.close()
        self._threads.shutdown()

    def _asked(self, call: Call) -> Answer:
        """In a thread of the server's, as all below."""
        try:
            return self._listed(call)
        finally:
            self._breaker.withdrawn()  # if it was not told otherwise

    def _listed(self, call: Call) -> Answer:
        entry = Entry(
            call.clock(),
            self._address,
            call.request.catalogue,
            call.request.WhichOneof("query") or "",
            call.request.ByteSize(),
        )
        try:
            number = call.ledger.enter(
                entry, daily_bytes=call.daily_bytes, timeout=call.seconds_left
            )
        except StoreError as exc:
            if call.seconds_left == 0:  # others were writing all the time
                return _NO_TIME
            return Answer(FallbackOutcome.UNLISTED, str(exc))
        if number is None:
            reason = f"What a day may have was sent: {call.daily_bytes:,} bytes, or a full ledger."
            return Answer(FallbackOutcome.OVER_BUDGET, reason)
        answer = self._sent(call, entry.sent_bytes)
        with self._lock:
            if not self._is_closed:  # a flush takes longer than some networks: nobody waits for it
                self._threads.submit(_settle, call, number, answer.outcome)
                return answer
        _settle(call, number, answer.outcome)
        return answer

    def _sent(self, call: Call, size: int) -> Answer:
        server = self._connected()
        if server is None:
            return CLOSED
        if call.seconds_left == 0:
            return _NO_TIME
        call.sent_bytes = size
        reply = server.search(call.request, token=call.token, timeout=call.seconds_left)
        answer = Answer(reply.outcome, reply.reason, None, reply.retry_seconds)
        if reply.response is not None:
            answer = _read(reply.response, call.request, self._address)
        if answer.outcome not in _FAILURES:
            self._breaker.answered()
        elif self._breaker.failed(answer.retry_seconds):
            logger.info("fallback.rests address=%s reason=%s", self._address, answer.reason)
            self._let_go(server)
        return answer

    def _connected(self) -> GrpcServer | None:
        from pocketlens.fallback.grpc_server import GrpcServer  # loads gRPC

        with self._lock:
            if self._is_closed:
                return None
            if self._grpc is None:
                self._grpc = GrpcServer(self._address, self._ca)
            return self._grpc

    def _let_go(self, server: GrpcServer) -> None:
        """Ends a connection, which would try to come back; the next question makes another."""
        with self._lock:
            if self._grpc is server:
                self._grpc = None
        server.close()


def _settle(call: Call, number: int, outcome: FallbackOutcome) -> None:
    """Says in the ledger what came of a row."""
    try:
        if call.sent_bytes:
            call.ledger.settle(number, outcome.value)
        else:
            call.ledger.strike(number)
    except StoreError as exc:  # the row stays: it says that something left
        logger.warning("fallback.ledger.failed error=%s", exc)


def _read(
    response: messages.SearchResponse, request: messages.SearchRequest, address: str
) -> Answer:
    """The result in a response, if it answers the request."""
    try:
        found = codec.result_of(response)
    except TransportError as exc:
        return Answer(FallbackOutcome.UNUSABLE, f"{address}: {exc}")
    is_of_a_vector = request.WhichOneof("query") == "embedding"
    wrong = [
        ("its pipeline", found.answered_by == "device"),
        ("its pipeline", is_of_a_vector and found.answered_by != "embedding"),
        ("more matches than asked for", len(found.matches) > request.k),
        ("a match without a product", found.verdict is Verdict.MATCH and found.best is None),
    ]
    for what, is_wrong in wrong:
        if is_wrong:
            return Answer(FallbackOutcome.UNUSABLE, f"{address}: the answer cannot be: {what}.")
    return Answer(FallbackOutcome.ANSWERED, result=found)
