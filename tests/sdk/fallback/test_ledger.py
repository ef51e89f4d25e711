"""The ledger of what left: there before anything leaves, bounded, and shared by processes."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pocketlens.errors import StoreError
from pocketlens.fallback import ledger as ledgers
from pocketlens.fallback.ledger import LEFT, NAME, Entry, Ledger, Summary, summary

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
ENTRY = Entry(NOON, "shop.example:8443", "main", "embedding", 560)
ELSEWHERE = ("old.example:1", "main", "photo", 10, "answered")
INSERT = "INSERT INTO questions VALUES (NULL, ?, ?, ?, ?, ?, ?)"
ENTERING = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from pocketlens.fallback.ledger import Entry, Ledger
ledger = Ledger(Path(sys.argv[1]))
for _ in range(20):
    entry = Entry(datetime.now(UTC), "shop.example:8443", "main", "embedding", 560)
    number = ledger.enter(entry, daily_bytes=None, timeout=20)
    ledger.settle(number, "answered")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / NAME


def entered(path: Path, entry: Entry = ENTRY, daily_bytes: int | None = None) -> int | None:
    return Ledger(path).enter(entry, daily_bytes=daily_bytes, timeout=1)


def filled(path: Path, row: tuple[object, ...], count: int) -> None:
    """Puts so many equal rows into a ledger."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(INSERT, [row] * count)


def test_a_folder_without_a_ledger_tells_of_nothing(path: Path) -> None:
    assert summary(path) is None
    assert not path.exists()


def test_what_leaves_is_listed_before_and_settled_after(path: Path) -> None:
    number = entered(path)

    assert summary(path) == Summary({"embedding": 1}, {"embedding": 560}, ENTRY)
    assert ENTRY.outcome == LEFT
    assert number is not None
    Ledger(path).settle(number, "answered")
    told = summary(path)
    assert told is not None
    assert told.last == replace(ENTRY, outcome="answered")


def test_its_owner_alone_may_read_it(path: Path) -> None:
    entered(path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == [NAME]  # nothing stays beside it


def test_sums_are_kept_of_what_left(path: Path) -> None:
    for _ in range(3):
        entered(path)
    photo = Entry(NOON, "shop.example:8443", "main", "photo", 40_000)
    entered(path, photo)

    assert summary(path) == Summary(
        {"embedding": 3, "photo": 1}, {"embedding": 1680, "photo": 40_000}, photo
    )


def test_old_rows_go_and_their_sums_stay(path: Path) -> None:
    entered(path)
    filled(path, (0, *ELSEWHERE), ledgers.MOST_ROWS + 50)

    for _ in range(2):
        entered(path)

    with closing(sqlite3.connect(path)) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM questions").fetchone()
    told = summary(path)
    assert told is not None
    assert rows == ledgers.MOST_ROWS
    assert told.questions == {"embedding": 3, "photo": ledgers.MOST_ROWS + 50}
    assert told.sent_bytes == {"embedding": 1680, "photo": 10 * (ledgers.MOST_ROWS + 50)}


def test_a_day_has_so_many_bytes(path: Path) -> None:
    assert entered(path, daily_bytes=1200) is not None
    assert entered(path, daily_bytes=1200) is not None

    assert entered(path, daily_bytes=1200) is None
    told = summary(path)
    assert told is not None
    assert told.questions == {"embedding": 2}
    tomorrow = replace(ENTRY, at=NOON + timedelta(days=1, seconds=1))
    assert entered(path, tomorrow, daily_bytes=1200) is not None


def test_a_day_of_more_rows_than_are_kept_is_full(path: Path) -> None:
    """Or else what is forgotten would be spent again."""
    entered(path)
    struck = entered(path)
    assert struck is not None
    filled(path, (int(NOON.timestamp() * 1e6), *ELSEWHERE), ledgers.MOST_ROWS - 2)
    Ledger(path).strike(struck)
    assert entered(path, daily_bytes=10**9) is not None

    assert entered(path, daily_bytes=10**9) is None
    assert entered(path) is not None


def test_a_clock_set_back_brings_no_new_day(path: Path) -> None:
    entered(path)
    yesterday = replace(ENTRY, at=NOON - timedelta(days=3))

    assert entered(path, yesterday, daily_bytes=1000) is None


def test_what_did_not_leave_is_struck(path: Path) -> None:
    number = entered(path)
    assert number is not None

    Ledger(path).strike(number)

    assert summary(path) == Summary({}, {}, None)


def test_two_processes_write_one(path: Path) -> None:
    command = [sys.executable, "-c", ENTERING, str(path)]
    processes = [subprocess.Popen(command) for _ in range(2)]

    assert [each.wait() for each in processes] == [0, 0]
    told = summary(path)
    assert told is not None
    assert told.questions == {"embedding": 40}
    assert told.last is not None
    assert told.last.outcome == "answered"


def test_who_waits_for_another_gives_up_in_time(path: Path) -> None:
    entered(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            Ledger(path).enter(ENTRY, daily_bytes=None, timeout=0.05)


def test_what_a_killed_process_began_is_undone_by_who_reads(path: Path, tmp_path: Path) -> None:
    entered(path)
    killed = tmp_path / "killed"
    killed.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA cache_size = 1")  # what is begun is in the file before it is all
        other.execute("BEGIN IMMEDIATE")
        other.executemany(INSERT, [(0, *ELSEWHERE)] * 2000)
        for each in path.parent.glob(f"{NAME}*"):
            shutil.copy(each, killed)
    assert (killed / f"{NAME}-journal").exists()

    assert summary(killed / NAME) == Summary({"embedding": 1}, {"embedding": 560}, ENTRY)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="all is writable for root")
def test_one_that_may_only_be_read_is(path: Path) -> None:
    entered(path)
    path.chmod(0o400)
    path.parent.chmod(0o500)

    assert summary(path) == Summary({"embedding": 1}, {"embedding": 560}, ENTRY)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no database at all, but some text " * 40),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: _execute(path, "PRAGMA user_version = 9"),
    ],
    ids=["other", "cut", "folder", "newer"],
)
def test_one_that_cannot_be_written_is_told(path: Path, damage: object) -> None:
    entered(path)
    damage(path)  # type: ignore[operator]

    with pytest.raises(StoreError, match=r"ledger"):
        entered(path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        entered(tmp_path / "nowhere" / NAME)


def _execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
