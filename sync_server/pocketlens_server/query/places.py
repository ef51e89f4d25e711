"""Room for so many questions at once: whoever would not be answered in time is told at once.

    photos = Places(128, size_bytes=256 << 20, name="photos")
    with photos.taken(size_bytes=len(data), within=2.0):
        ...                                 # or QuotaExceeded, with the time to come again

Of a server with too much to do, those who wait for long get nothing, and their photos have cost
what others lacked. So what is begun is answered, and the rest is refused before anything is done
for it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from pocketlens.errors import QuotaExceeded

_PACE_OF = 64  # answers, the last: several batches
_SOONEST_SECONDS = 0.1


class Places:
    """Used from one loop."""

    def __init__(
        self,
        most: int,
        *,
        size_bytes: int,
        name: str,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Begins empty.

        Args:
            most: That may be inside.
            size_bytes: Of all that is inside together.
            name: Of what comes, in the plural.
            clock: Seconds, which do not go back.
        """
        self._most, self._most_bytes, self._name, self._clock = most, size_bytes, name, clock
        self._inside = self._bytes = 0
        # When the first came in, and when those that were answered left, since it was empty.
        self._answered: deque[float] = deque(maxlen=_PACE_OF)

    @contextmanager
    def taken(self, *, size_bytes: int = 0, within: float | None = None) -> Iterator[None]:
        """A place for the body; one that raises nothing was answered.

        Args:
            size_bytes: Of what comes.
            within: Seconds that it may take; None for any.

        Raises:
            QuotaExceeded: There is none, or those inside alone will take longer.
        """
        seconds = self._inside * self._pace_seconds
        is_full = self._inside >= self._most or self._bytes + size_bytes > self._most_bytes
        if is_full or (within is not None and seconds > within):
            seconds = max(_SOONEST_SECONDS, seconds)
            raise QuotaExceeded(
                f"{self._inside} {self._name} wait already. Try again in {seconds:.1f} s.",
                retry_seconds=seconds,
            )
        if not self._inside:
            self._answered.clear()
            self._answered.append(self._clock())
        self._inside += 1
        self._bytes += size_bytes
        try:
            yield
            self._answered.append(self._clock())
        finally:
            self._inside -= 1
            self._bytes -= size_bytes

    @property
    def _pace_seconds(self) -> float:
        """From one answer to the next; 0 before the first."""
        answers = len(self._answered) - 1
        return (self._answered[-1] - self._answered[0]) / answers if answers > 0 else 0.0
