"""Eight threads and a process search while a store goes through 100 installs and as many deltas.

    python benchmarks/faults/searching_while_syncing.py [--quick] [--json FILE]

Every answer must be the whole answer of one version, none older than what was there when it was
asked for, and none an error; the slowest of a hundred searches may take 1.5 times as long as when
the store stays as it is. The long form of tests/faults/test_searching_while_syncing.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from time import perf_counter

import goals
import numpy as np
from tests.making.courses import DELTA, INSTALL, SWAP, Course
from tests.making.fault_rounds import scratch_folder
from tests.making.searching import Told, searched_while_syncing

SEARCHES, INSTALLS, ROUNDS = 10_000, 100, 5


def main() -> int:
    arguments = goals.options(__doc__, quick="4 installs").parse_args()
    rounds, installs = (1, 4) if arguments.quick else (ROUNDS, INSTALLS // ROUNDS)
    searches = SEARCHES // INSTALLS
    done, began = list[Told](), perf_counter()
    with scratch_folder() as scratch:
        course = Course.make(scratch / "course", (INSTALL, *(SWAP, DELTA) * installs))
        for number in range(rounds):
            store = scratch / f"store-{number}"
            done.append(searched_while_syncing(course, store, searches=searches))
    for each in done:
        print("\n".join([*each.errors, *each.wrong][:3]), file=sys.stderr)
    figures = {
        "installs": rounds * installs,
        "deltas": rounds * installs,
        "searches": sum(each.searches for each in done),
        "searches_of_another_process": sum(each.searches_elsewhere for each in done),
        "mixed_or_old_answers": sum(len(each.wrong) for each in done),
        "errors": sum(len(each.errors) for each in done),
        "p99_ratio": round(float(np.median([each.p99_ratio for each in done])), 2),
        "seconds": round(perf_counter() - began, 1),
    }
    return goals.told(
        arguments,
        figures,
        zero=("mixed_or_old_answers", "errors"),
        at_least={"installs": INSTALLS, "searches": SEARCHES},
        at_most={} if arguments.quick else {"p99_ratio": 1.5},
    )


if __name__ == "__main__":
    sys.exit(main())
