"""All kinds of callers at once, good ones and others, for as long as is wanted."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from contextlib import ExitStack

from tests.making.abuse import Abuse, Kind
from tests.making.busy_servers import BusyServer
from tests.making.load import Load, Report

# What is sent, and how many of them a second; of slow requests, how many there are.
_ATTACKS: dict[Kind, tuple[int, float]] = {
    "resets": (1_000_000, 200),
    "large messages": (1_000_000, 50),
    "slow requests": (100, 0),
}


def all_at_once(server: BusyServer, seconds: float) -> Report:
    """What good callers had, while others asked too often and some meant no good."""
    with ExitStack() as stack:
        too_often = Load(server.port, seconds=seconds, rate=400, connections=8, host="127.0.0.3")
        stack.enter_context(too_often.running())
        for kind, (count, rate) in _ATTACKS.items():
            abuse = Abuse(kind, server.port, count=count, rate=rate, seconds=seconds)
            stack.enter_context(abuse.running())
        return Load(server.port, seconds=seconds, callers=2, pause_seconds=0.01).run()
