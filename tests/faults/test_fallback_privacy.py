"""What leaves a device that may ask a server is what was allowed, to the byte, and listed."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from tests.making.colour_bundle import DIM
from tests.making.fallback_privacy import searched
from tests.making.tiles import TileShop

from pocketlens import Fallback, install
from pocketlens.errors import QueryError

SEARCHES = 25  # benchmarks/faults/privacy.py makes 1,000 of each kind


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shop = TileShop(tmp_path_factory.mktemp("shop") / "shop", dict.fromkeys(range(6), 1))
    shop.publish()
    root = shop.public / "metadata" / "1.root.json"
    install(shop.folder / "device", server=str(shop.public), root=root, clock=lambda: shop.now)
    return shop.folder / "device"


def test_where_no_answer_is_needed_nobody_is_connected_to(store: Path, tmp_path: Path) -> None:
    told = searched(store, tmp_path, "not needed", count=SEARCHES)

    assert (told.answered, told.wire_bytes, told.unlisted, told.logged) == (0, 0, 0, [])


def test_an_embedding_is_all_that_leaves(store: Path, tmp_path: Path) -> None:
    told = searched(store, tmp_path, "embedding", count=SEARCHES)

    assert told.answered == SEARCHES
    assert (told.traces, told.unexpected, told.unlisted, told.logged) == ([], [], 0, [])
    assert told.sent_bytes < SEARCHES * (4 * DIM + 60)


def test_a_photo_that_leaves_is_a_small_copy_of_pixels(store: Path, tmp_path: Path) -> None:
    told = searched(store, tmp_path, "photo", count=SEARCHES)

    assert told.answered == SEARCHES
    assert (told.traces, told.unexpected, told.unlisted, told.logged) == ([], [], 0, [])


def test_no_photo_leaves_without_consent() -> None:
    with pytest.raises(QueryError, match="photo_consent"):
        Fallback("shop.example:8443", send="photo")
