"""Takes the room away at every call that needs some, once and for good.

    python benchmarks/faults/full_disk.py [--quick] [--json FILE]

The device must say StoreFull or go on, answer all the while, leave nothing unfinished behind, and
come to the server's state when there is room again. The long form of
tests/faults/test_full_disk.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import errno
import sys
from collections import Counter

import goals
from failing_devices import complaints, failing_device
from tests.making.courses import Course
from tests.making.fault_rounds import rounds
from tests.making.fault_shim import TAKES_ROOM, Fault


def main() -> int:
    arguments = goals.options(__doc__, quick="every 25th call").parse_args()
    every, done = 25 if arguments.quick else 1, {}
    with failing_device() as (device, scratch):
        course = Course.make(scratch / "course")
        for name in ("once", "for_good"):
            fault = Fault(errno.ENOSPC, kinds=TAKES_ROOM, lasting=name == "for_good")
            done[name] = [
                each
                for step in course.steps
                for each in rounds(device, step, scratch, fault=fault, every=every)
            ]
    figures: dict[str, object] = {}
    for name, found in done.items():
        endings = Counter(each.ending.error or "went on" for each in found)
        figures |= {
            f"{name}_calls": len(found),
            f"{name}_reported_full": endings["StoreFull"],
            f"{name}_went_on": endings["went on"],
            f"{name}_wrong": complaints(found),
        }
    return goals.told(arguments, figures, zero=("once_wrong", "for_good_wrong"))


if __name__ == "__main__":
    sys.exit(main())
