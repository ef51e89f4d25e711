"""One connection is kept for all that write, and given up when it may not be trusted."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketlens_server.storage.kept_connections import KeptConnection


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
