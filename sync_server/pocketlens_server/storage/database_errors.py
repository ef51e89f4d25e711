"""What SQLite says -> our errors: a disk that is full, or a database that cannot be used."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from pocketlens.errors import ServerError, StoreFull

_NO_ROOM_BYTES = 64 << 10
_HELD = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def error_of(
    exc: sqlite3.Error, folder: Path, *, if_full: str, otherwise: str
) -> StoreFull | ServerError:
    """The error to raise from one of SQLite's.

    Args:
        exc: SQLite's.
        folder: In which it could not write, if that was it.
        if_full: Our text where the disk has no room.
        otherwise: Our text.
    """
    return StoreFull(if_full) if _is_full(exc, folder) else ServerError(otherwise)


def is_held(error: ServerError) -> bool:
    """Whether one of those errors says no more than that another process holds the database."""
    cause = error.__cause__
    return isinstance(cause, sqlite3.Error) and _code(cause) in _HELD


def _is_full(exc: sqlite3.Error, folder: Path) -> bool:
    code = _code(exc)
    # Where it has no room for a file beside the database it says "disk I/O error", as where the
    # disk is breaking, or that it cannot open it.
    if code not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return bool(code == sqlite3.SQLITE_FULL)
    try:
        return shutil.disk_usage(folder).free < _NO_ROOM_BYTES
    except OSError:  # it is gone
        return False


def _code(exc: sqlite3.Error) -> int:
    # What Python's module itself refuses, such as a connection that was closed, has none.
    found: int = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return found & 0xFF
