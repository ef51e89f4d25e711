"""Deltas are few, and each carries the changes of at most twice the versions that were missed."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pocketlens.formats.manifest import MAX_DELTAS
from pocketlens_server.publishing.planner import bases, is_snapshot_due


@given(oldest=st.integers(1, 10**6), behind=st.integers(0, 10**9))
def test_every_version_that_is_kept_has_a_delta(oldest: int, behind: int) -> None:
    head = oldest + behind
    found = bases(head, oldest)

    assert found == sorted(set(found), reverse=True)
    assert len(found) <= MAX_DELTAS
    assert all(oldest <= base < head for base in found)
    versions = {oldest, head - 1, head - behind // 2, head - behind // 3}
    for version in (each for each in versions if oldest <= each < head):
        base = next(each for each in found if each <= version)
        assert head - base < 2 * (head - version)


def test_bases_of_a_young_catalogue() -> None:
    assert bases(1, 1) == []
    assert bases(2, 1) == [1]
    assert bases(20, 1) == [19, 18, 16, 12, 4, 1]


def test_a_snapshot_is_due_when_it_is_old_or_the_way_from_it_long() -> None:
    assert is_snapshot_due(5, 0, snapshot_bytes=0, delta_bytes=0)
    assert not is_snapshot_due(5, 4, snapshot_bytes=1000, delta_bytes=250)
    assert is_snapshot_due(5, 4, snapshot_bytes=1000, delta_bytes=251)
    assert is_snapshot_due(68, 4, snapshot_bytes=1000, delta_bytes=1)
