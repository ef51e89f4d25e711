"""A transport that asks again where the server does not answer now: seldom, and not at once.

    transport = RetryingTransport(GrpcTransport(...), rng=random.Random())

Devices that all lose their server at once must not all ask again: of ten calls one may be repeated
(a retry budget of 10 %), after the time that the server asks for and one that is drawn from nothing
to a limit that doubles (full jitter). Each device begins with a random part of a retry, so that the
share holds over all of them, however few calls each makes. What the budget does not cover, or the
server wants to come much later, is tried by the next sync.
Source: Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from pocketlens.errors import ServerUnavailable
from pocketlens.formats.manifest import Blob
from pocketlens.sync.transports import AtHand, Transport

logger = logging.getLogger(__name__)

BUDGET = 0.1  # retries a call
FIRST_SECONDS, LONGEST_SECONDS = 0.5, 8.0  # limits of the waiting time

Answer = TypeVar("Answer")


class RetryingTransport:
    """Repeats what may be repeated: a call of which nothing came yet."""

    def __init__(
        self,
        transport: Transport,
        *,
        rng: random.Random,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """Takes a transport, which it closes.

        Args:
            transport: That is asked.
            rng: Draws waiting times, and the part of a retry to begin with.
            wait: Waits for so many seconds.
        """
        self._transport, self._rng, self._wait = transport, rng, wait
        self._budget = rng.random()

    def poll(self, have: AtHand) -> None:
        """See `pocketlens.sync.transports.Transport`."""
        self._answered(lambda: self._transport.poll(have))

    def file(self, name: str) -> Iterator[bytes] | None:
        """See `pocketlens.sync.transports.Transport`."""

        def begun() -> Iterator[bytes] | None:
            found = self._transport.file(name)
            return None if found is None else _begun(found)

        return self._answered(begun)

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        """See `pocketlens.sync.transports.Transport`."""
        yield from self._answered(lambda: _begun(self._transport.piece(blob, number)))

    def close(self) -> None:
        """See `pocketlens.sync.transports.Transport`."""
        self._transport.close()

    def _answered(self, call: Callable[[], Answer]) -> Answer:
        self._budget += BUDGET
        longest = FIRST_SECONDS
        while True:
            try:
                return call()
            except ServerUnavailable as exc:
                if self._budget < 1 or exc.retry_seconds > LONGEST_SECONDS:
                    raise
                asked = exc.retry_seconds
                logger.debug("sync.retry error=%s", exc)
            self._budget -= 1
            self._wait(asked + self._rng.uniform(0, longest))
            longest = min(2 * longest, LONGEST_SECONDS)


def _begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same chunks; the first has come."""
    first = next(chunks, None)
    return iter(()) if first is None else itertools.chain([first], chunks)
