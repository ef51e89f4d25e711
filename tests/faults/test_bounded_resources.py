"""Whatever callers do, and however long, a server's memory and open files stay where they were.

The short form of benchmarks/faults/soak.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.making.busy_servers import OPEN, BusyServer, busy_server, waited
from tests.making.load import Load
from tests.making.soaks import (
    BROKEN,
    LARGE_REQUEST_COST,
    PICTURES,
    PRODUCTS,
    Backend,
    Round,
    all_at_once,
)

MIB = 1 << 20
DAYS, WARM_SECONDS = 6, 6  # until as much goes each day as comes, and what is loaded late is there
ROUNDS, ROUND_SECONDS = 4, 10
# What a server still learns in its first minute takes 5 MiB. A leak of 1.5 kB a call takes 19.
MOST_GROWTH_BYTES = 12 * MIB


@dataclass(frozen=True)
class State:
    """What a server holds between two rounds.

    Attributes:
        memory_bytes, open_files: Of its process.
        connections: To it.
        temporary, on_disk: Files in the folder for what is to go again, and in its own.
    """

    memory_bytes: int
    open_files: int
    connections: int
    temporary: int
    on_disk: int


@dataclass(frozen=True)
class Soaked:
    """Rounds, and what the server held before the first and after the last."""

    rounds: list[Round]
    before: State
    after: State


def least_open_files(server: BusyServer) -> int:
    """Of two seconds: now and then the server opens a database for a moment."""
    found = []
    for _ in range(20):
        found.append(server.open_files)
        time.sleep(0.1)
    return min(found)


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> Soaked:
    folder = tmp_path_factory.mktemp("server")
    with busy_server(folder, unary_seconds=5) as server, Backend(server) as backend:

        def state() -> State:
            waited(lambda: server.connections <= 1, 5)  # that of the backend stays
            backend.let_a_day_pass()
            temporary = len(list(server.temporary.iterdir()))
            return State(
                server.memory_bytes,
                least_open_files(server),
                server.connections,
                temporary,
                len(backend.files),
            )

        for _ in range(DAYS):
            backend.change()
            backend.let_a_day_pass()
        all_at_once(server, backend, WARM_SECONDS)
        before, rounds = state(), []
        for _ in range(ROUNDS):
            rounds.append(all_at_once(server, backend, ROUND_SECONDS))
            after = state()
        return Soaked(rounds, before, after)


def test_a_server_that_is_asked_all_the_while_holds_no_more_than_at_first(soaked: Soaked) -> None:
    assert soaked.after.memory_bytes < soaked.before.memory_bytes + MOST_GROWTH_BYTES
    assert soaked.after.open_files <= soaked.before.open_files
    assert soaked.after.connections == 1
    assert soaked.after.temporary == 0


def test_as_much_goes_from_a_servers_disk_as_comes(soaked: Soaked) -> None:
    versions = [each.changes.version for each in soaked.rounds]

    assert versions == list(range(versions[0], versions[0] + ROUNDS))
    assert soaked.after.on_disk == soaked.before.on_disk


def test_a_backend_is_answered_whatever_others_do(soaked: Soaked) -> None:
    for each in soaked.rounds:
        assert each.changes.results == {"applied": PRODUCTS + 2, "waiting": PICTURES}
        assert each.changes.letters == BROKEN


def test_others_were_there_all_the_while(soaked: Soaked) -> None:
    good = [each.good for each in soaked.rounds]

    assert sum(each.sent for each in good) >= 0.95 * 100 * ROUND_SECONDS * ROUNDS
    # A system whose other tests hold the server up for some seconds lets calls pile up.
    assert sum(each.lost for each in good) <= 0.5 * sum(each.sent for each in good)
    for each in soaked.rounds:
        assert 0 < each.too_often.lost < each.too_often.sent
        assert min(attack.sent for attack in each.attacks.values()) > 0


def test_requests_as_large_as_they_may_be_cost_what_is_stated(tmp_path: Path) -> None:
    with busy_server(tmp_path, **OPEN) as server:  # of one host more than it may ask otherwise
        server.forget_most_memory()
        before = server.memory_bytes
        load = Load(server.port, seconds=2, callers=32, connections=32, request_bytes=MIB)
        found = load.run()

        assert found.ok.count == found.sent > 32
        assert server.most_memory_bytes < before + 32 * LARGE_REQUEST_COST * MIB
