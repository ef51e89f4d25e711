"""Who is let in, and how often: a place of the host and of the client, a turn, and one at work.

    with admission.host("192.0.2.7"):
        caller = ...
        with admission.client((caller.id, "192.0.2.7")):
            body = ...
            with admission.working(): ...

The numbers are those of gRPC's clients, counted apart from them. A place is held until the answer
is ready; one at work from when the request has come whole, so that who sends slowly keeps nobody
else out. What is refused says when to come again.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from pocketlens.errors import QuotaExceeded
from pocketlens_server.admission import Buckets, Crowd
from pocketlens_server.limits import Limits
from pocketlens_server.web.limits import WebLimits

_RETRY_SECONDS = 1


class Admission:
    """To one server; one thread uses it."""

    def __init__(
        self,
        limits: Limits,
        web: WebLimits,
        clock: Callable[[], float],
        *,
        refused: Callable[[str], object],
    ) -> None:
        """Begins with nobody inside.

        Args:
            limits: What clients are given.
            web: What the page's visitors are given.
            clock: Seconds, which do not go back.
            refused: Called with the reason of each refusal, one of `telemetry.REASONS`.
        """
        self._clock, self._refused = clock, refused
        self._hosts, self._working = Crowd(limits.host_calls), Crowd(limits.calls)
        self._clients = Crowd(limits.client_calls)
        self._turns = Buckets(rate=limits.client_rate, burst=limits.client_burst)
        self._visitors = Buckets(rate=web.visitor_rate, burst=web.visitor_burst)
        self._networks = Buckets(rate=web.network_rate, burst=web.network_burst)

    @contextmanager
    def host(self, host: str) -> Iterator[None]:
        """Around a request, before it is known who makes it.

        Raises:
            QuotaExceeded: The host has as many as it may, or the server does as much as it can.
        """
        with self._place(self._hosts, host, "host", "Too many requests of this host are running."):
            with self.working():  # what could not be answered is not even received
                pass
            yield

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around what is done for a request.

        Raises:
            QuotaExceeded: The server does as much as it can.
        """
        with self._place(self._working, "", "calls", "The server answers as many as it can."):
            yield

    @contextmanager
    def client(self, client: Hashable) -> Iterator[None]:
        """Around a request of one client.

        Raises:
            QuotaExceeded: It has as many as it may, or comes too often.
        """
        with self._place(self._clients, client, "client", "Too many of your requests are running."):
            self._turn(self._turns, client)
            yield

    def question(self, visitor: str, network: str) -> None:
        """Takes a visitor's turn to ask.

        Raises:
            QuotaExceeded: It is not there yet.
        """
        self._turn(self._visitors, visitor)
        self._turn(self._networks, network)

    @contextmanager
    def _place(self, crowd: Crowd, key: Hashable, reason: str, text: str) -> Iterator[None]:
        if not crowd.enter(key):
            self._refused(reason)
            raise QuotaExceeded(f"{text} Try again in a second.", retry_seconds=_RETRY_SECONDS)
        try:
            yield
        finally:
            crowd.leave(key)

    def _turn(self, buckets: Buckets, key: Hashable) -> None:
        wait_seconds = buckets.take(key, self._clock())
        if wait_seconds:
            self._refused("rate")
            text = f"You ask too often. Try again in {wait_seconds:.1f} s."
            raise QuotaExceeded(text, retry_seconds=wait_seconds)
