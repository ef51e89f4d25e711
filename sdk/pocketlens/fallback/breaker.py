"""Whether a server that has failed is worth asking again (PURE but for its lock).

    breaker = Breaker(clock=monotonic, rng=random.Random())
    breaker.why_not()                           # None: ask; or why it is left alone for now
    breaker.failed() / breaker.answered()

After three failures in a row it is left alone, for a time that doubles with each failure after;
then one question may try. A dead server costs a few searches their deadline, and not every one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import threading
from collections.abc import Callable

FAILURES = 3
FIRST_SECONDS, LONGEST_SECONDS = 5.0, 300.0


class Breaker:
    """For one server; any number of threads."""

    def __init__(self, *, clock: Callable[[], float], rng: random.Random) -> None:
        """Begins closed.

        Args:
            clock: Seconds that do not go back.
            rng: Spreads the times, lest all phones come again at once.
        """
        self._clock, self._rng = clock, rng
        self._lock = threading.Lock()
        self._failures, self._until, self._is_tried = 0, 0.0, False

    def why_not(self) -> str | None:
        """Why not to ask now; None says to ask, and one who does so must tell how it ended."""
        with self._lock:
            left = self._until - self._clock()
            if left > 0:
                return f"the server has failed, and is left alone for {left:.0f} s"
            if self._failures >= FAILURES:
                if self._is_tried:
                    return "the server has failed, and another question tries it"
                self._is_tried = True
            return None

    def answered(self) -> None:
        """It did: all is well."""
        with self._lock:
            self._failures, self._until, self._is_tried = 0, 0.0, False

    def failed(self, *, retry_seconds: float = 0) -> None:
        """It did not.

        Args:
            retry_seconds: Before which it asks to be left alone; 0 where it does not.
        """
        with self._lock:
            self._failures, self._is_tried = self._failures + 1, False
            wait = min(retry_seconds, LONGEST_SECONDS)
            if self._failures >= FAILURES:
                doubled = FIRST_SECONDS * 2 ** min(self._failures - FAILURES, 10)
                wait = max(wait, min(doubled, LONGEST_SECONDS) * self._rng.uniform(0.5, 1))
            self._until = max(self._until, self._clock() + wait) if wait else self._until

    def let_go(self) -> None:
        """Nothing was asked after all: whoever comes next may try."""
        with self._lock:
            self._is_tried = False
