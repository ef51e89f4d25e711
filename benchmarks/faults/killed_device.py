"""Kills a device before every call that changes its store, and at random moments.

    python benchmarks/faults/killed_device.py [--quick] [--json FILE]

Afterwards the store must be the one before or the one after, whole, and answer as that one does; a
sync without faults must bring it to the server's state. The long form of
tests/faults/test_killed_device.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import sys

import goals
from failing_devices import complaints, failing_device
from tests.making.courses import Course
from tests.making.fault_rounds import killed_at_random, rounds
from tests.making.fault_shim import KILL, Fault

CYCLES = 300


def main() -> int:
    arguments = goals.options(__doc__, quick="every 25th call, 8 random kills").parse_args()
    rng, at_calls, at_random = random.Random(6), [], []  # noqa: S311 # moments, no secrets
    with failing_device() as (device, scratch):
        course = Course.make(scratch / "course")
        for step in course.steps:
            every = 25 if arguments.quick else 1
            at_calls += rounds(device, step, scratch, fault=Fault(KILL), every=every)
        for step in course.steps:
            count = (8 if arguments.quick else CYCLES) // len(course.steps)
            at_random += killed_at_random(device, step, scratch, rng, count=count)
    figures = {
        "killed_at_calls": len(at_calls),
        **{f"of_them_{step.kind}": sum(r.step is step for r in at_calls) for step in course.steps},
        "of_them_old": sum(each.outcome == "old" for each in at_calls),
        "of_them_new": sum(each.outcome == "new" for each in at_calls),
        "wrong_after_calls": complaints(at_calls),
        "killed_at_random": len(at_random),
        "of_them_before_they_were_done": sum(each.ending.signal != 0 for each in at_random),
        "wrong_after_random_kills": complaints(at_random),
        "longest_reopening_seconds": round(max(each.reopened_seconds for each in at_random), 3),
    }
    return goals.told(
        arguments,
        figures,
        zero=("wrong_after_calls", "wrong_after_random_kills"),
        at_least={"killed_at_random": CYCLES},
        at_most={"longest_reopening_seconds": 1.0},
    )


if __name__ == "__main__":
    sys.exit(main())
