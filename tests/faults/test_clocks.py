"""A wrong clock stops no search, deletes nothing, and opens no gate.

The short form; benchmarks/faults has the long one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.making.clock_cases import BEGAN, CLOCKS, STATES, ClockCases
from tests.making.servers import Server
from tests.making.shops import make_shop
from tests.making.tiles import TileShop

from pocketlens.errors import TrustError
from pocketlens.store.reader import Reader
from pocketlens.sync import session
from pocketlens.sync.planner import Action
from pocketlens.sync.transports import FolderTransport
from pocketlens_server.cli import main as pocketlens_server


@pytest.mark.parametrize("ahead", [timedelta(days=4), timedelta(days=300)])
def test_devices_that_followed_a_server_whose_clock_was_ahead_come_back(
    tmp_path: Path, ahead: timedelta
) -> None:
    """As docs/operations.md has it, "A clock that was wrong"."""
    shop = TileShop(tmp_path, {0: 1, 1: 1}, now=datetime.now(UTC))
    shop.publish()
    shop.sync("followed")
    shop.sync("behind")
    right = shop.now
    shop.now += ahead
    shop.stock[0] = 2
    shop.publish()
    shop.now = right
    assert shop.sync("followed").version == 2

    shop.stock[0] = 3
    shop.publish()
    with pytest.raises(TrustError, match=r"timestamp\.json is expired"):
        shop.sync("followed")
    with Reader.open(tmp_path / "followed") as reader:
        assert reader.facts.version == 2  # and searches
    assert shop.sync("behind").version == 3

    server = ["--data", str(tmp_path / "server"), "--offline-keys", str(tmp_path / "keys")]
    assert pocketlens_server(["keys", "rotate", "timestamp", *server]) == 0

    came_back = shop.sync("followed")
    assert (came_back.version, came_back.action) == (3, Action.DELTA)
    for name in ("followed", "behind", "new"):
        assert shop.sync(name).version == 3
    shop.now += ahead / 2
    shop.stock[0] = 4
    shop.publish()
    for name in ("followed", "behind", "new"):
        assert shop.sync(name).version == 4


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
