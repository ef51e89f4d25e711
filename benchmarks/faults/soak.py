"""A server that is asked for two hours by all kinds of callers holds no more at the end.

    python benchmarks/faults/soak.py [--minutes 120] [--quick] [--json FILE]

Good callers, some that ask too often, some that mean no good, all at once, in rounds of a minute.
Memory and open files are looked at after each; what they grow by an hour is the slope of a line
through those after the first quarter. Then requests as large as they may be, 32 at once. The long
form of tests/faults/test_bounded_resources.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import goals
import numpy as np
from tests.making.busy_servers import BusyServer, busy_server, until
from tests.making.load import Load
from tests.making.soaks import all_at_once

MIB = 1 << 20
LARGE = 32  # requests of a mebibyte at once
ROUND_SECONDS = 60


def main() -> int:
    parser = goals.options(__doc__, quick="a minute, in rounds of five seconds")
    parser.add_argument("--minutes", type=int, default=120)
    arguments = parser.parse_args()
    seconds, rounds = ROUND_SECONDS, arguments.minutes
    if arguments.quick:
        seconds, rounds = 5, 12
    memory, files, temporary, good, lost = list[int](), list[int](), list[int](), 0, 0
    with (
        tempfile.TemporaryDirectory() as folder,
        busy_server(Path(folder), unary_seconds=10) as server,
    ):
        before = server.open_files
        for _ in range(rounds):
            found = all_at_once(server, seconds)
            good, lost = good + found.sent, lost + found.sent - found.ok.count
            until(lambda: server.open_files <= before, 10)
            memory.append(server.memory_bytes)
            files.append(server.open_files)
            temporary.append(len(list(server.temporary.iterdir())))
            server.log.open("wb").close()  # a line a call would fill the disk
        large = cost_of_large_requests(server)
    figures = {
        "minutes": round(rounds * seconds / 60, 1),
        "good_calls": good,
        "good_calls_refused_or_lost_share": round(lost / good, 5),
        "memory_at_first_mib": round(memory[0] / MIB, 1),
        "memory_at_last_mib": round(memory[-1] / MIB, 1),
        "memory_mib_an_hour": round(slope(memory, seconds) / MIB, 2),
        "open_files_an_hour": round(slope(files, seconds), 2),
        "temporary_files_an_hour": round(slope(temporary, seconds), 2),
        "memory_mib_a_large_request": round(large / MIB, 1),
    }
    return goals.told(
        arguments,
        figures,
        zero=("temporary_files_an_hour",),
        at_least={"minutes": 120},
        # A system that writes to its disk for a second lets calls pile up.
        at_most={"memory_mib_a_large_request": 6, "good_calls_refused_or_lost_share": 0.001}
        | ({} if arguments.quick else {"memory_mib_an_hour": 1, "open_files_an_hour": 0.1}),
    )


def slope(values: list[int], seconds: float) -> float:
    """What they grow by in an hour, after the first quarter of them."""
    later = values[len(values) // 4 :]
    hours = np.arange(len(later)) * seconds / 3600
    return float(np.polyfit(hours, later, 1)[0])


def cost_of_large_requests(server: BusyServer) -> float:
    """Bytes of memory for each of those that are there at once."""
    before = max(server.memory_bytes, server.most_memory_bytes)
    load = Load(server.port, 10, callers=LARGE, connections=LARGE, request_bytes=MIB)
    load.run()
    return (server.most_memory_bytes - before) / LARGE


if __name__ == "__main__":
    sys.exit(main())
