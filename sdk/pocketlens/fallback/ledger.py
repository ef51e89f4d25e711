"""The ledger: what left the device for a server, when, where to, how many bytes, what came of it.

    ledger = Ledger(store / NAME)
    number = ledger.enter(Entry(now, "shop.example:8443", "main", "embedding", 560), ...)
    ...                                        # only now may it leave
    ledger.settle(number, "answered")
    summary(store / NAME)

A row is on the disk before anything leaves: nothing does unlisted, whatever happens afterwards. Any
number of processes may write one ledger.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from pocketlens.durable_files import sync_folder, translated
from pocketlens.errors import StoreError

NAME = "ledger.sqlite"  # beside CURRENT
MOST_ROWS = 10_000  # some 1 MB; of those before them the sums stay
LEFT = "left"  # what came of a question whose process did not live to tell

# To wait for others that write, where nobody's search waits; where it is not enough to settle a
# question, its row says `LEFT`.
_PATIENT_SECONDS = 5.0
_FORMAT = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS questions (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,  -- microseconds since 1970-01-01 UTC, by the device's clock
    address   TEXT NOT NULL,
    catalogue TEXT NOT NULL,
    what      TEXT NOT NULL,     -- embedding or photo
    bytes     INTEGER NOT NULL,
    outcome   TEXT NOT NULL      -- left, or a word of FallbackOutcome
);
CREATE TABLE IF NOT EXISTS earlier (  -- sums of rows that were forgotten
    what      TEXT PRIMARY KEY,
    questions INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One question that left.

    Attributes:
        at: When, UTC.
        address: Where to, HOST:PORT.
        catalogue: Of that server.
        what: "embedding" or "photo"; the filter and k go with it.
        sent_bytes: Of the question.
        outcome: A word of `FallbackOutcome`, or `LEFT`.
    """

    at: datetime
    address: str
    catalogue: str
    what: str
    sent_bytes: int
    outcome: str = LEFT


@dataclass(frozen=True, slots=True)
class Summary:
    """What a ledger says in all.

    Attributes:
        questions: By what left: how many.
        sent_bytes: By what left.
        last: The newest; None where nothing ever left.
    """

    questions: dict[str, int]
    sent_bytes: dict[str, int]
    last: Entry | None


class Ledger:
    """A file that is opened anew for each row; it is made with the first one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def enter(self, entry: Entry, *, daily_bytes: int | None, timeout: float) -> int | None:
        """Lists what is about to leave; it is on the disk when this returns.

        Args:
            entry: The question.
            daily_bytes: Of all rows of the 24 hours before it, with it, at most; a day of
                `MOST_ROWS` is full as well, since no more are added up. A clock that was set back
                counts what lies ahead, too.
            timeout: Seconds to wait for other processes that write.

        Returns:
            Its number; None where it is more than the day has left, and nothing was written.

        Raises:
            StoreError: It cannot be written.
        """
        with self._changing(timeout) as connection:
            at = (entry.at - _EPOCH) // _MICROSECOND
            if daily_bytes is not None:
                spent, rows = connection.execute(
                    "SELECT coalesce(sum(bytes), 0), count(*) FROM questions WHERE at > ?",
                    (at - _DAY // _MICROSECOND,),
                ).fetchone()
                if spent + entry.sent_bytes > daily_bytes or rows >= MOST_ROWS:
                    return None
            row = (at, entry.address, entry.catalogue, entry.what, entry.sent_bytes, entry.outcome)
            connection.execute(
                "INSERT INTO questions (at, address, catalogue, what, bytes, outcome) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
            number = int(connection.execute("SELECT last_insert_rowid()").fetchone()[0])
            _forget(connection)
            return number

    def settle(self, number: int, outcome: str) -> None:
        """Says what came of a question; one that is forgotten by now stays so.

        Raises:
            StoreError: It cannot be written.
        """
        with self._changing(_PATIENT_SECONDS) as connection:
            connection.execute(
                "UPDATE questions SET outcome = ? WHERE number = ?", (outcome, number)
            )

    def strike(self, number: int) -> None:
        """Takes out a question that did not leave after all.

        Raises:
            StoreError: It cannot be written.
        """
        with self._changing(_PATIENT_SECONDS) as connection:
            connection.execute("DELETE FROM questions WHERE number = ?", (number,))

    @contextmanager
    def _changing(self, timeout: float) -> Iterator[sqlite3.Connection]:
        """One transaction, durable on leaving."""
        with _errors(self._path):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            is_new = os.fstat(descriptor).st_size == 0
            os.close(descriptor)
            if is_new:
                sync_folder(self._path.parent)
            with closing(_connected(self._path, timeout)) as connection:
                # FULL does not flush the name of the journal: a power cut could bring that back,
                # and with it the ledger as it was before.
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.execute("BEGIN IMMEDIATE")
                _check_format(connection, self._path)
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")


def summary(path: Path) -> Summary | None:
    """What a ledger says; None where there is none.

    Raises:
        StoreError: It cannot be read.
    """
    if not path.exists():
        return None
    with _errors(path), closing(_connected(path, _PATIENT_SECONDS)) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # nothing was entered
            return Summary({}, {}, None)
        sums = connection.execute(
            "SELECT what, sum(questions), sum(bytes) FROM ("
            "SELECT what, count(*) AS questions, sum(bytes) AS bytes FROM questions GROUP BY what "
            "UNION ALL SELECT what, questions, bytes FROM earlier) GROUP BY what ORDER BY what"
        ).fetchall()
        last = connection.execute(
            "SELECT at, address, catalogue, what, bytes, outcome FROM questions "
            "ORDER BY number DESC LIMIT 1"
        ).fetchone()
    return Summary(
        questions={what: count for what, count, _ in sums},
        sent_bytes={what: size for what, _, size in sums},
        last=None if last is None else Entry(_EPOCH + last[0] * _MICROSECOND, *last[1:]),
    )


def _connected(path: Path, timeout: float) -> sqlite3.Connection:
    """To write, if that may be: who reads has to undo what a process that was killed began."""
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=rw",
        uri=True,
        timeout=timeout,
        isolation_level=None,
    )


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    """Makes the tables of a file that is new; inside a transaction."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == 0:
        for statement in _SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
    elif found != _FORMAT:
        raise StoreError(f"Expected a ledger of format {_FORMAT}. Received {found}: {path}.")


def _forget(connection: sqlite3.Connection) -> None:
    """Leaves the sums of rows before the newest."""
    last = connection.execute(
        "SELECT number FROM questions ORDER BY number DESC LIMIT 1 OFFSET ?", (MOST_ROWS,)
    ).fetchone()
    if last is None:
        return
    connection.execute(
        "INSERT INTO earlier SELECT what, count(*), sum(bytes) FROM questions WHERE number <= ? "
        "GROUP BY what ON CONFLICT (what) DO UPDATE SET "
        "questions = questions + excluded.questions, bytes = bytes + excluded.bytes",
        last,
    )
    connection.execute("DELETE FROM questions WHERE number <= ?", last)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise StoreError(
            f"The ledger {path} cannot be used: {exc}. Move it away, and another is begun."
        ) from exc
    except OSError as exc:
        error = translated(exc, path)
        if isinstance(error, StoreError):
            raise error from exc
        raise StoreError(f"The ledger {path} cannot be written: {exc.strerror}.") from exc
