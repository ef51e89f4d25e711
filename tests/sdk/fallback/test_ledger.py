"""What leaves is listed before it does, for good, by any number of processes."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pocketlens.errors import StoreCorrupt, StoreReadOnly
from pocketlens.fallback.ledger import Ledger

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def note(ledger: Ledger, *, kind: str = "embedding", size: int = 600, now: datetime = NOW) -> int:
    return ledger.note(now, kind=kind, address="shop:8443", catalogue="main", size=size)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


def test_there_is_none_before_anything_left(ledger: Ledger, tmp_path: Path) -> None:
    assert ledger.totals() is None
    assert list(tmp_path.iterdir()) == []


def test_it_lists_what_left_when_where_to_and_what_came_of_it(ledger: Ledger) -> None:
    first = note(ledger)
    note(ledger, kind="photo", size=9000, now=NOW + timedelta(seconds=1))
    ledger.settle(first, "answered")

    found = ledger.totals()

    assert found is not None
    assert (found.counts, found.bytes) == (
        {"embedding": 1, "photo": 1},
        {"embedding": 600, "photo": 9000},
    )
    assert [(each.kind, each.outcome) for each in found.newest] == [
        ("photo", "sent"),
        ("embedding", "answered"),
    ]
    assert found.newest[1].sent_at == NOW
    assert found.newest[1].address == "shop:8443"


def test_old_rows_leave_their_sums(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite", most_rows=5)
    for _ in range(12):
        note(ledger)

    found = ledger.totals(newest=100)

    assert found is not None
    assert len(found.newest) == 5
    assert (found.counts, found.bytes) == ({"embedding": 12}, {"embedding": 7200})


def test_bytes_of_a_day_are_counted(ledger: Ledger) -> None:
    note(ledger, size=100, now=NOW - timedelta(hours=25))
    note(ledger, size=20, now=NOW - timedelta(hours=23))
    note(ledger, size=3)

    assert ledger.bytes_since(NOW - timedelta(days=1)) == 23


def test_processes_write_one_together(ledger: Ledger) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_note_many, args=(ledger,)) for _ in range(3)]
    for each in processes:
        each.start()
    for each in processes:
        each.join(60)
        assert each.exitcode == 0

    found = ledger.totals()

    assert found is not None
    assert found.counts == {"embedding": 60}


def _note_many(ledger: Ledger) -> None:
    for _ in range(20):
        note(ledger)


def test_one_that_is_damaged_says_so(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database" * 100)
    ledger = Ledger(tmp_path / "ledger.sqlite")

    with pytest.raises(StoreCorrupt, match="damaged"):
        note(ledger)
    with pytest.raises(StoreCorrupt, match="damaged"):
        ledger.totals()


def test_one_without_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreReadOnly, match="Fallback"):
        note(Ledger(tmp_path / "nowhere" / "ledger.sqlite"))
