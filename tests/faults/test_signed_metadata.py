"""No byte that was changed, no old file among new ones and no endless file is believed.

The short form; benchmarks/faults has the long one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from tests.making.altered_metadata import (
    FRAME,
    MOST_BYTES,
    Shelves,
    flips,
    follow,
    read_of_endless,
    with_everything_new,
)
from tests.making.repositories import Repository


def test_no_changed_byte_is_believed(tmp_path: Path) -> None:
    repository, trusted = with_everything_new(tmp_path)

    found = flips(repository, trusted, step=16)

    assert len(found.files) == 7  # root, timestamp, snapshot, targets, models, publishing, manifest
    assert found.wrong == []
    assert found.refused > 10 * found.equal
    assert follow(repository, trusted)[0] == 2


def test_only_what_belongs_together_and_is_newer_is_believed(tmp_path: Path) -> None:
    """Every combination of three versions of four files, offered under the names asked for."""
    shelves = Shelves(Repository.make(tmp_path), versions=3)

    assert shelves.accepted(1) == shelves.consistent(1)


@pytest.mark.parametrize("kind", list(MOST_BYTES))
def test_endless_files_are_not_read_to_the_end(tmp_path: Path, kind: str) -> None:
    repository, trusted = with_everything_new(tmp_path)

    for frame in (bytes(FRAME), b'{"signed":'.ljust(FRAME)):
        assert 0 < read_of_endless(repository, trusted, kind, frame) <= MOST_BYTES[kind] + FRAME
    assert follow(repository, trusted)[0] == 2
