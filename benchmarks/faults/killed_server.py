"""Kills a server 200 times while backends send and versions are published (RELIABILITY row 23).

    python benchmarks/faults/killed_server.py [--kills N] [--quick] [--json FILE]

With kill -9: at any time, and before one call of those with which it ingests, keeps pictures,
publishes, signs and collects. Clients write down what they were told and go on when it is back.
After each kill: all they were told is there, nothing of the rest is half there, nothing stands
twice, and a device follows to a version that is whole. The long form of
tests/faults/test_killed_server.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from time import perf_counter

import goals
from tests.making import fault_shim
from tests.making.backend_kills import KilledServer
from tests.making.backend_processes import BackendProcesses
from tests.making.fault_rounds import scratch_folder

KILLS = 200


def main() -> int:
    parser = goals.options(__doc__, quick="7 kills")
    parser.add_argument("--kills", type=int, default=KILLS)
    arguments = parser.parse_args()
    kills = 7 if arguments.quick else arguments.kills
    if reason := fault_shim.missing():
        sys.exit(f"This cannot run here: {reason}.")
    began = perf_counter()
    with (
        scratch_folder() as scratch,
        BackendProcesses.started(fault_shim.built(scratch)) as processes,
        KilledServer(processes, scratch) as killed,
    ):
        for number in range(kills):
            killed.kill(number)
        killed.finish()
    print("\n".join(killed.wrong), file=sys.stderr)
    counts = killed.counts
    named = ("lost", "doubled", "half-published")
    figures = {
        "kills": kills,
        **{each.replace(" ", "_"): counts[each] for each in sorted(counts) if each not in named},
        **{each.replace("-", "_"): counts[each] for each in named},
        "wrong": len(killed.wrong),
        "seconds": round(perf_counter() - began, 1),
    }
    return goals.told(
        arguments,
        figures,
        zero=("lost", "doubled", "half_published", "wrong"),
        at_least={"kills": KILLS},
    )


if __name__ == "__main__":
    sys.exit(main())
