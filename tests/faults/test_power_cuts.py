"""A power cut at any moment loses nothing that was acknowledged, and leaves one version, whole.

The short form of benchmarks/faults/power_cuts.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.making.courses import DELTA, INSTALL, SIGN, SWAP, Course
from tests.making.devices import Device
from tests.making.planting import Defect, planted_sdk
from tests.making.power_cuts import Session, cut, recorded

IMAGES = 500


@pytest.fixture(scope="module")
def long_course(scratch: Path) -> Course:
    return Course.make(
        scratch / "long course", (INSTALL, DELTA, SIGN, DELTA, SWAP, DELTA), products=30
    )


@pytest.mark.parametrize(
    "keeps_open", [False, True], ids=["nobody reads", "a reader all the while"]
)
def test_what_was_acknowledged_is_there_whole(
    device: Device, long_course: Course, scratch: Path, *, keeps_open: bool
) -> None:
    session = recorded(device, long_course, scratch, keeps_open=keeps_open)

    cuts = cut(session, scratch, images=IMAGES // 2, rng=random.Random(5))

    assert cuts.wrong == []
    assert (cuts.images, cuts.corrupt, cuts.torn, cuts.lost) == (IMAGES // 2, 0, 0, 0)
    assert set(cuts.steps) == set(range(len(long_course.steps) + 1))


@pytest.mark.parametrize("instead", ["OFF", "NORMAL"])
def test_a_database_that_does_not_flush_is_found_out(
    shim: Path, long_course: Course, scratch: Path, tmp_path: Path, instead: str
) -> None:
    """A kill shows nothing about flushes: these cuts do."""
    defect = Defect("store/database.py", "synchronous = FULL", f"synchronous = {instead}")
    sdk = planted_sdk(tmp_path / "sdk", defect)
    with Device.started(shim, source=sdk) as careless:
        session: Session = recorded(careless, long_course, scratch, keeps_open=True)

    cuts = cut(session, scratch, images=IMAGES // 5, rng=random.Random(5))

    assert cuts.corrupt + cuts.torn + cuts.lost > 0
