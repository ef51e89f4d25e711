"""What left the device: when, what, where to, how many bytes, and what came of it.

    ledger = Ledger(directory / "ledger.sqlite")
    number = ledger.note(now, kind="embedding", address="shop.example:8443", ...)   # then send
    ledger.settle(number, "answered")

A row is on disk before a byte is sent: nothing leaves that is not listed. Any number of processes
may write one. The newest rows stay; of the others the sums.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pocketlens.errors import StoreCorrupt, StoreError, StoreFull, StoreReadOnly

FILE_NAME = "ledger.sqlite"
MOST_ROWS = 10_000
_BUSY_SECONDS = 2.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sent (
    number    INTEGER PRIMARY KEY,
    sent_at   INTEGER NOT NULL,    -- microseconds since 1970-01-01 UTC
    kind      TEXT NOT NULL,       -- embedding, photo
    address   TEXT NOT NULL,
    catalogue TEXT NOT NULL,
    bytes     INTEGER NOT NULL,
    outcome   TEXT NOT NULL        -- sent, answered, failed
);
CREATE INDEX IF NOT EXISTS sent_by_time ON sent (sent_at);
CREATE TABLE IF NOT EXISTS forgotten (kind TEXT PRIMARY KEY, count INTEGER, bytes INTEGER);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One question that left.

    Attributes:
        sent_at: UTC.
        kind: "embedding" or "photo".
        address, catalogue: Where to.
        bytes: Of the message.
        outcome: "sent" until it is known, then "answered" or "failed".
    """

    sent_at: datetime
    kind: str
    address: str
    catalogue: str
    bytes: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Totals:
    """Everything that ever left.

    Attributes:
        counts: Questions by kind.
        bytes: Bytes by kind.
        newest: The last ones, newest first.
    """

    counts: dict[str, int]
    bytes: dict[str, int]
    newest: tuple[Entry, ...]


class Ledger:
    """A file of its own, opened for each use: a question a second is many."""

    def __init__(self, path: Path, *, most_rows: int = MOST_ROWS) -> None:
        """Touches nothing yet.

        Args:
            path: Of the file.
            most_rows: That stay.
        """
        self._path, self._most_rows = path, most_rows

    def note(self, now: datetime, *, kind: str, address: str, catalogue: str, size: int) -> int:
        """Lists what is about to leave; the number of its row, durable.

        Raises:
            StoreReadOnly, StoreFull: It cannot be listed, so that nothing may leave.
            StoreError: It is damaged, or another process holds it.
        """
        with self._opened() as connection, connection:
            added = connection.execute(
                "INSERT INTO sent (sent_at, kind, address, catalogue, bytes, outcome)"
                " VALUES (?, ?, ?, ?, ?, 'sent')",
                (_microseconds(now), kind, address, catalogue, size),
            )
            number = int(added.lastrowid or 0)
            self._forget_old(connection, number)
        return number

    def settle(self, number: int, outcome: str) -> None:
        """Says what came of it; errors as `note`."""
        with self._opened() as connection, connection:
            connection.execute("UPDATE sent SET outcome = ? WHERE number = ?", (outcome, number))

    def bytes_since(self, moment: datetime) -> int:
        """Bytes that left since then, of the rows that are kept; errors as `note`."""
        with self._opened() as connection:
            query = "SELECT coalesce(sum(bytes), 0) FROM sent WHERE sent_at >= ?"
            return int(connection.execute(query, (_microseconds(moment),)).fetchone()[0])

    def totals(self, *, newest: int = 10) -> Totals | None:
        """All that ever left; None where there is no ledger: nothing did.

        Raises:
            StoreError: It is damaged.
        """
        if not self._path.exists():
            return None
        try:
            # Also one in a folder that cannot be written.
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as connection:
                sums = connection.execute(
                    "SELECT kind, sum(n), sum(b) FROM (SELECT kind, count(*) AS n, sum(bytes) AS b"
                    " FROM sent GROUP BY kind UNION ALL SELECT kind, count, bytes FROM forgotten)"
                    " GROUP BY kind ORDER BY kind"
                ).fetchall()
                rows = connection.execute(
                    "SELECT sent_at, kind, address, catalogue, bytes, outcome FROM sent"
                    " ORDER BY number DESC LIMIT ?",
                    (newest,),
                ).fetchall()
        except sqlite3.Error as exc:
            raise self._error(exc) from exc
        return Totals(
            {kind: count for kind, count, _ in sums},
            {kind: size for kind, _, size in sums},
            tuple(Entry(_EPOCH + at * _MICROSECOND, *row) for at, *row in rows),
        )

    def _forget_old(self, connection: sqlite3.Connection, newest: int) -> None:
        last = newest - self._most_rows
        if last <= 0:
            return
        connection.execute(
            "INSERT INTO forgotten SELECT kind, count(*), sum(bytes) FROM sent WHERE number <= ?"
            " GROUP BY kind ON CONFLICT (kind) DO UPDATE SET count = count + excluded.count,"
            " bytes = bytes + excluded.bytes",
            (last,),
        )
        connection.execute("DELETE FROM sent WHERE number <= ?", (last,))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS)) as connection:
                connection.executescript(f"PRAGMA synchronous = FULL; {_SCHEMA}")
                yield connection
        except sqlite3.Error as exc:
            raise self._error(exc) from exc

    def _error(self, exc: sqlite3.Error) -> StoreError:
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return StoreFull(f"No room to list in {self._path} what leaves. Nothing left.")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return StoreReadOnly(
                f"Expected a ledger that can be written, to list what leaves. Received "
                f"{self._path}. Name another file: Fallback(ledger=PATH)."
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StoreCorrupt(
                f"The ledger {self._path} is damaged: {exc}. Keep a copy and move it away; a new "
                "one is begun then."
            )
        return StoreError(f"The ledger {self._path} cannot be used: {exc}.")


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
