"""How many bytes each table of a store takes on the disk, or nearly."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from pocketlens.store import database


def table_bytes(install: Path) -> dict[str, int]:
    """Bytes of whole pages by table, largest first; empty where SQLite was built without dbstat.

    Args:
        install: Folder of an install.

    Raises:
        StoreCorrupt: The database cannot be read.
    """
    path = install / database.FILE_NAME
    with closing(database.open_to_read(path)) as connection, database.errors(path):
        try:
            found = connection.execute(
                "SELECT name, SUM(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC"
            ).fetchall()
        except sqlite3.OperationalError as exc:
            if "no such table" in str(exc):
                return {}
            raise
        return dict(found)


def estimated_table_bytes(install: Path) -> dict[str, int]:
    """The bytes of a store's file, shared out in proportion to what rows hold, largest first.

    For where SQLite cannot tell: numbers count four bytes, texts and blobs as many as they have.

    Args:
        install: Folder of an install.

    Raises:
        StoreCorrupt: The database cannot be read.
    """
    path = install / database.FILE_NAME
    with closing(database.open_to_read(path)) as connection, database.errors(path):
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        held = {name: _held_bytes(connection, name) for (name,) in names}
    share = path.stat().st_size / max(sum(held.values()), 1)
    found = {name: round(size * share) for name, size in held.items()}
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def _held_bytes(connection: database.Connection, table: str) -> int:
    columns = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
    held = " + ".join(
        f"CASE WHEN typeof(\"{column[1]}\") IN ('text', 'blob') "
        f'THEN length(CAST("{column[1]}" AS BLOB)) ELSE 4 END'
        for column in columns
    )
    statement = f'SELECT COALESCE(SUM({held}), 0) FROM "{table}"'  # noqa: S608 # its own names
    return int(connection.execute(statement).fetchone()[0])
