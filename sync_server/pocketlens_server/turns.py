"""A lock that threads get in the order in which they asked.

    with turns: ...

SQLite lets one write and the others look again now and then: a thread that writes without a pause
keeps them out for good. Those of one process take turns here first.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class Turns:
    """One after the other, first come, first served; not reentrant."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()

    def __enter__(self) -> None:
        """Waits for its turn."""
        turn = threading.Event()
        with self._lock:
            self._queue.append(turn)
            if self._queue[0] is turn:
                turn.set()
        turn.wait()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Lets the next one in."""
        with self._lock:
            self._queue.popleft()
            if self._queue:
                self._queue[0].set()
