"""A call that is late is cut, whatever it waits for.

    with Cutter(20, call.cancel) as cutter:
        for chunk in call:
            cutter.postpone()
    if cutter.is_late: ...

Libraries time a connection, or a read, each in its own way, and none of them a body that comes one
byte at a time.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Self


class Cutter:
    """Calls a function once time is up, from a thread that sleeps until then.

    Attributes:
        is_late: Whether it has.
    """

    def __init__(self, seconds: float, cut: Callable[[], object]) -> None:
        """Begins when its context is entered.

        Args:
            seconds: Until the cut, from now and again from each `postpone`.
            cut: Ends what is waited for; called at most once.
        """
        self._seconds, self._cut = seconds, cut
        self._due, self._done = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._run, name="pocketlens-cutter", daemon=True)
        self.is_late = False

    def postpone(self) -> None:
        """Something came: the time begins again."""
        self._due = monotonic() + self._seconds

    def __enter__(self) -> Self:
        self.postpone()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while (left := self._due - monotonic()) > 0:
            if self._done.wait(left):
                return
        self.is_late = True
        self._cut()
