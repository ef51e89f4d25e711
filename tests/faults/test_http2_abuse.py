"""Frames that no library sends cost a server little, and its good callers nothing.

The short form of benchmarks/faults/http2_abuse.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.making.abuse import Abuse, Outcome
from tests.making.busy_servers import BusyServer, busy_server, until
from tests.making.load import Load, Report

# What is sent, how many, and a second.
ATTACKS = {
    "resets": (5_000, 5_000),
    "pings": (2_000, 4_000),
    "settings": (5_000, 10_000),
    "endless headers": (150, 300),
    "large headers": (100, 200),
    "large messages": (100, 200),
    "lying messages": (100, 200),
}
MOST_MS = 500  # that a good caller waits, on a machine that runs other tests too
MOST_BYTES = 64 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusyServer]:
    with busy_server(tmp_path_factory.mktemp("server")) as running:
        Load(running.port, seconds=0.5).run()  # what is loaded at first use
        yield running


@dataclass(frozen=True)
class Attacked:
    """What all attacks came to, one after the other.

    Attributes:
        outcomes: By their names.
        good: What a good caller of another host had meanwhile.
        memory_bytes: Of the server, before and after each.
        files_before: Open files.
    """

    outcomes: dict[str, Outcome]
    good: Report
    memory_bytes: list[int]
    files_before: int


@pytest.fixture(scope="module")
def attacked(server: BusyServer) -> Attacked:
    outcomes, memory, files = dict[str, Outcome](), [server.memory_bytes], server.open_files
    with Load(server.port, seconds=0, callers=2, pause_seconds=0.01).running() as report:
        for kind, (count, rate) in ATTACKS.items():
            outcomes[kind] = Abuse(kind, server.port, count=count, rate=rate).run()
            memory.append(server.memory_bytes)
        return Attacked(outcomes, report(), memory, files)


def test_a_good_caller_is_answered_all_the_while(attacked: Attacked) -> None:
    assert attacked.good.ok.count == attacked.good.sent > 200
    assert attacked.good.ok.p99_ms < MOST_MS


def test_attacks_leave_nothing_behind(server: BusyServer, attacked: Attacked) -> None:
    first, *later = attacked.memory_bytes

    assert max(later) < first + MOST_BYTES
    assert until(lambda: server.open_files <= attacked.files_before, 5) < 5


def test_who_sends_pings_or_headers_without_end_is_cut_off(attacked: Attacked) -> None:
    for kind in ("pings", "endless headers"):
        outcome = attacked.outcomes[kind]
        assert outcome.sent == ATTACKS[kind][0]
        assert outcome.closed >= outcome.connections - 1 > 10


def test_what_is_too_large_is_refused_before_it_comes(attacked: Attacked) -> None:
    for kind in ("large headers", "large messages", "lying messages"):
        outcome = attacked.outcomes[kind]
        assert outcome.sent == ATTACKS[kind][0]
        # Limits of headers hold from the first answer on: until then gRPC's own are larger.
        assert set(outcome.codes) <= {"3", "8", "reset"}
        assert outcome.codes.get("8", 0) + outcome.codes.get("reset", 0) >= 0.9 * outcome.sent


def test_calls_that_are_given_up_at_once_are_forgotten(attacked: Attacked) -> None:
    assert attacked.outcomes["resets"].sent == ATTACKS["resets"][0]
    assert attacked.outcomes["settings"].sent == ATTACKS["settings"][0]
