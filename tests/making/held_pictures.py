"""A picture that comes when it is let go: whoever decodes it is in the middle of it until then."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path
from time import monotonic


class HeldPicture:
    """A named pipe. Whoever opens it waits for what is in it.

    Attributes:
        path: Of the pipe.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._end = path, -1
        os.mkfifo(path)

    def wait_until_read(self, *, within: float = 30) -> None:
        """Returns when somebody is in the middle of it."""
        due = monotonic() + within
        while self._end < 0:
            assert monotonic() < due, f"nobody reads {self.path}"
            with suppress(OSError):  # nobody has opened it yet
                self._end = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            select.select([], [], [], 0.005)

    def let_go(self, data: bytes = b"") -> None:
        """Lets it be read to its end, after `data` that a pipe takes at once."""
        os.write(self._end, data)
        os.close(self._end)
