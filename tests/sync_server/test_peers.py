"""Peers as gRPC names them, and whom each counts as."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio

import pytest

from pocketlens_server.callers import Caller, enter
from pocketlens_server.peers import NOBODY, caller_id, host_of, network_of


@pytest.mark.parametrize(
    ("peer", "host", "network"),
    [
        ("ipv4:192.0.2.7:50412", "192.0.2.7", "192.0.2.7"),
        ("ipv6:[2001:db8:0:1::7]:50412", "2001:db8:0:1::7", "2001:db8:0:1::/64"),
        ("ipv6:%5B2001:db8:0:1::8%5D:50412", "2001:db8:0:1::8", "2001:db8:0:1::/64"),
        ("ipv6:[::ffff:192.0.2.7]:50412", "::ffff:192.0.2.7", "192.0.2.7"),
        ("ipv6:[fe80::1%25eth0]:50412", "fe80::1%eth0", "fe80::/64"),
        ("ipv6:[::1]:50412", "::1", "::/64"),
        ("unix:", "local", "local"),
        ("", "local", "local"),
    ],
)
def test_a_peer_is_its_host_and_counts_as_what_it_can_choose_from(
    peer: str, host: str, network: str
) -> None:
    assert host_of(peer) == host
    assert network_of(peer) == network


def test_nobody_calls_until_somebody_looked() -> None:
    assert caller_id() == NOBODY

    async def call() -> str:
        enter(Caller("4be1", frozenset()))
        return caller_id()

    assert asyncio.run(call()) == "4be1"
