"""The clock that a server signs by itself with, while it goes on as a clock does.

    clock = SteadyClock(wall=lambda: datetime.now(UTC), elapsed=elapsed_seconds)
    clock.now()                                    # or ClockSuspect

A wall clock that jumps ahead would retire generations for good, and sign what devices keep against
the server once it is right again. Where it is the jump that was right, a new start believes it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from pocketlens.errors import ClockSuspect

logger = logging.getLogger(__name__)

# Far more than any clock is set by while it runs, or goes wrong by from one look to the next, and
# far less than anything that is signed holds.
_MOST = timedelta(hours=1)


class SteadyClock:
    """A wall clock beside one that cannot be set; thread-safe."""

    def __init__(self, *, wall: Callable[[], datetime], elapsed: Callable[[], float]) -> None:
        """Believes the wall clock as it is now.

        Args:
            wall: The time of the day.
            elapsed: Seconds since some moment, which nobody sets.
        """
        self._wall, self._elapsed = wall, elapsed
        self._believed = wall(), elapsed()
        self._is_told = False

    def now(self) -> datetime:
        """The time.

        Raises:
            ClockSuspect: It is another by more than an hour than has gone by since it was last
                believed. It is believed again when that is not so any more.
        """
        wall, elapsed = self._wall(), self._elapsed()
        believed, at = self._believed
        expected = believed + timedelta(seconds=elapsed - at)
        if abs(wall - expected) > _MOST:
            text = f"The clock jumped to {wall:%Y-%m-%d %H:%M}, from {expected:%Y-%m-%d %H:%M}."
            if not self._is_told:
                self._is_told = True
                logger.warning(
                    "clock.suspect jumped_to=%s expected=%s Nothing is signed, published or "
                    "removed by itself until it is set back, or the server is started again.",
                    wall.isoformat(timespec="seconds"),
                    expected.isoformat(timespec="seconds"),
                )
            raise ClockSuspect(text)
        self._believed, self._is_told = (wall, elapsed), False
        return wall


def elapsed_seconds() -> float:
    """Seconds since this machine was started, with those that it slept where its system knows."""
    boot_clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_clock is None else time.clock_gettime(boot_clock)
