"""1,000 connections that are never finished, or never used, and requests that come byte by byte.

    python benchmarks/faults/slow_callers.py [--quick] [--json FILE]

A good device of another host asks all the while, and before: 100 times a second, whether it was
answered or not, and each call counts from when it was due. Those who abuse stand back from the
cores, as if they had machines of their own. A half-open connection that is closed is opened anew
until the good device has done; idle ones, and those whose first call trickles in, are closed as
idle. All of it without TLS; then half-open ones to a server that has it. The long form of
tests/faults/test_slow_callers.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import goals
from tests.making.abuse import STREAMS, Abuse, Kind, Outcome
from tests.making.busy_servers import BusyServer, busy_server, waited
from tests.making.certificates import Certificates, make_certificates
from tests.making.load import Load, Report, good_devices

HALF_OPEN: tuple[Kind, ...] = ("silent", "half a preface", "no settings")
HALF_GREETED: tuple[Kind, ...] = ("silent", "half a greeting", "a greeting")
HOSTS = ("127.0.0.2", "127.0.0.3")
# Of each host, as many as are not refused at once; a stream counts among a client's calls.
SLOW_REQUESTS, SLOW_STREAMS = 100, 50
CONNECTIONS, SECONDS = 1_000, 30

Attacks = dict[str, list[Abuse]]
Figures = dict[str, object]


def main() -> int:
    arguments = goals.options(__doc__, quick="200 connections, 5 seconds").parse_args()
    connections, seconds = (200, 5) if arguments.quick else (CONNECTIONS, SECONDS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory() as name:
        run = partial(all_of, Path(name), connections, seconds)
        figures, reports = run(attacks_in_plain)
        certificates = make_certificates(Path(name) / "certificates")
        more, others = run(attacks_on_tls, certificates=certificates)
    figures |= more
    reports += others
    ratios = [value for name, value in figures.items() if name.endswith("_p99_ratio")]
    not_closed = [name for name in figures if name.endswith(("_not_closed", "_not_ended"))]
    left = [name for name in figures if name.endswith("_left")]
    figures |= {
        "good_calls": sum(report.sent for report in reports),
        "good_calls_refused_or_lost": sum(report.lost for report in reports),
        "longest_ms": round(max(report.ok.longest_ms for report in reports), 1),
        "worst_p99_ratio": max(map(goals.number, ratios)),
    }
    return goals.told(
        arguments,
        figures,
        zero=(*not_closed, *left, "good_calls_refused_or_lost"),
        at_most={"half_open_longest_seconds": 10, "half_greeted_longest_seconds": 10}
        | ({} if arguments.quick else {"worst_p99_ratio": 2}),
    )


def attacks_in_plain(abuse: Callable[..., Abuse], connections: int) -> Attacks:
    """Those on a server without TLS."""
    return {
        "half_open": [abuse(kind, count=connections // 3, is_lasting=True) for kind in HALF_OPEN],
        "idle": [abuse("idle", count=connections)],
        "slow_requests": [abuse("slow requests", count=SLOW_REQUESTS, host=each) for each in HOSTS],
        "slow_streams": [abuse("slow streams", count=SLOW_STREAMS, host=each) for each in HOSTS],
        "slow_headers": [abuse("slow headers", count=connections)],
    }


def attacks_on_tls(abuse: Callable[..., Abuse], connections: int) -> Attacks:
    """Those on the handshake of TLS."""
    return {
        "half_greeted": [
            abuse(kind, count=connections // 3, is_lasting=True) for kind in HALF_GREETED
        ]
    }


def all_of(
    folder: Path,
    connections: int,
    seconds: float,
    attacks: Callable[[Callable[..., Abuse], int], Attacks],
    *,
    certificates: Certificates | None = None,
) -> tuple[Figures, list[Report]]:
    """What attacks came to, one after the other, and what a good device had beside each."""
    limits = dict.fromkeys(("unary_seconds", "stream_seconds", "idle_seconds"), seconds)
    figures: Figures = {}
    reports = []
    with busy_server(folder, certificates=certificates, **limits) as server:
        ca = "" if certificates is None else str(certificates.ca)
        good = good_devices(server.port, seconds, ca=ca)
        warm(server, good)
        files = server.open_files
        quiet = good.run()
        of_tls = "tls_" if good.ca else ""
        figures[f"{of_tls}quiet_p99_ms"] = round(quiet.ok.p99_ms, 1)
        abuse = partial(Abuse, port=server.port, seconds=3 * seconds + 10, stands_back=True)
        for name, each in attacks(abuse, connections).items():
            outcomes, report = attacked(server, each, good)
            figures |= figures_of(name, outcomes, report, quiet)
            reports.append(report)
        waited(lambda: server.open_files <= files, 10)
        figures[f"{of_tls}open_files_left"] = max(0, server.open_files - files)
    return figures, reports


def warm(server: BusyServer, good: Load) -> None:
    """Lets a server load what it loads at first use, and open its catalogue."""
    replace(good, seconds=1).run()
    if not good.ca:
        Abuse("slow streams", server.port, count=STREAMS, seconds=2).run()
    waited(lambda: server.connections == 0, 10)


def attacked(
    server: BusyServer, attacks: Sequence[Abuse], good: Load
) -> tuple[list[Outcome], Report]:
    """What attacks came to, and what a good device had once their connections were there."""
    with ExitStack() as stack:
        waiting = [stack.enter_context(attack.running()) for attack in attacks]
        waited(lambda: server.connections >= sum(map(connections_of, attacks)), 20)
        report = good.run()
        return [outcome() for outcome in waiting], report


def connections_of(attack: Abuse) -> int:
    """How many it opens at once."""
    is_of_calls = attack.kind in ("slow requests", "slow streams")
    return attack.count // STREAMS if is_of_calls else attack.count


def figures_of(name: str, outcomes: Sequence[Outcome], report: Report, quiet: Report) -> Figures:
    """By names that begin with that of the attack."""
    sent = sum(each.sent for each in outcomes)
    opened = sum(each.connections for each in outcomes)
    if name in ("slow_requests", "slow_streams"):
        ended = sum(each.codes.get("4", 0) for each in outcomes)
        found: Figures = {
            name: sent,
            f"{name}_not_ended": sent - ended,
            f"{name}_seconds": round(max(each.seconds for each in outcomes), 1),
        }
    else:
        found = {
            name: opened,
            f"{name}_not_closed": opened - sum(each.closed for each in outcomes),
            f"{name}_longest_seconds": round(max(each.longest_seconds for each in outcomes), 1),
        }
    return found | {
        f"{name}_p99_ms": round(report.ok.p99_ms, 1),
        f"{name}_p99_ratio": round(report.ok.p99_ms / quiet.ok.p99_ms, 2),
    }


if __name__ == "__main__":
    sys.exit(main())
