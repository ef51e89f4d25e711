"""Streams take turns, whatever the others send, and what was taken is answered."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.making.backend_shop import NOW, backend_folder, sent

from pocketlens.products import Product
from pocketlens_server.catalogue.decoding import Decoders
from pocketlens_server.catalogue.live import BATCH, TURN, LiveCatalogue
from pocketlens_server.catalogue.operations import PatchProduct, PutProduct
from pocketlens_server.catalogue.results import Outcome, Result
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.telemetry import Telemetry


@pytest.fixture
def folder(tmp_path: Path) -> CatalogueFolder:
    return backend_folder(tmp_path / "main")


@asynccontextmanager
async def living(folder: CatalogueFolder) -> AsyncIterator[LiveCatalogue]:
    with Decoders(workers=1) as decoders:
        telemetry = Telemetry()
        live = LiveCatalogue(folder, clock=lambda: NOW, decoders=decoders, telemetry=telemetry)
        live.start()
        try:
            yield live
        finally:
            await live.stop()


def test_nobody_waits_for_the_thousands_of_others(folder: CatalogueFolder) -> None:
    """More streams than have a turn in one batch, each with more than one turn to send."""
    streams, each_sends = 3 * BATCH // TURN, 2 * TURN

    async def order_of_answers() -> list[int]:
        async with living(folder) as live:
            job = (await live.change(lambda: live.ingest.open(caller="shop"))).number
            order, futures = list[int](), list[asyncio.Future[Outcome]]()
            for stream in range(streams):
                for _ in range(each_sends):
                    future = live.submitted(stream, sent(job, PutProduct(Product(f"p{stream}"))))
                    future.add_done_callback(lambda _, stream=stream: order.append(stream))
                    futures.append(future)
            await asyncio.gather(*futures)
            await asyncio.sleep(0)
            return order

    order = asyncio.run(order_of_answers())

    assert len(order) == streams * each_sends
    firsts = [order.index(stream) for stream in range(streams)]
    assert max(firsts) < streams * TURN  # each has had a turn before anybody's second


def test_one_stream_is_answered_in_its_order(folder: CatalogueFolder) -> None:
    async def outcomes() -> list[Outcome]:
        async with living(folder) as live:
            job = (await live.change(lambda: live.ingest.open(caller="shop"))).number
            live.submitted("one", sent(job, PutProduct(Product("mug"))))
            patches = (PatchProduct("mug", stock=number) for number in range(2 * BATCH))
            futures = [live.submitted("one", sent(job, each)) for each in patches]
            return await asyncio.gather(*futures)

    assert {each.result for each in asyncio.run(outcomes())} == {Result.APPLIED}


def test_what_was_taken_is_answered_before_it_stops(folder: CatalogueFolder) -> None:
    async def outcomes() -> list[Outcome]:
        async with living(folder) as live:
            job = (await live.change(lambda: live.ingest.open(caller="shop"))).number
            puts = [sent(job, PutProduct(Product(f"p{number}"))) for number in range(BATCH + 1)]
            futures = [live.submitted("one", each) for each in puts]
        return await asyncio.gather(*futures)

    assert len(asyncio.run(outcomes())) == BATCH + 1


def test_an_error_of_a_batch_is_told_to_all_of_it_and_the_next_goes_on(
    folder: CatalogueFolder,
) -> None:
    async def results() -> list[Outcome | BaseException]:
        async with living(folder) as live:
            job = (await live.change(lambda: live.ingest.open(caller="shop"))).number
            bad = sent(job, PutProduct(Product("mug")), revision="no number")  # type: ignore[arg-type]
            futures = [live.submitted("one", bad), live.submitted("two", sent(job, bad.operation))]
            failed = await asyncio.gather(*futures, return_exceptions=True)
            after = await live.submitted("two", sent(job, PutProduct(Product("mug"))))
            return [*failed, after]

    first, second, after = asyncio.run(results())

    assert "Send it again" in str(first)
    assert "Send it again" in str(second)
    assert isinstance(after, Outcome)
    assert after.result is Result.APPLIED
