"""Who reads while a version is published finds the one before or the new one, whole."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from tests.making.public_readers import read_while
from tests.making.tiles import TileShop

PUBLISHES, READERS = 20, 8


def test_readers_find_every_name_that_they_are_given(tmp_path: Path) -> None:
    shop = TileShop(tmp_path / "shop", dict.fromkeys(range(4), 0))
    shop.publish()

    def publish() -> None:
        for number in range(PUBLISHES):
            shop.stock[number % 4] += 1
            shop.publish()

    outcomes = read_while(shop.public, publish, readers=READERS)

    assert outcomes.wrong == ()
    assert outcomes.reads >= READERS
    assert len(outcomes.versions) > 1
