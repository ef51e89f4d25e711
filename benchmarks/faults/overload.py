"""A server with twice as much to do as it can, and 10,000 devices that come back at once.

    python benchmarks/faults/overload.py [--quick] [--json FILE]

First as many callers as may wait show what it can do; then twice as many calls a second come for a
minute, whether others are answered or not; then devices, as the SDK makes them, while that goes on;
then 10,000 connections within ten seconds. The long form of tests/faults/test_overload.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter

import goals
from tests.making.busy_servers import OPEN, BusyServer, busy_server
from tests.making.device_crowds import Crowd
from tests.making.load import Load

CALLERS = 128  # as many as a server lets wait
SECONDS, DEVICES, RETURNING = 60, 2_000, 10_000


def main() -> int:
    parser = goals.options(__doc__, quick="3 seconds, 100 devices, 1,000 that return")
    arguments = parser.parse_args()
    seconds, devices, returning = SECONDS, DEVICES, RETURNING
    if arguments.quick:
        seconds, devices, returning = 3, 100, 1_000
    with (
        tempfile.TemporaryDirectory() as folder,
        busy_server(Path(folder), **OPEN) as server,
    ):
        full = partial(Load, server.port, callers=CALLERS, connections=32)
        quiet = partial(Load, server.port, callers=2, pause_seconds=0.01)
        full(seconds=1).run()  # what is loaded at first use
        alone = quiet(seconds=min(5, seconds)).run()
        peak = full(seconds=min(10, seconds)).run()
        rate = 2 * peak.ok_a_second
        memory = server.memory_bytes
        over = Load(server.port, seconds=seconds, rate=rate, connections=200).run()
        recovered = recovery(server, alone.ok.p99_ms)
        with Load(server.port, seconds=600, rate=rate, connections=200).running():
            crowd = Crowd(server.port, devices=devices).ask()
        back = Load(server.port, seconds=returning / 1_000, rate=1_000, connections=0).run()
        recovered = max(recovered, recovery(server, alone.ok.p99_ms))
        grown = server.memory_bytes - memory
    figures = {
        "peak_a_second": round(peak.ok_a_second),
        "asked_a_second": round(over.sent / over.seconds),
        "answered_a_second": round(over.ok_a_second),
        "answered_share_of_peak": round(over.ok_a_second / peak.ok_a_second, 2),
        "quiet_p99_ms": round(alone.ok.p99_ms, 1),
        "peak_p99_ms": round(peak.ok.p99_ms, 1),
        "accepted_p99_ms": round(over.ok.p99_ms, 1),
        "accepted_p99_ratio": round(over.ok.p99_ms / peak.ok.p99_ms, 2),
        "refused": over.refused.count,
        "refused_p99_ms": round(over.refused.p99_ms, 1),
        "without_an_answer": over.unanswered + sum(over.codes.values()),
        "recovery_seconds": round(recovered, 1),
        "devices": devices,
        "devices_served_meanwhile": crowd.served,
        "retries_a_device": round(crowd.retries / devices, 3),
        "returning_devices": back.sent - back.retried,
        "returning_devices_answered": back.ok.count,
        "returning_devices_refused": back.refused.count,
        "returning_devices_cut": sum(back.codes.values()) + back.unanswered,
        "memory_growth_mib": round(grown / (1 << 20), 1),
    }
    return goals.told(
        arguments,
        figures,
        zero=("without_an_answer", "returning_devices_cut"),
        at_least={"answered_share_of_peak": 0.9},
        at_most={
            "recovery_seconds": 5,
            # 2,000 devices at a tenth each, and three deviations.
            "retries_a_device": 0.12,
            "accepted_p99_ratio": 2,
            "refused_p99_ms": 20,
        }
        if not arguments.quick
        else {"recovery_seconds": 5},
    )


def recovery(server: BusyServer, p99_ms: float) -> float:
    """Seconds until answers take no more than twice what they took before there was a load."""
    began = perf_counter()
    while perf_counter() - began < 60:
        found = Load(server.port, seconds=0.5, callers=2, pause_seconds=0.01).run()
        if found.ok.count == found.sent and found.ok.p99_ms <= 2 * p99_ms:
            break
    return perf_counter() - began - 0.5


if __name__ == "__main__":
    sys.exit(main())
