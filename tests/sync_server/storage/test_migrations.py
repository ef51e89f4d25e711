"""The tables of a catalogue come by named steps, each once, whoever is killed or comes second."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.making.tiles import TileShop

from pocketlens.errors import ServerError
from pocketlens.products import Image
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.storage import migrations
from pocketlens_server.storage.migrations import STEPS, Migration, sql
from pocketlens_server.storage.waiting_images import DeadLetters, WaitingImages

FORMAT_1 = Path(__file__).with_name("format_1.sql")
NAMES = [step.name for step in STEPS]


def open_database(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=20)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(path)) as connection:
        yield connection


def schema(path: Path) -> dict[str, str]:
    """What SQLite says of each table and index, however it was written."""
    with opened(path) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {name: " ".join(text.split()) for name, text in found}


def applied(path: Path) -> list[str]:
    with opened(path) as connection:
        found = connection.execute("SELECT name FROM migrations ORDER BY rowid")
        return [name for (name,) in found]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of the first format, with a row."""
    path = tmp_path / "old.sqlite"
    with opened(path) as connection:
        connection.executescript(FORMAT_1.read_text())
        connection.execute("INSERT INTO versions VALUES (1, 7)")
    return path


def rename(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE versions ADD COLUMN note TEXT")
    connection.execute("UPDATE versions SET note = 'old'")


ONE_MORE = (*STEPS, Migration("notes of versions", rename))


def test_a_new_database_and_an_old_one_end_alike(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.sqlite"
    with opened(new) as connection:
        migrations.create(connection)
    with opened(old) as connection:
        migrations.migrate(connection)

    assert schema(old) == schema(new)
    assert applied(old) == applied(new) == NAMES
    with opened(old) as connection:
        assert connection.execute("SELECT version, as_of FROM versions").fetchall() == [(1, 7)]


def test_what_waited_before_requests_were_told_with_it_waits_still(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with opened(path) as connection:
        migrations.create(connection, STEPS[:2])
        connection.execute("INSERT INTO waiting_images VALUES (7, 'i', 'u', x'41', 1)")
        connection.execute("INSERT INTO dead_letters VALUES (8, 'd', '', x'42', 1, '[]', 'r', 9)")

        migrations.migrate(connection)

        (image,) = WaitingImages(connection).showing(b"A")
        (letter,) = DeadLetters(connection).listed(limit=9)
        assert (image.image, image.job, image.request) == (Image("i", "u"), 1, "")
        assert (letter.number, letter.image, letter.request) == (8, Image("d"), "")
        assert (WaitingImages(connection).drop_job(1), DeadLetters(connection).purge([])) == (1, 1)


def test_each_step_is_gone_once_and_says_when(old: Path) -> None:
    for _ in range(3):
        with opened(old) as connection:
            migrations.migrate(connection, ONE_MORE)  # a second ALTER TABLE would fail

    assert applied(old) == [*NAMES, "notes of versions"]
    with opened(old) as connection:
        assert connection.execute("SELECT note FROM versions").fetchall() == [("old",)]
        for (when,) in connection.execute("SELECT applied_at FROM migrations"):
            assert len(when) == len("2026-11-25 10:00:00")


def test_nothing_is_locked_where_nothing_is_to_do(old: Path) -> None:
    with opened(old) as connection:
        migrations.migrate(connection)
    with opened(old) as writer, closing(sqlite3.connect(old, timeout=0)) as other:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("BEGIN IMMEDIATE")

        migrations.migrate(other)


def fails(connection: sqlite3.Connection) -> None:
    rename(connection)
    connection.execute("SELECT no_such_column FROM versions")


def test_a_step_that_fails_leaves_the_tables_of_before(old: Path) -> None:
    with opened(old) as connection:
        migrations.migrate(connection)
        before = schema(old)
        with pytest.raises(sqlite3.OperationalError):
            migrations.migrate(connection, (*STEPS, Migration("notes of versions", fails)))
        assert not connection.in_transaction

    assert schema(old) == before
    with opened(old) as connection:
        migrations.migrate(connection, ONE_MORE)
    assert applied(old)[-1] == "notes of versions"


KILLED = """
import os, signal, sqlite3, sys
from pocketlens_server.storage import migrations
from pocketlens_server.storage.migrations import STEPS, Migration

def killed(connection):
    connection.execute("ALTER TABLE versions ADD COLUMN note TEXT")
    connection.execute("CREATE TABLE large AS WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL"
                       " SELECT x + 1 FROM n WHERE x < 200000) SELECT randomblob(64) FROM n")
    os.kill(os.getpid(), signal.SIGKILL)

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_spill = 1")
migrations.migrate(connection, (*STEPS, Migration("notes of versions", killed)))
"""


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_killed_step_leaves_the_tables_of_before(mode: str, old: Path) -> None:
    with opened(old) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        migrations.migrate(connection)
    before = schema(old)

    ended = subprocess.run([sys.executable, "-c", KILLED, str(old)], env=environment())

    assert ended.returncode == -signal.SIGKILL
    assert schema(old) == before
    with opened(old) as connection:
        migrations.migrate(connection, ONE_MORE)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert applied(old) == [*NAMES, "notes of versions"]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}


TWO = """
import sqlite3, sys
from pocketlens_server.storage import migrations
from pocketlens_server.storage.migrations import STEPS, Migration

def slow(connection):
    connection.execute("ALTER TABLE versions ADD COLUMN note TEXT")
    connection.execute("CREATE TABLE large AS WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL"
                       " SELECT x + 1 FROM n WHERE x < 200000) SELECT x FROM n")

connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
print("ready", flush=True)
sys.stdin.readline()
migrations.migrate(connection, (*STEPS, Migration("notes of versions", slow)))
"""


def test_of_two_processes_at_once_one_goes_a_step(old: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(old)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for _ in range(2)
    ]
    for each in started:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"

    said = [threading.Thread(target=each.communicate, args=("go\n",)) for each in started]
    for each in said:
        each.start()
    for each in said:
        each.join(60)

    assert [each.returncode for each in started] == [0, 0]
    assert applied(old) == [*NAMES, "notes of versions"]


def test_a_database_of_a_newer_pocketlens_is_refused_by_name(old: Path) -> None:
    with opened(old) as connection:
        migrations.migrate(connection, ONE_MORE)
        with pytest.raises(ServerError, match=r"newer PocketLens.*'notes of versions'"):
            migrations.migrate(connection)
        assert migrations.unknown(connection) == ["notes of versions"]


@pytest.mark.parametrize("text", ["", "CREATE TABLE tokens (id TEXT)"])
def test_a_database_without_a_catalogue_is_not_made_one(text: str, tmp_path: Path) -> None:
    with opened(tmp_path / "other.sqlite") as connection:
        connection.executescript(text)
        before = schema(tmp_path / "other.sqlite")
        with pytest.raises(ServerError, match="holds no catalogue"):
            migrations.migrate(connection)

    assert schema(tmp_path / "other.sqlite") == before


def test_a_step_may_be_a_script_with_remarks(tmp_path: Path) -> None:
    """`executescript` would commit in the middle; a semicolon in a remark ends no statement."""
    path = tmp_path / "new.sqlite"
    with opened(path) as connection:
        connection.execute("BEGIN")
        sql("history.sql", "vectors.sql")(connection)
        assert connection.in_transaction
        connection.rollback()

    assert schema(path) == {}


# --- a server's catalogue -------------------------------------------------------------------------


def as_it_was(catalogue: CatalogueFolder) -> None:
    """Takes away what came after the first format, rows of then as they are."""
    with opened(catalogue.database) as connection, opened(Path(":memory:")) as first:
        first.executescript(FORMAT_1.read_text())
        names = "SELECT name FROM sqlite_master WHERE type = 'table'"
        kept = set(first.execute(names))
        for (name,) in set(connection.execute(names)) - kept - {("sqlite_sequence",)}:
            connection.execute(f"DROP TABLE {name}")


def publish(shop: TileShop) -> None:
    shop.stock[3] += 1
    shop.publish()


def read(shop: TileShop) -> None:
    with shop.catalogue.reading() as tables:
        assert tables.history.head == 1


@pytest.mark.parametrize("opening", [read, publish])
def test_opening_a_catalogue_brings_it_to_the_last_step(
    opening: Callable[[TileShop], None], tmp_path: Path
) -> None:
    shop = TileShop(tmp_path / "shop", dict.fromkeys(range(4), 1))
    shop.publish()
    shop.sync("device")
    made = schema(shop.catalogue.database)
    assert applied(shop.catalogue.database) == NAMES
    as_it_was(shop.catalogue)
    assert "migrations" not in schema(shop.catalogue.database)

    opening(shop)

    assert schema(shop.catalogue.database) == made
    assert applied(shop.catalogue.database) == NAMES
    publish(shop)
    assert shop.sync("device").version > 1


def test_a_lost_database_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    """Its next version would be the first again."""
    shop = TileShop(tmp_path / "shop", dict.fromkeys(range(4), 1))
    shop.publish()
    for path in shop.catalogue.folder.glob("catalogue.sqlite*"):
        path.unlink()

    with pytest.raises(ServerError, match="cannot be used"):
        shop.publish()

    assert not shop.catalogue.database.exists()
