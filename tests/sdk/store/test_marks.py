"""Marks are read as they were written, or not at all; they hold back no more than they must."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.making.repositories import manifest

from pocketlens.store import marks
from pocketlens.store.marks import Quarantine, Trial, Verified

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "mark",
    [
        Trial.of(manifest(7), "former-1"),
        Verified(NOON.isoformat()),
        Quarantine.of(manifest(7), "ab" * 32, "Größe: \u20ac"),
    ],
    ids=lambda mark: type(mark).__name__,
)
def test_a_mark_is_read_as_it_was_written_or_not_at_all(
    tmp_path: Path, mark: Trial | Verified | Quarantine
) -> None:
    kind = type(mark)
    assert marks.get(tmp_path, kind) is None

    marks.put(tmp_path, mark)

    assert marks.get(tmp_path, kind) == mark
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert marks.get(tmp_path, kind) in (None, mark), place  # a hex digit may be upper case
        path.write_bytes(whole[:place])
        assert marks.get(tmp_path, kind) in (None, mark), place
    marks.remove(tmp_path, kind)
    assert not list(tmp_path.iterdir())


def test_a_version_is_held_back_until_there_is_a_newer_one() -> None:
    held = Quarantine.of(manifest(7), "", "it does not answer")
    signed_again = replace(manifest(7), signed_at=manifest(9).signed_at)

    assert held.holds(manifest(7))
    assert held.holds(signed_again)
    assert held.holds(manifest(6))
    assert not held.holds(manifest(8))
    assert not held.holds(manifest(7, generation=2))


def test_a_newer_version_is_tried_a_day_later_where_there_is_something_else() -> None:
    held = Quarantine.of(manifest(7), "ab" * 32, "it does not answer")
    soon = replace(manifest(8), as_of=manifest(7).as_of + timedelta(hours=23))
    later = replace(manifest(8), as_of=manifest(7).as_of + timedelta(hours=24))

    assert held.defers(manifest(7))
    assert held.defers(soon)
    assert not held.defers(later)
    assert not held.defers(replace(soon, generation=bytes(32)))


def test_a_store_is_read_again_after_a_month_or_when_the_clock_went_back() -> None:
    verified = Verified(NOON.isoformat())

    assert not verified.is_due_again(NOON)
    assert not verified.is_due_again(NOON + timedelta(days=29, hours=23))
    assert verified.is_due_again(NOON + timedelta(days=30))
    assert verified.is_due_again(NOON - timedelta(seconds=1))
