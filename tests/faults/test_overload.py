"""A server with more to do than it can does as much as before, and says no to the rest at once.

The short form of benchmarks/faults/overload.py, whose bounds are for a machine that does nothing
else: here other tests run beside.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.making.busy_servers import OPEN, BusyServer, busy_server
from tests.making.device_crowds import Crowd
from tests.making.load import Load, Report

PEAK_CALLERS = 128  # as many as a server lets wait
VERSIONS = 4  # that devices have
DEVICES = 150


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[BusyServer]:
    with busy_server(folder, versions=VERSIONS, **OPEN) as running:
        yield running


@pytest.fixture(scope="module")
def peak(server: BusyServer) -> Report:
    """As much as it can do."""
    full(server, seconds=0.5).run()  # what is loaded at first use
    return full(server, seconds=1.5).run()


def full(server: BusyServer, seconds: float) -> Load:
    """As many callers as may wait."""
    return Load(server.port, seconds, callers=PEAK_CALLERS, connections=32, versions=VERSIONS)


def test_twice_as_much_as_a_server_can_do_takes_little_from_what_it_does(
    server: BusyServer, peak: Report
) -> None:
    rate = 2 * peak.ok_a_second
    over = Load(server.port, seconds=1.5, rate=rate, connections=100, versions=VERSIONS)
    runs = [over.run() for _ in range(3)]
    after = Load(server.port, seconds=0.5, callers=4, connections=4).run()
    again = full(server, seconds=1.5).run()  # other tests may have come, or gone

    for each in runs:
        assert each.sent > 1.8 * peak.ok_a_second * each.seconds
        assert each.refused.count > 0
        assert (each.codes, each.unanswered) == ({}, 0)
    answered = statistics.median(each.ok_a_second for each in runs)
    assert answered >= 0.7 * min(peak.ok_a_second, again.ok_a_second)
    accepted_ms = statistics.median(each.ok.p50_ms for each in runs)
    assert accepted_ms <= 3 * max(peak.ok.p50_ms, again.ok.p50_ms)
    assert statistics.median(each.refused.p50_ms for each in runs) <= 20
    assert after.ok.count == after.sent > 0
    assert after.ok.p50_ms < max(peak.ok.p50_ms, again.ok.p50_ms)


def test_devices_that_come_meanwhile_try_seldom_and_are_served_afterwards(
    server: BusyServer, peak: Report
) -> None:
    with Load(server.port, seconds=60, rate=2 * peak.ok_a_second, connections=100).running():
        meanwhile = Crowd(server.port, devices=DEVICES).ask()
    afterwards = Crowd(server.port, devices=100, seed=1).ask()

    assert meanwhile.served > 0  # all, where other tests take the cores of what loads the server
    assert meanwhile.retries <= 0.1 * DEVICES  # of this seed, 9 may
    assert (afterwards.served, afterwards.retries) == (100, 0)
    assert afterwards.longest_seconds < 5


def test_devices_that_an_outage_cut_off_try_seldom_and_are_all_served_in_the_end(
    tmp_path: Path,
) -> None:
    with busy_server(tmp_path, **OPEN) as server:
        assert Crowd(server.port, devices=DEVICES).ask().served == DEVICES
        server.kill()
    turns = Crowd(server.port, devices=DEVICES, turns=1_000)
    with turns.asking() as outcome, busy_server(tmp_path, port=server.port, **OPEN):
        found = outcome()

    assert found.served == DEVICES
    assert found.syncs > DEVICES
    # Where nobody answers a tenth try again, as each draws by itself: three deviations.
    assert 0 < found.retries <= 0.1 * found.syncs + 3 * math.sqrt(0.09 * found.syncs)
