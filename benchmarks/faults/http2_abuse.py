"""100,000 calls that are given up at once, and other frames that no library sends.

    python benchmarks/faults/http2_abuse.py [--quick] [--json FILE]

A good caller of another host asks all the while, and before; memory is looked at after each. The
long form of tests/faults/test_http2_abuse.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import goals
from tests.making.abuse import Abuse, Kind
from tests.making.busy_servers import busy_server, until
from tests.making.load import Load

# How many, and how many a second; without a rate, as fast as they go.
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
    ratios, grown, lost = [], [], 0
    with tempfile.TemporaryDirectory() as folder, busy_server(Path(folder)) as server:
        good = partial(Load, server.port, callers=2, pause_seconds=0.02)
        good(seconds=1).run()  # what is loaded at first use
        files, memory = server.open_files, server.memory_bytes
        quiet = good(seconds=20 / min(fewer, 5)).run()
        for kind, (count, rate) in ATTACKS.items():
            with good(seconds=0).running() as report:
                attack = Abuse(kind, server.port, count // fewer, rate=rate, seconds=600)
                outcome = attack.run()
                found = report()
            grown.append(server.memory_bytes - memory)
            ratios.append(found.ok.p99_ms / quiet.ok.p99_ms)
            lost += found.sent - found.ok.count
            name = kind.replace(" ", "_")
            figures[name] = outcome.sent
            figures[f"{name}_connections_closed"] = outcome.closed
            figures[f"{name}_p99_ms"] = round(found.ok.p99_ms, 1)
        until(lambda: server.open_files <= files, 10)
        figures["open_files_left"] = server.open_files - files
    figures |= {
        "quiet_p99_ms": round(quiet.ok.p99_ms, 1),
        "worst_p99_ratio": round(max(ratios), 2),
        "good_calls_refused_or_lost": lost,
        "memory_growth_mib": round(max(grown) / MIB, 1),
    }
    return goals.told(
        arguments,
        figures,
        zero=("open_files_left", "good_calls_refused_or_lost"),
        at_most={"memory_growth_mib": 64} | ({} if arguments.quick else {"worst_p99_ratio": 2}),
    )


if __name__ == "__main__":
    sys.exit(main())
