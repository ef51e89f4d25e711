"""How many bytes each table of a store takes on the disk."""

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
