"""1,000 connections that are never finished, and 200 requests that come byte by byte.

    python benchmarks/faults/slow_callers.py [--quick] [--json FILE]

A good caller of another host asks all the while, and before. Connections whose first call trickles
in are closed as idle ones are, after a minute. The long form of tests/faults/test_slow_callers.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import resource
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import goals
from tests.making.abuse import Abuse, Kind, Outcome
from tests.making.busy_servers import BusyServer, busy_server, until
from tests.making.load import Load, Report

HALF_OPEN: tuple[Kind, ...] = ("silent", "half a preface", "no settings")
CONNECTIONS, SLOW_REQUESTS, SLOW_HEADERS, SECONDS = 1_000, 200, 100, 60


def main() -> int:
    arguments = goals.options(__doc__, quick="200 connections, 10 seconds").parse_args()
    connections, seconds = (200, 10) if arguments.quick else (CONNECTIONS, SECONDS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with (
        tempfile.TemporaryDirectory() as folder,
        busy_server(Path(folder), unary_seconds=seconds / 2, idle_seconds=seconds) as server,
    ):
        good = partial(Load, server.port, callers=2, pause_seconds=0.02)
        good(seconds=1).run()  # what is loaded at first use
        files = server.open_files
        quiet = good(seconds=seconds / 2).run()
        half = [Abuse(kind, server.port, connections // 3) for kind in HALF_OPEN]
        half_open, meanwhile = attacked(server, half, good(seconds=5))
        slow = [Abuse("slow requests", server.port, SLOW_REQUESTS, seconds=seconds)]
        slow_requests, besides = attacked(server, slow, good(seconds=seconds / 2))
        slow = [Abuse("slow headers", server.port, SLOW_HEADERS, seconds=2 * seconds)]
        slow_headers, last = attacked(server, slow, good(seconds=seconds / 2))
        until(lambda: server.open_files <= files, 10)
        left = server.open_files - files
    reports = [meanwhile, besides, last]
    worst = max(report.ok.p99_ms for report in reports)
    codes = slow_requests[0].codes
    figures = {
        "half_open": sum(each.connections for each in half_open),
        "half_open_not_closed": sum(each.connections - each.closed for each in half_open),
        "longest_half_open_seconds": round(max(each.seconds for each in half_open), 1),
        "slow_requests": slow_requests[0].sent,
        "slow_requests_ended": codes.get("4", 0),
        "slow_requests_refused": codes.get("8", 0),
        "slow_requests_seconds": round(slow_requests[0].seconds, 1),
        "slow_headers_not_closed": slow_headers[0].connections - slow_headers[0].closed,
        "slow_headers_seconds": round(slow_headers[0].seconds, 1),
        "open_files_left": left,
        "good_calls": sum(report.sent for report in reports),
        "good_calls_refused_or_lost": sum(r.sent - r.ok.count for r in reports),
        "quiet_p99_ms": round(quiet.ok.p99_ms, 1),
        "half_open_p99_ms": round(meanwhile.ok.p99_ms, 1),
        "slow_requests_p99_ms": round(besides.ok.p99_ms, 1),
        "slow_headers_p99_ms": round(last.ok.p99_ms, 1),
        "attacked_p99_ms": round(worst, 1),
        "p99_ratio": round(worst / quiet.ok.p99_ms, 2),
    }
    return goals.told(
        arguments,
        figures,
        zero=("half_open_not_closed", "open_files_left", "good_calls_refused_or_lost"),
        at_most={"longest_half_open_seconds": 10}
        | ({} if arguments.quick else {"p99_ratio": 2, "slow_headers_not_closed": 0}),
    )


def attacked(server: BusyServer, attacks: list[Abuse], good: Load) -> tuple[list[Outcome], Report]:
    """What attacks came to, and what a good caller had meanwhile."""
    files = server.open_files
    with ExitStack() as stack:
        waiting = [stack.enter_context(attack.running()) for attack in attacks]
        until(lambda: server.open_files > files, 10)
        report = good.run()
        return [outcome() for outcome in waiting], report


if __name__ == "__main__":
    sys.exit(main())
