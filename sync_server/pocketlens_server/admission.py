"""Who is let in (PURE): how many there are at once, and how often each may come.

    crowd = Crowd(most=64)
    crowd.enter("of a token")                   # False where it is full
    buckets = Buckets(rate=200, burst=400)
    buckets.take("of a token", now=clock())     # 0.0, or the seconds until one may come again

Both remember only whom they must: one who is gone, and has not come lately, costs nothing. Nothing
here waits or locks; one thread uses it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

_ROUNDING_SECONDS = (
    1e-6  # so that a burst of 400 at 200 a second is 400, whatever floats make of it
)


class Crowd:
    """Those who are in at once, counted by a key."""

    def __init__(self, most: int) -> None:
        """Begins empty.

        Args:
            most: Of each key.
        """
        self._most = most
        self._inside: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """How many keys are remembered: those of which one is in."""
        return len(self._inside)

    def is_full(self, key: Hashable) -> bool:
        """Whether the next one of a key would be refused."""
        return self._inside.get(key, 0) >= self._most

    def enter(self, key: Hashable) -> bool:
        """Lets one in; False, and nothing changes, where there are as many as may be."""
        if self.is_full(key):
            return False
        self._inside[key] = self._inside.get(key, 0) + 1
        return True

    def leave(self, key: Hashable) -> None:
        """One who was let in goes."""
        left = self._inside[key] - 1
        if left:
            self._inside[key] = left
        else:
            del self._inside[key]


class Buckets:
    """A bucket of tokens for each key, which fills over time.

    Whoever comes takes a token. A bucket that is full again is forgotten, since it is as none: what
    is remembered was used within the time that an empty one takes to fill.
    """

    def __init__(self, *, rate: float, burst: int) -> None:
        """Begins with all buckets full.

        Args:
            rate: Tokens a second that come into each.
            burst: Tokens that each holds.
        """
        self._rate, self._burst = rate, burst
        # When each will be full again, in the order of their last use.
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._full_at)

    def take(self, key: Hashable, now: float) -> float:
        """Takes a token.

        Args:
            key: Whose.
            now: Seconds of a clock that does not go back.

        Returns:
            0 if there was one; else the seconds until there is, and nothing was taken.
        """
        self._forget(now)
        full_at = max(self._full_at.get(key, now), now)
        wait = full_at + 1 / self._rate - now - self._burst / self._rate
        if wait > _ROUNDING_SECONDS:
            return wait
        self._full_at[key] = full_at + 1 / self._rate
        self._full_at.move_to_end(key)
        return 0.0

    def _forget(self, now: float) -> None:
        """Those at the front that are full; each was put there once, so that this costs little."""
        while self._full_at:
            key = next(iter(self._full_at))
            if self._full_at[key] > now:
                return
            del self._full_at[key]
