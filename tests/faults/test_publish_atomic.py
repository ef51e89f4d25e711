"""Who reads while a version is published finds the one before or the new one, whole."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.making.public_readers import read_while
from tests.making.tiles import TileShop

PUBLISHES, OVER_HTTP, OVER_GRPC = 20, 6, 2


def test_readers_find_every_name_that_they_are_given(tmp_path: Path) -> None:
    shop = TileShop(tmp_path / "shop", dict.fromkeys(range(4), 0), now=datetime.now(UTC))
    shop.publish()

    def publish() -> None:
        for number in range(PUBLISHES):
            shop.stock[number % 4] += 1
            shop.publish()

    server = shop.folder / "server"
    outcomes = read_while(server, publish, over_http=OVER_HTTP, over_grpc=OVER_GRPC)

    assert outcomes.wrong == ()
    assert outcomes.reads > 2 * (OVER_HTTP + OVER_GRPC)
    assert outcomes.reads_over_grpc > 2 * OVER_GRPC
    assert len(outcomes.versions) > 1
