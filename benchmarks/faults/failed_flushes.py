"""Lets every flush of a device fail in turn, and cuts the power afterwards.

    python benchmarks/faults/failed_flushes.py [--quick] [--json FILE]

What was reported as done must be there without what the flush was to save, and no file may be
flushed again unless it was written again. The long form of tests/faults/test_failed_flushes.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys

import goals
from failing_devices import complaints, failing_device
from tests.making.courses import Course
from tests.making.fault_rounds import failed_flushes


def main() -> int:
    arguments = goals.options(__doc__, quick="every 8th flush").parse_args()
    every = 8 if arguments.quick else 1
    with failing_device() as (device, scratch):
        course = Course.make(scratch / "course")
        done = [
            each
            for step in course.steps
            for each in failed_flushes(device, step, scratch, every=every)
        ]
    figures = {
        "failed_flushes": len(done),
        "reported_as_failed": sum(each.ending.error == "StoreError" for each in done),
        "reported_as_done": sum(each.ending.error == "" for each in done),
        "wrong": complaints(done),
    }
    return goals.told(arguments, figures, zero=("wrong",))


if __name__ == "__main__":
    sys.exit(main())
