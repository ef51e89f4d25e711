"""Killed at any call or moment, a device is at the version before or the next, and goes on.

The short form of benchmarks/faults/killed_device.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from tests.making.courses import DELTA, EACH_ONCE, INSTALL, SWAP, Course
from tests.making.devices import Device
from tests.making.fault_rounds import calls_of, killed_at_random, rounds
from tests.making.fault_shim import KILL, Fault

EVERY = 10  # calls; the long form takes each
PACK_CALLS = 64  # the last ones of a step with thumbnails


@pytest.mark.parametrize("place", range(4), ids=EACH_ONCE)
def test_a_kill_before_any_call_leaves_the_old_store_or_the_new(
    device: Device, course: Course, scratch: Path, place: int
) -> None:
    step = course.steps[place]

    done = list(rounds(device, step, scratch, fault=Fault(KILL), every=EVERY, first=1 + place))

    assert [each.complaints for each in done if each.complaints] == []
    assert {each.ending.signal for each in done} == {signal.SIGKILL}
    assert {each.outcome for each in done} == {"old", "new"}


def test_a_kill_at_any_moment_of_sync_and_search_leaves_the_old_store_or_the_new(
    device: Device, course: Course, scratch: Path
) -> None:
    rng = random.Random(6)

    done = [
        each
        for step in course.steps
        for each in killed_at_random(device, step, scratch, rng, count=3)
    ]

    assert [each.complaints for each in done if each.complaints] == []
    assert signal.SIGKILL in {each.ending.signal for each in done}


@pytest.fixture(scope="module")
def course_with_thumbnails(scratch: Path) -> Course:
    kinds = (INSTALL, DELTA, SWAP)
    return Course.make(scratch / "thumbnails", kinds, products=10, thumbnails=True)


@pytest.mark.parametrize("place", range(3), ids=[INSTALL, DELTA, SWAP])
def test_a_kill_while_packs_are_fetched_leaves_thumbnails_of_before_or_after(
    device: Device, course_with_thumbnails: Course, scratch: Path, place: int
) -> None:
    step = course_with_thumbnails.steps[place]
    first = calls_of(device, step, scratch, Fault(KILL).kinds) - PACK_CALLS

    done = list(rounds(device, step, scratch, fault=Fault(KILL), every=3, first=first))

    assert [each.complaints for each in done if each.complaints] == []
    assert {each.ending.signal for each in done} == {signal.SIGKILL}
    assert "new" in {each.outcome for each in done}
