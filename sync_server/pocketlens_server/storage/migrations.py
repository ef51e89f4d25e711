"""The tables of a catalogue's database: made by named steps, each once and in order.

    create(connection)      # in a new database: every step
    migrate(connection)     # in one that is there: the steps that it has not been through

A step and its line in the table `migrations` are one transaction: a process that ends in between
leaves the tables of before, and of two processes at once one goes the step. A database that has
been through a step which is not known here is refused: it was written by a newer PocketLens.

Another step is another line at the end of `STEPS`; those before it never change.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from pocketlens.errors import ServerError

_TABLE = (
    "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY,"
    " applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"  # UTC, for people
)
_OLDEST_TABLE = "history"  # of the first step


@dataclass(frozen=True, slots=True)
class Migration:
    """A step.

    Attributes:
        name: For ever.
        apply: Changes the tables, inside a transaction of the caller; it neither commits nor calls
            `executescript`, which does.
    """

    name: str
    apply: Callable[[sqlite3.Connection], None]


def sql(*names: str) -> Callable[[sqlite3.Connection], None]:
    """The statements of files in this package, for `Migration.apply`."""

    def apply(connection: sqlite3.Connection) -> None:
        for name in names:
            text = resources.files("pocketlens_server.storage").joinpath(name).read_text("utf-8")
            for statement in _statements(text):
                connection.execute(statement)

    return apply


STEPS: tuple[Migration, ...] = (
    # Databases of before there were steps have these tables, and no table `migrations`.
    Migration("history and vectors", sql("history.sql", "vectors.sql")),
    Migration("what backends sent", sql("ingest.sql")),
    Migration("what asked for images that wait", sql("asked_images.sql")),
    Migration("jobs that have not ended", sql("unended_jobs.sql")),
)


def create(connection: sqlite3.Connection, steps: Sequence[Migration] = STEPS) -> None:
    """Makes every table in a new database.

    Args:
        connection: In autocommit mode (`isolation_level=None`).
        steps: In their order.
    """
    while step := _next(connection, steps):
        _go(connection, step, steps)


def migrate(connection: sqlite3.Connection, steps: Sequence[Migration] = STEPS) -> None:
    """Brings a database that is there to the last step; nothing is locked where it is.

    Args:
        connection: In autocommit mode (`isolation_level=None`).
        steps: In their order.

    Raises:
        ServerError: It was written by a newer PocketLens, or holds no catalogue.
    """
    if not has_table(connection, _OLDEST_TABLE):
        raise ServerError(
            "The database holds no catalogue: it is empty or another's. Restore the server from a "
            "backup: pocketlens-server restore"
        )
    create(connection, steps)


def unknown(connection: sqlite3.Connection, steps: Sequence[Migration] = STEPS) -> list[str]:
    """Names of the steps that a database has been through and that are not known here."""
    return sorted(_applied(connection) - {step.name for step in steps})


def lacking(connection: sqlite3.Connection, steps: Sequence[Migration] = STEPS) -> list[str]:
    """Names of the steps that a database has not been through."""
    applied = _applied(connection)
    return [step.name for step in steps if step.name not in applied]


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Whether a database has a table, which one of before its step has not."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (name,)).fetchone() is not None


def _next(connection: sqlite3.Connection, steps: Sequence[Migration]) -> Migration | None:
    """The first step that a database has not been through.

    Raises:
        ServerError: It has been through one that is not known here.
    """
    if newer := unknown(connection, steps):
        raise ServerError(
            f"The database was written by a newer PocketLens: it has been through {newer[0]!r}. "
            "Update PocketLens."
        )
    names = lacking(connection, steps)
    return next((step for step in steps if step.name in names), None)


def _go(connection: sqlite3.Connection, step: Migration, steps: Sequence[Migration]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        if _next(connection, steps) is step:  # or another process has gone it meanwhile
            connection.execute(_TABLE)
            if step is not steps[0] or not has_table(connection, _OLDEST_TABLE):
                step.apply(connection)
            connection.execute("INSERT INTO migrations (name) VALUES (?)", (step.name,))
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.rollback()


def _applied(connection: sqlite3.Connection) -> set[str]:
    if not has_table(connection, "migrations"):
        return set()
    return {name for (name,) in connection.execute("SELECT name FROM migrations")}


def _statements(text: str) -> Iterator[str]:
    """Each statement of a script; `executescript` would commit what came before it."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
