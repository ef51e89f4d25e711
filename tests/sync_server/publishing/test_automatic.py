"""Versions that are published by themselves: when it is due, and not more often."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.making.tiles import TileShop

from pocketlens.products import Product
from pocketlens_server.catalogue.batches import Arrived, Request
from pocketlens_server.catalogue.lives import LiveCatalogues
from pocketlens_server.catalogue.operations import PutProduct
from pocketlens_server.folders import ServerFolder
from pocketlens_server.publishing.automatic import AutoPublish, Unpublished
from pocketlens_server.publishing.scheduling import publish_when_due


@pytest.mark.parametrize(
    ("policy", "unpublished", "is_due"),
    [
        (AutoPublish(), Unpublished(10_000, 10_000, 10_000), False),
        (AutoPublish(after_operations=10), Unpublished(9, 10_000, 10_000), False),
        (AutoPublish(after_operations=10), Unpublished(10, 0, 300), True),
        (AutoPublish(after_operations=10), Unpublished(10, 0, 299), False),
        (AutoPublish(after_seconds=60), Unpublished(1, 59, 10_000), False),
        (AutoPublish(after_seconds=60), Unpublished(1, 60, 10_000), True),
        (AutoPublish(after_seconds=60), Unpublished(0, 60, 10_000), False),
        (AutoPublish(5, 60), Unpublished(1, 60, 10_000), True),
        (AutoPublish(5, 60, at_most_every_seconds=0), Unpublished(5, 0, 0), True),
    ],
)
def test_a_version_is_due(policy: AutoPublish, unpublished: Unpublished, is_due: bool) -> None:
    assert policy.is_due(unpublished) == is_due


def test_a_server_publishes_what_comes_and_nothing_twice(tmp_path: Path) -> None:
    shop = TileShop(tmp_path / "shop", dict.fromkeys(range(8), 1), now=datetime.now(UTC))
    shop.publish()
    text = "[publishing]\nafter_operations = 2\nat_most_every_seconds = 0\n"
    (shop.catalogue.folder / "settings.toml").write_text(text)

    versions = asyncio.run(versions_after(shop, ["mug", "cup", "pot", "pan"]))

    assert versions == [2, 3]
    assert shop.sync("device").version == 3


async def versions_after(shop: TileShop, products: list[str]) -> list[int]:
    """Puts two products, waits for the version that has them, and so on; then looks for more."""
    lives = LiveCatalogues(ServerFolder(shop.folder / "server"), clock=lambda: datetime.now(UTC))
    lives.start()
    task = asyncio.create_task(
        publish_when_due(lives, clock=lambda: datetime.now(UTC), look_seconds=0.05)
    )
    live = lives.get("main")
    job = await live.change(lambda: live.ingest.open(caller="test"))
    versions = []
    for number in range(0, len(products), 2):
        for name in products[number : number + 2]:
            put = PutProduct(Product(name))
            request = Request(name, name.encode().ljust(16))
            await live.submitted("stream", Arrived(job.number, put, request=request))
        async with asyncio.timeout(20):
            while head(shop) < 2 + number // 2:
                await asyncio.sleep(0.02)
        versions.append(head(shop))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await lives.stop()
    assert head(shop) == versions[-1]
    return versions


def head(shop: TileShop) -> int:
    with shop.catalogue.reading() as tables:
        return tables.history.head
