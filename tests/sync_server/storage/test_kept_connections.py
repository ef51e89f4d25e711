"""One connection is kept for all that write, and given up when it may not be trusted."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pocketlens.errors import Conflict
from pocketlens_server.folders import MAIN, ServerFolder
from pocketlens_server.publishing import releasing
from pocketlens_server.storage.kept_connections import KeptConnection

NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return made(tmp_path / "database.sqlite")


@pytest.fixture
def kept(database: Path) -> Iterator[KeptConnection]:
    opened = KeptConnection(
        database, connect=lambda: sqlite3.connect(database, check_same_thread=False)
    )
    yield opened
    opened.close()


def made(path: Path) -> Path:
    """A database with one number in it."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE numbers (number INTEGER)")
        connection.execute("INSERT INTO numbers VALUES (1)")
    connection.close()
    return path


def number_of(kept: KeptConnection) -> int:
    with kept.turn() as connection:
        return int(connection.execute("SELECT number FROM numbers").fetchone()[0])


def test_every_turn_has_the_same_connection(kept: KeptConnection) -> None:
    with kept.turn() as first:
        pass
    with kept.turn() as second:
        assert second is first


def change_and_refuse(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE numbers SET number = 2")
    raise Conflict("The newest version is another.")


def test_the_turn_after_a_refusal_has_the_same_connection(kept: KeptConnection) -> None:
    with pytest.raises(Conflict), kept.turn() as first, first:
        change_and_refuse(first)

    with kept.turn() as second:
        assert second is first
    assert number_of(kept) == 1


def test_a_refusal_in_a_transaction_undoes_it_by_another_connection(kept: KeptConnection) -> None:
    with pytest.raises(Conflict), kept.turn() as first:
        change_and_refuse(first)

    assert number_of(kept) == 1
    with kept.turn() as second:
        assert second is not first


def test_a_catalogue_that_refuses_keeps_its_connection(tmp_path: Path) -> None:
    server = ServerFolder.create(tmp_path / "server", offline_keys=tmp_path / "keys", now=NOW)
    opened: list[sqlite3.Connection] = []

    def counted(connection: sqlite3.Connection) -> sqlite3.Connection:
        opened.append(connection)
        return connection

    folder = server.catalogue(MAIN)
    folder = replace(
        folder,
        kept=KeptConnection(
            folder.database,
            connect=lambda: counted(
                sqlite3.connect(folder.database, isolation_level=None, check_same_thread=False)
            ),
        ),
    )
    for _ in range(3):
        with folder.changing() as tables:
            tables.history.publish(NOW)
        with pytest.raises(Conflict, match="to be the newest"):
            releasing.roll_back(folder, 1, parent=99)

    assert len(opened) == 1
    folder.kept.close()  # type: ignore[union-attr]


def test_who_broke_off_in_a_query_keeps_nobody_from_writing(
    kept: KeptConnection, database: Path
) -> None:
    with closing(sqlite3.connect(database)) as other, other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("INSERT INTO numbers VALUES (2)")

    def break_off() -> None:
        with kept.turn() as connection:
            rows = connection.execute("SELECT number FROM numbers")
            raise ZeroDivisionError(next(rows))

    with pytest.raises(ZeroDivisionError) as held:  # and with it the query
        break_off()
    with closing(sqlite3.connect(database)) as other, other:
        other.execute("UPDATE numbers SET number = 3")

    with kept.turn() as connection, connection:
        connection.execute("UPDATE numbers SET number = 4")
    assert held.value is not None
    assert number_of(kept) == 4


def test_the_turn_after_an_error_has_another(kept: KeptConnection) -> None:
    with pytest.raises(ZeroDivisionError), kept.turn() as first:
        1 / 0  # noqa: B018
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        first.execute("SELECT 1")
    assert number_of(kept) == 1


def test_a_database_that_took_the_place_of_another_is_opened(
    kept: KeptConnection, database: Path
) -> None:
    assert number_of(kept) == 1
    other = made(database.with_name("other.sqlite"))
    with sqlite3.connect(other) as connection:
        connection.execute("UPDATE numbers SET number = 2")
    connection.close()
    other.replace(database)

    assert number_of(kept) == 2


def test_a_database_that_is_gone_is_not_written_on(kept: KeptConnection, database: Path) -> None:
    with kept.turn() as first:
        pass
    database.unlink()

    with kept.turn() as second:
        assert second is not first


def test_threads_have_their_turns_one_after_the_other(kept: KeptConnection) -> None:
    inside, most = list[int](), list[int]()

    def add() -> None:
        for _ in range(50):
            with kept.turn() as connection, connection:
                inside.append(1)
                connection.execute("UPDATE numbers SET number = number + 1")
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(most) == 1
    assert number_of(kept) == 201


def test_one_that_is_closed_opens_again(kept: KeptConnection) -> None:
    with kept.turn() as connection:
        pass
    kept.close()
    kept.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
    assert number_of(kept) == 1
