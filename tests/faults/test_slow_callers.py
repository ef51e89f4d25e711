"""Callers that say little, or say it slowly, are waited for a stated time and hold nobody up.

The short form of benchmarks/faults/slow_callers.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.making.abuse import Abuse, Kind, Outcome
from tests.making.busy_servers import BusyServer, busy_server, until
from tests.making.certificates import make_certificates
from tests.making.load import Load, Report, good_devices

HANDSHAKE_SECONDS, UNARY_SECONDS, STREAM_SECONDS, IDLE_SECONDS = 2, 4, 4, 3
LIMITS = {
    "handshake_seconds": HANDSHAKE_SECONDS,
    "unary_seconds": UNARY_SECONDS,
    "stream_seconds": STREAM_SECONDS,
    "idle_seconds": IDLE_SECONDS,
}
# That one of a hundred good calls takes, on a machine that runs other tests too; and one of two, in
# times of what it took before, or of what it takes on a core that some others want.
MOST_MS, MOST_TIMES, USUAL_MS = 500, 3, 15


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusyServer]:
    with busy_server(tmp_path_factory.mktemp("server"), **LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def good(server: BusyServer) -> Load:
    return good_devices(server.port, seconds=2)


@pytest.fixture(scope="module")
def quiet(good: Load) -> Report:
    """What a good caller has when it is alone."""
    replace(good, seconds=0.5).run()  # what is loaded at first use
    return good.run()


def attacked(
    server: BusyServer, good: Load, attacks: list[Abuse], *, connections: int
) -> tuple[list[Outcome], Report]:
    """What attacks came to, and what a good caller had once there were so many connections."""
    with ExitStack() as stack:
        outcomes = [stack.enter_context(attack.running()) for attack in attacks]
        until(lambda: server.connections >= connections, 10)
        report = good.run()
        return [outcome() for outcome in outcomes], report


def check_good(report: Report, quiet: Report) -> None:
    """A good caller waited about as long as before."""
    assert report.ok.count == report.sent > 100
    assert report.ok.p99_ms < MOST_MS
    assert report.ok.p50_ms <= MOST_TIMES * max(quiet.ok.p50_ms, USUAL_MS)


def test_connections_that_are_never_finished_are_closed_in_time(
    server: BusyServer, good: Load, quiet: Report
) -> None:
    kinds: list[Kind] = ["silent", "half a preface", "no settings"]
    attacks = [Abuse(kind, server.port, count=70, is_lasting=True) for kind in kinds]

    closed, report = attacked(server, good, attacks, connections=3 * 70)

    assert [each.closed for each in closed] == [each.connections for each in closed]
    assert min(each.connections for each in closed) > 70  # others took their places
    assert max(each.longest_seconds for each in closed) < HANDSHAKE_SECONDS + 2
    assert until(lambda: server.connections == 0, 5) < 5
    check_good(report, quiet)


def test_connections_that_are_never_used_are_closed_in_time(
    server: BusyServer, good: Load, quiet: Report
) -> None:
    idle = Abuse("idle", server.port, count=200)

    (closed,), report = attacked(server, good, [idle], connections=200)

    assert closed.closed == closed.connections == 200
    assert closed.longest_seconds < IDLE_SECONDS + 3
    check_good(report, quiet)


def test_requests_that_come_byte_by_byte_are_ended_in_time(
    server: BusyServer, good: Load, quiet: Report
) -> None:
    memory = server.memory_bytes
    slow = Abuse("slow requests", server.port, count=200)

    (ended,), report = attacked(server, good, [slow], connections=8)
    again = Load(server.port, seconds=0.3, host=slow.host).run()

    assert ended.sent == 200
    assert ended.seconds < UNARY_SECONDS + 4
    # Those beyond what a host may have are told so at once, the others that their time is over.
    assert ended.codes == {"4": 128, "8": 72}
    assert until(lambda: server.connections == 0, 5) < 5
    assert server.memory_bytes < memory + (32 << 20)
    check_good(report, quiet)
    assert again.ok.count == again.sent > 0  # its places are free again


def test_streams_that_come_byte_by_byte_are_ended_in_time(
    server: BusyServer, good: Load, quiet: Report
) -> None:
    slow = Abuse("slow streams", server.port, count=50)

    (ended,), report = attacked(server, good, [slow], connections=2)

    assert ended.codes == {"4": 50}
    assert ended.seconds < STREAM_SECONDS + 4
    check_good(report, quiet)


def test_handshakes_of_tls_that_are_never_finished_are_closed_in_time(
    tmp_path: Path,
) -> None:
    certificates = make_certificates(tmp_path / "certificates")
    kinds: list[Kind] = ["silent", "half a greeting", "a greeting"]
    with busy_server(tmp_path, certificates=certificates, **LIMITS) as server:
        good = good_devices(server.port, seconds=2, ca=str(certificates.ca))
        replace(good, seconds=0.5).run()  # what is loaded at first use
        quiet = good.run()
        attacks = [Abuse(kind, server.port, count=70, is_lasting=True) for kind in kinds]

        closed, report = attacked(server, good, attacks, connections=3 * 70)

    assert [each.closed for each in closed] == [each.connections for each in closed]
    assert max(each.longest_seconds for each in closed) < HANDSHAKE_SECONDS + 2
    check_good(report, quiet)
