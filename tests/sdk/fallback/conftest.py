"""A shop of tiles, stores at its versions, and a server that answers from one of them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.making.query_servers import StoreService, answering
from tests.making.tiles import TileShop


@dataclass(frozen=True)
class Stores:
    """Stores that follow one catalogue, at two versions.

    The second has no tile 3, a tile 20 that is new, and no piece of tile 5 any more.
    """

    first: Path
    second: Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    shop = TileShop(tmp_path_factory.mktemp("fallback") / "shop", dict.fromkeys(range(12), 2))
    shop.publish()
    shop.sync("first")
    del shop.stock[3]
    shop.stock |= {5: 0, 20: 1}
    shop.publish()
    shop.sync("second")
    return Stores(shop.folder / "first", shop.folder / "second")


@pytest.fixture
def stores(made: Stores, tmp_path: Path) -> Stores:
    """Copies of their own."""
    copies = [shutil.copytree(each, tmp_path / each.name) for each in (made.first, made.second)]
    return Stores(*copies)


@pytest.fixture
def service(stores: Stores) -> StoreService:
    return StoreService(stores.first)


@pytest.fixture
def address(service: StoreService) -> Iterator[str]:
    with answering(service) as found:
        yield found
