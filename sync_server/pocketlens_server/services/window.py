"""Room for the operations of a stream that wait for their outcome, in number and in bytes.

window = Window(operations=256, size_bytes=4 << 20)
await window.enter(1, size_bytes=message.ByteSize())    # while there is none, nothing is read
window.leave()                                          # those that came first go first
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections import deque


class Window:
    """Those that are inside; one task lets in, and whoever answers lets out."""

    def __init__(self, *, operations: int, size_bytes: int) -> None:
        """Begins empty.

        Args:
            operations: That may be inside.
            size_bytes: Of all their messages together. What alone is larger is let in alone.
        """
        self._most, self._most_bytes = operations, size_bytes
        self._inside: deque[tuple[int, int]] = deque()
        self._count = self._size_bytes = 0
        self._left = asyncio.Event()

    async def enter(self, operations: int, *, size_bytes: int) -> None:
        """Waits until there is room for operations that come in one message, all together."""
        while self._inside and not self._fits(operations, size_bytes):
            self._left.clear()
            await self._left.wait()
        self._inside.append((operations, size_bytes))
        self._count += operations
        self._size_bytes += size_bytes

    def leave(self) -> None:
        """The message that came first is answered."""
        operations, size_bytes = self._inside.popleft()
        self._count -= operations
        self._size_bytes -= size_bytes
        self._left.set()

    def _fits(self, operations: int, size_bytes: int) -> bool:
        return (
            self._count + operations <= self._most
            and self._size_bytes + size_bytes <= self._most_bytes
        )
