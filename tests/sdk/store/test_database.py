"""The SQLite file: its format is checked, its errors are the store's own."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pocketlens.errors import StoreCorrupt, StoreFull, StoreNotFound, StoreReadOnly, StoreTooNew
from pocketlens.store import database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / database.FILE_NAME
    connection = database.create(path)
    database.finish(connection, path)
    return path


def altered(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)


def test_a_finished_store_is_one_file_without_a_journal(path: Path) -> None:
    with closing(database.open_to_read(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        with pytest.raises(StoreReadOnly), database.errors(path):
            connection.execute("CREATE TABLE another (key)")

    assert [each.name for each in path.parent.iterdir()] == [database.FILE_NAME]


def test_a_newer_format_is_refused_by_name(path: Path) -> None:
    altered(path, f"PRAGMA user_version = {database.FORMAT + 1}")

    with pytest.raises(StoreTooNew, match=f"format {database.FORMAT}. Received 2.*Update"):
        database.open_to_read(path)


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("PRAGMA user_version = 0", "Received 0"),
        ("PRAGMA application_id = 1", "Expected a PocketLens store"),
    ],
)
def test_another_database_is_refused(path: Path, statement: str, what: str) -> None:
    altered(path, statement)

    with pytest.raises(StoreCorrupt, match=what):
        database.open_to_read(path)


@pytest.mark.parametrize("data", [b"", b"no database", bytes(8192)], ids=["empty", "text", "zeros"])
def test_another_file_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)

    with pytest.raises(StoreCorrupt, match="pocketlens index"):
        database.open_to_read(path)


def test_a_missing_file_is_corruption_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreCorrupt, match="is missing"):
        database.open_to_read(tmp_path / "store.sqlite")

    assert list(tmp_path.iterdir()) == []


def test_no_room_is_store_full(tmp_path: Path) -> None:
    path = tmp_path / database.FILE_NAME
    with closing(database.create(path)) as connection:
        connection.execute("PRAGMA max_page_count = 30")
        many = ((key, bytes(4000)) for key in range(100))
        with pytest.raises(StoreFull, match="Free some space"), database.errors(path):
            connection.executemany("INSERT INTO codebook VALUES (?, ?)", many)


def test_a_folder_that_is_missing_is_no_corruption(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound, match="no folder"):
        database.create(tmp_path / "none" / database.FILE_NAME)
