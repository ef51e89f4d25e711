"""A circuit breaker: a server that is dead does not cost every search its deadline.

    if breaker.begin() == 0:
        breaker.answered()               # or failed() or withdrawn(): one of them after each 0

| state  | begin                        | answered | failed                        | withdrawn |
|--------|------------------------------|----------|-------------------------------|-----------|
| CLOSED | 0                            |          | OPEN after some, or if told   |           |
| OPEN   | what is left; then 0, TRYING | CLOSED   |                               |           |
| TRYING | another has asked: not 0     | CLOSED   | OPEN, for twice as long       | OPEN      |

How long it is open doubles up to a limit, and is drawn around it, so that devices which lost one
server at once do not all come back at once.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from enum import Enum

FAILURES_IN_A_ROW = 3  # one may be the way to the server, as when a phone changes networks
FIRST_SECONDS, LONGEST_SECONDS = 5.0, 300.0  # that it is open, on average
_SOMEBODY_ASKS_SECONDS = 0.1  # told while another tries; it is not waited for


class _State(Enum):
    CLOSED = "questions pass"
    OPEN = "none does"
    TRYING = "one is under way"


class Breaker:
    """Of one server; any thread may ask."""

    def __init__(self, *, clock: Callable[[], float], rng: random.Random) -> None:
        """Begins closed.

        Args:
            clock: Seconds that only grow.
            rng: Draws how long it is open.
        """
        self._clock, self._rng = clock, rng
        self._lock = threading.Lock()
        self._state = _State.CLOSED
        self._failures, self._open_for, self._until = 0, FIRST_SECONDS, 0.0

    def begin(self) -> float:
        """Seconds for which the server is left alone; after 0 the caller asks, and tells how."""
        with self._lock:
            if self._state is _State.CLOSED:
                return 0.0
            if self._state is _State.TRYING:
                return _SOMEBODY_ASKS_SECONDS
            if (left := self._until - self._clock()) > 0:
                return left
            self._state = _State.TRYING
            return 0.0

    def answered(self) -> None:
        """The server lives."""
        with self._lock:
            self._state = _State.CLOSED
            self._failures, self._open_for = 0, FIRST_SECONDS

    def withdrawn(self) -> None:
        """Nothing was asked in the end: whoever comes next may."""
        with self._lock:
            if self._state is _State.TRYING:
                self._state = _State.OPEN  # whose time is over

    def failed(self, retry_seconds: float = 0.0) -> bool:
        """No answer came, or one that asks to be spared for so many seconds.

        Returns:
            Whether the server is left alone from now on.
        """
        with self._lock:
            if self._state is _State.OPEN:  # asked before it opened
                return False
            self._failures += 1
            is_asked_to = retry_seconds > 0
            is_first = self._failures < FAILURES_IN_A_ROW and not is_asked_to
            if self._state is _State.CLOSED and is_first:
                return False
            seconds = min(retry_seconds, LONGEST_SECONDS)
            seconds += self._open_for * self._rng.uniform(0.5, 1.5)
            self._state, self._until = _State.OPEN, self._clock() + seconds
            self._open_for = min(2 * self._open_for, LONGEST_SECONDS)
            return True
