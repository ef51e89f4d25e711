"""A disk that is full is told from one that breaks, and from all that SQLite or Python refuse."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pocketlens.errors import ServerError, StoreFull
from pocketlens_server.storage.database_errors import error_of

FOLDER_MATTERS = (
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CANTOPEN_FULLPATH,
)


def said(code: int, folder: Path) -> StoreFull | ServerError:
    exc = sqlite3.OperationalError("disk I/O error")
    exc.sqlite_errorcode = code
    return error_of(exc, folder, if_full="no room", otherwise="broken")


@pytest.mark.parametrize("code", FOLDER_MATTERS)
def test_an_error_of_a_file_is_no_full_disk_where_there_is_room(code: int, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        error = said(code, folder)
        assert (type(error), str(error)) == (ServerError, "broken")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a file system without room for anything")
@pytest.mark.parametrize("code", FOLDER_MATTERS)
def test_an_error_of_a_file_is_a_full_disk_where_there_is_none(code: int) -> None:
    error = said(code, Path("/proc"))

    assert (type(error), str(error)) == (StoreFull, "no room")


def test_a_full_disk_is_believed_wherever_it_is(tmp_path: Path) -> None:
    assert isinstance(said(sqlite3.SQLITE_FULL, tmp_path), StoreFull)


def test_what_is_no_error_of_a_file_is_none_of_the_disk(tmp_path: Path) -> None:
    connection = sqlite3.connect(":memory:")
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError) as closed:
        connection.execute("SELECT 1")
    error = error_of(closed.value, tmp_path, if_full="no room", otherwise="broken")

    assert isinstance(error, ServerError)
    assert isinstance(said(sqlite3.SQLITE_BUSY, tmp_path), ServerError)
