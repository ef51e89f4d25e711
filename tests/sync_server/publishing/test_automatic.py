"""Versions that are published by themselves: when it is due, and not more often."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.making.tiles import TileShop

from pocketlens.products import Product
from pocketlens_server.catalogue.batches import Arrived, Request
from pocketlens_server.catalogue.ingest import Ingest
from pocketlens_server.catalogue.live_catalogues import LiveCatalogues
from pocketlens_server.catalogue.operations import PutProduct
from pocketlens_server.catalogue.pushing import push
from pocketlens_server.catalogue.targets import LocalTarget
from pocketlens_server.clocks import SteadyClock, elapsed_seconds
from pocketlens_server.folders import CatalogueFolder, ServerFolder
from pocketlens_server.publishing import models, releasing
from pocketlens_server.publishing.automatic import AutoPublish, Unpublished
from pocketlens_server.publishing.scheduling import publish_when_due
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT


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


@pytest.fixture
def shop(tmp_path: Path) -> TileShop:
    made = TileShop(tmp_path / "shop", dict.fromkeys(range(8), 1), now=datetime.now(UTC))
    made.publish()
    set_policy(made.catalogue, after_operations=2)
    return made


def set_policy(folder: CatalogueFolder, **values: float) -> None:
    """Settings by which versions follow each other at once, but for what is given."""
    policy = {"at_most_every_seconds": 0, **values}
    lines = [f"{name} = {value}" for name, value in policy.items()]
    (folder.folder / "settings.toml").write_text("\n".join(["[publishing]", *lines, ""]))


@asynccontextmanager
async def publishing(
    shop: TileShop,
    retry_seconds: float = 0.05,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[LiveCatalogues]:
    """The catalogues of a shop's server, which look after themselves."""
    folder = ServerFolder(shop.folder / "server")
    lives = LiveCatalogues(folder, clock=lambda: datetime.now(UTC))
    lives.start()
    task = asyncio.create_task(
        publish_when_due(
            lives,
            clock=clock,
            look_seconds=0.05,
            retry_seconds=retry_seconds,
        )
    )
    try:
        yield lives
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await lives.stop()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.02)


def test_a_server_publishes_what_comes_and_nothing_twice(shop: TileShop) -> None:
    versions = asyncio.run(versions_after(shop, ["mug", "cup", "pot", "pan"]))

    assert versions == [2, 3]
    assert shop.sync("device").version == 3


async def versions_after(shop: TileShop, products: list[str]) -> list[int]:
    """Puts two products, waits for the version that has them, and so on; then looks for more."""
    async with publishing(shop) as lives:
        live = lives.get("main")
        job = await live.change(lambda: live.ingest.open(caller="test"))
        versions = list[int]()
        for number in range(0, len(products), 2):
            for name in products[number : number + 2]:
                put = PutProduct(Product(name))
                request = Request(name, name.encode().ljust(16))
                await live.submitted("stream", Arrived(job.number, put, request=request))
            await until(lambda: head(shop.catalogue) >= 2 + len(versions))
            versions.append(head(shop.catalogue))
    assert head(shop.catalogue) == versions[-1]
    return versions


def head(folder: CatalogueFolder) -> int:
    with folder.reading() as tables:
        return tables.history.head


def nothing_waits(folder: CatalogueFolder) -> bool:
    with folder.reading() as tables:
        return not any(tables.history.waiting(kind) for kind in (PRODUCT, OFFER, IMAGE))


def feed_that_names_half(folder: CatalogueFolder) -> None:
    ingest = Ingest(folder, clock=lambda: datetime.now(UTC))
    feed = ingest.open(caller="shop", is_full_feed=True).number
    for number in range(4):
        ingest.submit([Arrived(feed, PutProduct(Product(f"sku-{number}")))])
    ingest.replace(feed, caller="shop", lost_share=1)


def two_products(folder: CatalogueFolder) -> None:
    ingest = Ingest(folder, clock=lambda: datetime.now(UTC))
    job = ingest.open(caller="local").number
    ingest.submit([Arrived(job, PutProduct(Product(name))) for name in ("mug", "cup")])


def rollback(folder: CatalogueFolder) -> None:
    releasing.roll_back(folder, 1)


@pytest.mark.parametrize("change", [feed_that_names_half, two_products, rollback])
def test_what_no_stream_brought_is_published_too(
    shop: TileShop, change: Callable[[CatalogueFolder], None]
) -> None:
    """The deletes of a full feed, the push of a command beside the server, a rollback."""
    if change is rollback:
        two_products(shop.catalogue)
        shop.now = datetime.now(UTC)
        releasing.publish(shop.catalogue, now=shop.now, rng=np.random.default_rng(0))
    settings = shop.catalogue.folder / "settings.toml"
    settings.write_text(f"{settings.read_text()}[gates]\nlost_share = 1.0\n")
    before = head(shop.catalogue)

    async def published() -> None:
        async with publishing(shop):
            await asyncio.to_thread(change, shop.catalogue)
            await until(lambda: head(shop.catalogue) > before and nothing_waits(shop.catalogue))

    asyncio.run(published())


