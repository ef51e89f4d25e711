"""Callers that say little, or say it slowly, are waited for a stated time and hold nobody up.

The short form of benchmarks/faults/slow_callers.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.making.abuse import Abuse
from tests.making.busy_servers import BusyServer, busy_server, until
from tests.making.load import Load

HANDSHAKE_SECONDS, UNARY_SECONDS = 2, 4
MOST_MS = 500  # that a good caller waits, on a machine that runs other tests too


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusyServer]:
    limits = {"handshake_seconds": HANDSHAKE_SECONDS, "unary_seconds": UNARY_SECONDS}
    with busy_server(tmp_path_factory.mktemp("server"), **limits) as running:
        Load(running.port, seconds=0.5).run()  # what is loaded at first use
        yield running


def good(server: BusyServer) -> Load:
    return Load(server.port, seconds=3, callers=2, pause_seconds=0.01)


def test_connections_that_are_never_finished_are_closed_in_time(server: BusyServer) -> None:
    files = server.open_files
    with ExitStack() as stack:
        attacks = [
            stack.enter_context(Abuse(kind, server.port, count=70).running())
            for kind in ("silent", "half a preface", "no settings")
        ]
        until(lambda: server.open_files >= files + 3 * 70, 10)
        report = good(server).run()
        closed = [attack() for attack in attacks]

    assert [each.closed for each in closed] == [70] * 3
    assert max(each.seconds for each in closed) < HANDSHAKE_SECONDS + 3
    assert until(lambda: server.open_files <= files, 5) < 5
    assert report.ok.count == report.sent > 0
    assert report.ok.p99_ms < MOST_MS


def test_requests_that_come_byte_by_byte_are_ended_in_time(server: BusyServer) -> None:
    files, memory = server.open_files, server.memory_bytes
    with Abuse("slow requests", server.port, count=200).running() as attack:
        report = good(server).run()
        ended = attack()
    again = Load(server.port, seconds=0.3, host="127.0.0.2").run()

    assert ended.sent == 200
    assert ended.seconds < UNARY_SECONDS + 4
    # Those beyond what a host may have are told so at once, the others that their time is over.
    assert ended.codes["4"] > 100
    assert ended.codes["8"] > 0
    assert until(lambda: server.open_files <= files, 5) < 5
    assert server.memory_bytes < memory + (32 << 20)
    assert report.ok.count == report.sent > 0
    assert report.ok.p99_ms < MOST_MS
    assert again.ok.count == again.sent > 0  # its places are free again
