"""Networks that are cut, slow or silent: a sync goes on where it was, or ends when it said."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.making.networks import KINDS, TOXICS, Kind, Network, network

from pocketlens.errors import ServerUnavailable, TransportError
from pocketlens.options import Deadlines

CUTS = 30  # of a session over each transport; benchmarks/faults/network_cuts.py makes all of them
# Over gRPC 64 KiB are one message, which takes a second at 64 kB/s.
DEADLINES = Deadlines(connect_seconds=0.6, idle_seconds=1.4, call_seconds=2.5)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("network"), products=380) as made:
        yield made


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_that_is_cut_anywhere_goes_on(net: Network, tmp_path: Path, kind: Kind) -> None:
    size = net.session_bytes(kind, tmp_path / "whole")
    assert 50_000 < size < 80_000
    cut = 0

    for number in range(CUTS):
        resumed = net.cut(kind, after=size * number // CUTS, store=tmp_path / f"store-{number}")

        assert resumed.is_right
        assert resumed.resent_bytes <= resumed.largest_piece
        cut += resumed.was_cut
    assert cut == CUTS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["latency", "64 kB/s", "slicer"])
def test_a_slow_network_is_waited_for(net: Network, tmp_path: Path, kind: Kind, name: str) -> None:
    outcome = net.under(TOXICS[name], kind, store=tmp_path / "store", deadlines=DEADLINES)

    assert outcome.error is None
    assert outcome.is_done


@pytest.mark.parametrize(
    ("kind", "name", "seconds"),
    [
        ("grpc", "half-open", DEADLINES.connect_seconds),
        ("http", "half-open", DEADLINES.idle_seconds),  # connected it is; then nothing comes
        ("grpc", "black hole", DEADLINES.connect_seconds + DEADLINES.idle_seconds),
        ("http", "black hole", DEADLINES.idle_seconds),
    ],
)
def test_a_silent_network_is_given_up_in_the_stated_time(
    net: Network, tmp_path: Path, kind: Kind, name: str, seconds: float
) -> None:
    outcome = net.under(TOXICS[name], kind, store=tmp_path / "store", deadlines=DEADLINES)

    assert isinstance(outcome.error, TransportError)
    assert not isinstance(outcome.error, ServerUnavailable)  # nobody waits for it twice
    assert seconds <= outcome.seconds < seconds + 1
    assert outcome.cpu_seconds < 0.3 * outcome.seconds + 0.3  # it slept


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_trickles_is_given_up_in_the_stated_time(
    net: Network, tmp_path: Path, kind: Kind
) -> None:
    outcome = net.under(TOXICS["trickle"], kind, store=tmp_path / "store", deadlines=DEADLINES)

    assert isinstance(outcome.error, TransportError)
    at_most = max(DEADLINES.call_seconds, DEADLINES.connect_seconds + DEADLINES.idle_seconds)
    assert outcome.seconds < at_most + 1
    assert outcome.cpu_seconds < 0.3 * outcome.seconds + 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_is_reset_is_told_at_once(
    net: Network, tmp_path: Path, kind: Kind
) -> None:
    outcome = net.under(TOXICS["reset"], kind, store=tmp_path / "store", deadlines=DEADLINES)

    assert isinstance(outcome.error, ServerUnavailable)
    assert outcome.seconds < 1