def test_a_version_that_was_held_is_tried_again(
    shop: TileShop, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing new comes meanwhile: an operator lets it pass."""
    settings = shop.catalogue.folder / "settings.toml"
    policy = settings.read_text()
    settings.write_text(f"{policy}[gates]\nlost_share = 0.1\nlost_least = 0\n")

    feed_that_names_half(shop.catalogue)

    async def published() -> None:
        async with publishing(shop):
            await until(lambda: caplog.text.count("publish.failed") >= 2)
            assert head(shop.catalogue) == 1
            settings.write_text(f"{policy}[gates]\nlost_share = 1.0\n")
            await until(lambda: head(shop.catalogue) == 2)

    asyncio.run(published())


@pytest.fixture
def toys(shop: TileShop) -> CatalogueFolder:
    """Another catalogue of the same server, at its first version."""
    made = ServerFolder(shop.folder / "server").add_catalogue("toys", now=shop.now)
    models.add_model(made, shop.folder / "first.tflite", now=shop.now)
    push(LocalTarget(made, clock=lambda: shop.now), shop.folder / "list.csv")
    releasing.publish(made, now=shop.now, rng=np.random.default_rng(0))
    set_policy(made, after_operations=1)
    return made


async def published_thrice(folder: CatalogueFolder) -> None:
    """Three versions, one after the other: the server looks at every catalogue meanwhile."""
    ingest = Ingest(folder, clock=lambda: datetime.now(UTC))
    job = ingest.open(caller="local").number
    for version in (2, 3, 4):
        arrived = Arrived(job, PutProduct(Product(f"of version {version}")))
        await asyncio.to_thread(ingest.submit, [arrived])
        await until(lambda: head(folder) >= version)  # noqa: B023 # called before it changes


def test_tries_keep_the_least_time_between_versions(
    shop: TileShop, toys: CatalogueFolder, caplog: pytest.LogCaptureFixture
) -> None:
    set_policy(shop.catalogue, after_operations=2, at_most_every_seconds=1000)
    settings = shop.catalogue.folder / "settings.toml"
    settings.write_text(f"{settings.read_text()}[gates]\nlost_share = 0.1\nlost_least = 0\n")

    feed_that_names_half(shop.catalogue)

    async def tries() -> int:
        async with publishing(shop):
            await until(lambda: "publish.failed" in caplog.text)
            await published_thrice(toys)
            return caplog.text.count("publish.failed")

    assert asyncio.run(tries()) == 1


def test_a_version_that_takes_long_holds_up_no_other_catalogue(
    shop: TileShop, toys: CatalogueFolder
) -> None:
    two_products(shop.catalogue)
    ended = threading.Event()

    async def published() -> None:
        async with publishing(shop) as lives:
            long = asyncio.create_task(lives.get("main").publish(ended.wait))
            try:
                await published_thrice(toys)
                assert head(shop.catalogue) == 1
            finally:
                ended.set()
            await long
            await until(lambda: head(shop.catalogue) == 2)

    asyncio.run(published())


def test_settings_that_cannot_be_read_are_not_told_with_every_look(
    shop: TileShop, toys: CatalogueFolder, caplog: pytest.LogCaptureFixture
) -> None:
    (shop.catalogue.folder / "settings.toml").write_text("[publishing")

    async def told() -> int:
        async with publishing(shop, retry_seconds=1000):
            await until(lambda: "publish.failed" in caplog.text)
            await published_thrice(toys)
            return caplog.text.count("publish.failed")

    assert asyncio.run(told()) == 1


def test_nothing_is_published_by_a_clock_that_has_jumped(
    shop: TileShop, caplog: pytest.LogCaptureFixture
) -> None:
    ahead = timedelta()
    clock = SteadyClock(wall=lambda: datetime.now(UTC) + ahead, elapsed=elapsed_seconds)
    two_products(shop.catalogue)

    async def published() -> None:
        nonlocal ahead
        ahead = timedelta(days=100)
        async with publishing(shop, clock=clock.now):
            await until(lambda: "clock.suspect" in caplog.text)
            assert head(shop.catalogue) == 1
            ahead = timedelta()
            await until(lambda: head(shop.catalogue) == 2)

    asyncio.run(published())

    assert "publish.failed" not in caplog.text
