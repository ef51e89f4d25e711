"""Bits that flip in what a device follows with are noticed, or change no answer; a sync mends them.

The short form of benchmarks/faults/rot.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tests.making.courses import Course
from tests.making.rot import Found, Rot

FLIPS = 50  # of each file

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="flips are tried in children")


@pytest.fixture(scope="module")
def rot(course: Course, scratch: Path) -> Rot:
    folder = scratch / "rot"
    folder.mkdir()
    return Rot(course, folder)


def assert_harmless(found: Found, *, flips: int) -> None:
    assert found.wrong == []
    assert found.signals == 0
    assert found.flips >= flips


@pytest.mark.parametrize("name", ["database", "wal"])
def test_rot_of_a_database_changes_no_answer(rot: Rot, name: str) -> None:
    found = rot.of_file(getattr(rot, name), np.random.default_rng(9), flips=FLIPS)

    assert_harmless(found, flips=FLIPS)
    assert name == "wal" or found.noticed > FLIPS // 20


def test_rot_of_a_bundle_or_codebook_is_always_noticed(rot: Rot) -> None:
    rng = np.random.default_rng(9)
    for path, places in ((rot.bundle, None), (rot.database, rot.codebook())):
        found = rot.of_file(path, rng, flips=FLIPS, places=places)

        assert_harmless(found, flips=FLIPS)
        assert found.noticed == found.flips


def test_rot_of_what_is_trusted_is_never_trusted(rot: Rot) -> None:
    found = rot.of_metadata(every=16, synced_every=64)

    assert_harmless(found, flips=200)
    assert found.noticed == found.flips


def test_rot_of_a_fetched_piece_is_mended_in_two_syncs(rot: Rot) -> None:
    found = rot.of_pieces(every=29)

    assert_harmless(found, flips=5)
