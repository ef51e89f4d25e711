"""Lists held in memory, up to a number of bytes; the least recently used go first.

    rows = cache.rows(("list", 17, version), lambda: source.read_list(17))

What is handed out is never changed and stays valid after it was dropped: searches in other
threads go on with it. One arena with all lists side by side was tried: it saves 7 of 45 us a
search, and pays with compaction, or a lock held while others read.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Read = tuple[npt.NDArray[np.uint32], npt.NDArray[np.int8]]
"""Image keys and codes, as a source reads them."""

_OVERHEAD_BYTES = 400  # of one entry: two arrays, the value, its place


@dataclass(frozen=True, slots=True)
class Rows:
    """Images and their codes.

    Attributes:
        image_keys: uint32 (n,).
        codes: int8 (n, dim), rows contiguous.
    """

    image_keys: npt.NDArray[np.uint32]
    codes: npt.NDArray[np.int8]

    @property
    def size_bytes(self) -> int:
        """Memory it takes."""
        return self.image_keys.nbytes + self.codes.nbytes + _OVERHEAD_BYTES


class ListCache:
    """Rows by key, the least recently used dropped beyond a number of bytes. Thread-safe.

    A reading that fails leaves the cache as it was. Two threads that miss the same rows at once
    both read them; no thread waits for another's reading.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._held: OrderedDict[Hashable, Rows] = OrderedDict()
        self._held_bytes = 0
        self._lock = threading.Lock()

    def rows(self, key: Hashable, read: Callable[[], Read]) -> Rows:
        """The rows of `key`, from memory or by `read()`; rows larger than the limit are not held.

        Args:
            key: What names the rows; a version that grows in it makes old ones fall out.
            read: Image keys and codes, called where the rows are not held.
        """
        return self.many([key], lambda _: read())[0]

    def many(self, keys: Sequence[Hashable], read: Callable[[int], Read]) -> list[Rows]:
        """The rows of each key: `rows` for many at once, which saves half of a hit's time.

        Args:
            keys: What names the rows.
            read: Place in `keys` to image keys and codes.
        """
        held, found = self._held, []
        for place, key in enumerate(keys):
            try:
                # Each call is atomic, and a key that falls out between them is read again: a hit,
                # which is nearly always, takes no lock.
                held.move_to_end(key)
                rows = held[key]
            except KeyError:
                rows = Rows(*read(place))
                self._hold(key, rows)
            found.append(rows)
        return found

    @property
    def held_bytes(self) -> int:
        """Memory taken, at most `limit_bytes`."""
        return self._held_bytes

    def drop(self) -> None:
        """Drops everything."""
        with self._lock:
            self._held.clear()
            self._held_bytes = 0

    def _hold(self, key: Hashable, rows: Rows) -> None:
        if rows.size_bytes > self.limit_bytes:
            return
        with self._lock:
            if key in self._held:
                return
            self._held[key] = rows
            self._held_bytes += rows.size_bytes
            while self._held_bytes > self.limit_bytes:
                self._held_bytes -= self._held.popitem(last=False)[1].size_bytes
