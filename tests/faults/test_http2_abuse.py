"""Frames that no library sends cost a server little, and its good callers nothing.

The short form of benchmarks/faults/http2_abuse.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from tests.making.abuse import Abuse, Kind, Outcome
from tests.making.busy_servers import BusyServer, busy_server, until
from tests.making.load import Report, good_devices

# What is sent, how many, and a second.
ATTACKS: dict[Kind, tuple[int, float]] = {
    "resets": (8_000, 4_000),
    "pings": (2_000, 4_000),
    "settings": (5_000, 10_000),
    "endless headers": (150, 300),
    "large headers": (100, 200),
    "large messages": (100, 200),
    "lying messages": (100, 200),
}
# That one of a hundred good calls takes, on a machine that runs other tests too; and one of two, in
# times of what it took before, or of what it takes on a core that some others want.
MOST_MS, MOST_TIMES, USUAL_MS = 500, 3, 25
MOST_BYTES = 8 << 20  # at any moment


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusyServer]:
    with busy_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@dataclass(frozen=True)
class Attacked:
    """What all attacks came to, one after the other.

    Attributes:
        outcomes: By their names.
        quiet: What a good caller of another host had before.
        good: What it had meanwhile, by their names.
        grown_bytes: What the server's memory grew by, at most, by their names.
    """

    outcomes: dict[Kind, Outcome]
    quiet: Report
    good: dict[Kind, Report]
    grown_bytes: dict[Kind, int]


@pytest.fixture(scope="module")
def attacked(server: BusyServer) -> Attacked:
    good = good_devices(server.port, seconds=2)
    good.run()  # what is loaded at first use
    found = Attacked({}, good.run(), {}, {})
    server.forget_most_memory()
    memory = server.memory_bytes
    for kind, (count, rate) in ATTACKS.items():
        with replace(good, seconds=0).running() as report:
            until(lambda: server.connections > 0, 10)
            found.outcomes[kind] = Abuse(kind, server.port, count=count, rate=rate).run()
            found.good[kind] = report()
        found.grown_bytes[kind] = server.most_memory_bytes - memory
    return found


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_good_caller_is_answered_all_the_while(attacked: Attacked, kind: Kind) -> None:
    good = attacked.good[kind]

    assert good.sent > 20
    # Where a server that has half a core cannot keep up, some of what waits is dropped.
    assert good.lost <= (0.1 * good.sent if kind == "resets" else 0)
    assert good.ok.p99_ms < MOST_MS
    assert good.ok.p50_ms <= MOST_TIMES * max(attacked.quiet.ok.p50_ms, USUAL_MS)


@pytest.mark.parametrize("kind", ATTACKS)
def test_attacks_take_little_memory(attacked: Attacked, kind: Kind) -> None:
    assert attacked.grown_bytes[kind] < MOST_BYTES


def test_attacks_leave_nothing_open(server: BusyServer, attacked: Attacked) -> None:
    assert attacked.outcomes
    assert until(lambda: server.connections == 0, 5) < 5


def test_who_sends_pings_or_headers_without_end_is_cut_off(attacked: Attacked) -> None:
    kinds: tuple[Kind, ...] = ("pings", "endless headers")
    for kind in kinds:
        outcome = attacked.outcomes[kind]
        assert outcome.sent == ATTACKS[kind][0]
        assert outcome.closed >= outcome.connections - 1 > 10


def test_what_is_too_large_is_refused_before_it_comes(attacked: Attacked) -> None:
    kinds: tuple[Kind, ...] = ("large headers", "large messages", "lying messages")
    for kind in kinds:
        outcome = attacked.outcomes[kind]
        assert outcome.sent == ATTACKS[kind][0]
        # Limits of headers hold from the first answer on: until then gRPC's own are larger.
        assert set(outcome.codes) <= {"3", "8", "reset"}
        assert outcome.codes.get("8", 0) + outcome.codes.get("reset", 0) >= 0.9 * outcome.sent


def test_calls_that_are_given_up_at_once_are_forgotten(attacked: Attacked) -> None:
    assert attacked.outcomes["resets"].sent == ATTACKS["resets"][0]
    assert attacked.outcomes["settings"].sent == ATTACKS["settings"][0]
