"""A disk without room harms nothing: searches go on, nothing is left, and with room a sync heals.

The short form of benchmarks/faults/full_disk.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.making import golden
from tests.making.courses import EACH_ONCE, Course
from tests.making.devices import Device, order_of
from tests.making.fault_rounds import rounds
from tests.making.fault_shim import TAKES_ROOM, Fault

EVERY = 10  # calls; the long form takes each


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("place", range(4), ids=EACH_ONCE)
def test_no_room_at_any_call_is_reported_and_harms_nothing(
    device: Device, course: Course, scratch: Path, place: int, *, lasting: bool
) -> None:
    fault = Fault(errno.ENOSPC, kinds=TAKES_ROOM, lasting=lasting)

    done = list(
        rounds(device, course.steps[place], scratch, fault=fault, every=EVERY, first=1 + place)
    )

    assert [each.complaints for each in done if each.complaints] == []
    assert "StoreFull" in {each.ending.error for each in done}


@pytest.mark.parametrize("place", range(4), ids=EACH_ONCE)
def test_a_disk_that_is_full_harms_nothing(
    device: Device, course: Course, small_disk: Callable[[int], Path], place: int
) -> None:
    step = course.steps[place]
    disk = small_disk(8 << 20)
    store, filler = disk / "store", disk / "filler"
    for room_bytes in (0, 16 << 10, 48 << 10, 96 << 10):
        shutil.rmtree(store, ignore_errors=True)
        if step.before.exists():
            shutil.copytree(step.before, store)

        ending = device.carry_out(order_of(step, store=store, room_bytes=room_bytes))

        assert ending.error in ("", "StoreFull"), ending.message
        assert ending.search_error == ""
        assert step.outcome(store) == ("old" if ending.error else "new")
        filler.unlink(missing_ok=True)
        assert step.healed(store) == "healed"


def test_a_store_is_opened_and_searched_on_a_full_disk(
    course: Course, small_disk: Callable[[int], Path]
) -> None:
    """Although SQLite would make an index beside a WAL."""
    step = course.steps[1]
    store = shutil.copytree(step.after, small_disk(4 << 20) / "store")
    for path in store.glob("installs/*/store.sqlite-*"):
        path.unlink()
    with (
        pytest.raises(OSError, match="No space left"),
        (store.parent / "filler").open("wb") as file,
    ):
        file.write(bytes(8 << 20))

    assert golden.answers(store, step.queries) == step.new_answers
