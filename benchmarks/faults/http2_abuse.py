"""100,000 calls that are given up at once, and other frames that no library sends.

    python benchmarks/faults/http2_abuse.py [--quick] [--json FILE]

A good device of another host asks all the while, and before: 100 times a second, whether it was
answered or not, and each call counts from when it was due. Who abuses stands back from the cores,
as if it had a machine of its own: how many a second it came to is among the figures. What memory
grows by is the most there was at any moment of an attack. The long form of
tests/faults/test_http2_abuse.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import goals
from tests.making.abuse import Abuse, Kind
from tests.making.busy_servers import busy_server, waited
from tests.making.load import good_devices

# How many, and how many a second.
ATTACKS: dict[Kind, tuple[int, float]] = {
    "resets": (100_000, 5_000),
    "pings": (20_000, 1_000),
    "settings": (100_000, 5_000),
    "endless headers": (5_000, 500),
    "large headers": (5_000, 500),
    "large messages": (5_000, 500),
    "lying messages": (5_000, 500),
}
QUICK = 20  # times fewer
MIB = 1 << 20


def main() -> int:
    arguments = goals.options(__doc__, quick=f"{QUICK} times fewer").parse_args()
    fewer = QUICK if arguments.quick else 1
    figures: dict[str, object] = {}
    ratios, grown, lost, longest = [], [], 0, 0.0
    with tempfile.TemporaryDirectory() as folder, busy_server(Path(folder)) as server:
        good = partial(good_devices, server.port)
        good(seconds=2).run()  # what is loaded at first use
        quiet = good(seconds=20 / min(fewer, 5)).run()
        server.forget_most_memory()
        files, memory = server.open_files, server.memory_bytes
        for kind, (count, rate) in ATTACKS.items():
            resident = server.memory_bytes
            with good(seconds=0).running() as report:
                waited(lambda: server.connections > 0, 10)
                attack = Abuse(
                    kind, server.port, count // fewer, rate=rate, seconds=600, stands_back=True
                )
                outcome = attack.run()
                found = report()
            grown.append(server.most_memory_bytes - memory)
            ratios.append(found.ok.p99_ms / quiet.ok.p99_ms)
            lost += found.lost
            longest = max(longest, found.ok.longest_ms)
            name = kind.replace(" ", "_")
            figures[name] = outcome.sent
            figures[f"{name}_a_second"] = round(outcome.sent / outcome.seconds)
            figures[f"{name}_connections_closed"] = outcome.closed
            figures[f"{name}_p99_ms"] = round(found.ok.p99_ms, 1)
            figures[f"{name}_p99_ratio"] = round(ratios[-1], 2)
            if kind == "resets":
                kept = (server.memory_bytes - resident) / outcome.sent
                figures["bytes_kept_a_reset"] = round(kept)
            goals.keep(arguments, figures)
        waited(lambda: server.open_files <= files, 10)
        figures["open_files_left"] = max(0, server.open_files - files)
    figures |= {
        "quiet_p99_ms": round(quiet.ok.p99_ms, 1),
        "worst_p99_ratio": round(max(ratios), 2),
        "longest_ms": round(longest, 1),
        "good_calls_refused_or_lost": lost,
        "memory_growth_mib": round(max(grown) / MIB, 1),
    }
    return goals.told(
        arguments,
        figures,
        zero=("open_files_left", "good_calls_refused_or_lost"),
        at_least={"resets_a_second": 0.9 * ATTACKS["resets"][1]},
        at_most={"memory_growth_mib": 64}
        | ({} if arguments.quick else {"worst_p99_ratio": 2, "bytes_kept_a_reset": 32}),
    )


if __name__ == "__main__":
    sys.exit(main())
