"""A wrong clock stops no search, deletes nothing, and opens no gate.

The short form; benchmarks/faults has the long one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.making.clock_cases import BEGAN, CLOCKS, STATES, ClockCases
from tests.making.servers import Server
from tests.making.shops import make_shop

from pocketlens.store.reader import Reader
from pocketlens.sync import session
from pocketlens.sync.transports import FolderTransport


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> ClockCases:
    folder = tmp_path_factory.mktemp("clocks")
    return ClockCases(folder, make_shop(folder / "shop", products=8))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("clock", CLOCKS)
def test_a_clock_stops_no_search_and_opens_no_gate(
    cases: ClockCases, tmp_path: Path, clock: str, state: str
) -> None:
    assert cases.tell(clock, state, tmp_path) == cases.expected(clock, state)
    assert cases.recovers(tmp_path)


def test_a_clock_that_stands_still_stops_no_sync(tmp_path: Path) -> None:
    """The newest signed time takes its place, for as long as the server goes on."""
    server = Server.of_shop(make_shop(tmp_path / "shop", products=8), tmp_path / "server")
    for month in range(5):
        server.now = BEGAN + month * timedelta(days=30)
        server.publish()
        session.sync(
            tmp_path / "store",
            FolderTransport(server.public),
            catalogue="main",
            root=server.root,
            now=BEGAN,
        )
        with Reader.open(tmp_path / "store") as reader:
            assert reader.facts.version == month + 1
