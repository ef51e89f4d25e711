"""One connection for all that the threads of a process write to a database, in turns.

    kept = KeptConnection(path, connect=lambda: sqlite3.connect(path, check_same_thread=False))
    with kept.turn() as connection: ...
    kept.close()

To open a database, to prepare every statement anew and, since the last connection that is closed
empties the log, to write every page twice takes 2 ms a transaction: ten times the work of a patch.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketlens.errors import PocketLensError
from pocketlens_server.turns import Turns


class KeptConnection:
    """To one database; opened when it is first needed."""

    def __init__(self, database: Path, *, connect: Callable[[], sqlite3.Connection]) -> None:
        """Opens nothing yet.

        Args:
            database: Its file; where another has taken its place, that is opened.
            connect: Opens a connection that any thread may use.
        """
        self._database, self._connect = database, connect
        self._turns = Turns()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    @contextmanager
    def turn(self) -> Iterator[sqlite3.Connection]:
        """The connection, for the body alone.

        The body has ended its transaction when it leaves. After an error of ours, which refuses
        something, the next turn has the same connection. After any other it opens another: one that
        broke off in a query still sees what there was then, and could not write on.
        """
        with self._turns:
            file = file_at(self._database)
            if self._connection is None or file != self._file:
                self._forget()
                self._connection, self._file = self._connect(), file
            try:
                yield self._connection
            except PocketLensError:
                if self._connection.in_transaction:
                    self._forget()
                raise
            except BaseException:
                self._forget()
                raise

    def close(self) -> None:
        """Closes it; the next turn would open another."""
        with self._turns:
            self._forget()

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def file_at(path: Path) -> tuple[int, int] | None:
    """What the system knows the file by that is there now; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
