"""Sets a device's clock wrong in every way, in every state of device and server.

    python benchmarks/faults/clocks.py [--quick] [--json FILE]

The long form of tests/faults/test_clocks.py, on a larger shop: searches must answer, what has
expired must not be installed, nothing may be deleted, and a clock beyond every expiry must be told
as that. The clock is an argument of a sync and the only one that a device reads.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from time import perf_counter

import goals
from tests.making.clock_cases import CLOCKS, STATES, ClockCases
from tests.making.shops import make_shop


def main() -> int:
    arguments = goals.options(__doc__, quick="a small shop").parse_args()
    if arguments.quick:
        print("quick: a small shop, not the full measurement")
    began = perf_counter()
    counts = dict.fromkeys(("searches_failed", "expired_installed", "suspect_untold", "lost"), 0)
    told = 0
    with tempfile.TemporaryDirectory() as name:
        shop = make_shop(Path(name) / "shop", products=8 if arguments.quick else 500)
        cases = ClockCases(Path(name) / "made", shop)
        for clock in CLOCKS:
            for number, state in enumerate(STATES):
                folder = Path(name) / f"{clock} {number}"
                folder.mkdir()
                found, expected = cases.tell(clock, state, folder), cases.expected(clock, state)
                told += expected.said == "ClockSuspect"
                counts["searches_failed"] += found.version < expected.version
                counts["expired_installed"] += found.version > expected.version
                counts["suspect_untold"] += found.said != expected.said
                counts["lost"] += not cases.recovers(folder)
    figures = {
        "cases": len(CLOCKS) * len(STATES),
        "clock_suspect_told": told,
        **counts,
        "seconds": round(perf_counter() - began, 1),
    }
    return goals.told(arguments, figures, zero=tuple(counts))


if __name__ == "__main__":
    sys.exit(main())
