"""Streams take turns, whatever the others send, and what was taken is answered."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import pytest
from tests.making.backend_shop import NOW, backend_folder, sent

from pocketlens.errors import Conflict, NotFound, PocketLensError, ServerError, ServerUnavailable
from pocketlens.products import Product
from pocketlens_server.catalogue import live_catalogue as living_catalogue
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.catalogue.live_catalogue import BATCH, TURN, LiveCatalogue
from pocketlens_server.catalogue.operations import PatchProduct, PutProduct
from pocketlens_server.catalogue.results import Outcome, Result
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.storage.jobs import Job, JobState
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


def test_the_end_of_a_job_is_told_to_those_who_go_on_with_it_alone(folder: CatalogueFolder) -> None:
    async def results() -> list[Outcome | BaseException]:
        async with living(folder) as live:
            ended, job = [
                (await live.change(lambda: live.ingest.open(caller="shop"))).number
                for _ in range(2)
            ]
            await live.change(lambda: live.ingest.cancel(ended))
            futures = [
                live.submitted(each, sent(each, PutProduct(Product(name))))
                for name, each in (("mug", job), ("cup", ended), ("pot", job))
            ]
            return await asyncio.gather(*futures, return_exceptions=True)

    before, conflict, behind = asyncio.run(results())

    assert isinstance(conflict, Conflict)
    assert [each.result for each in (before, behind)] == [Result.APPLIED] * 2


def test_what_was_taken_is_answered_before_it_stops(folder: CatalogueFolder) -> None:
    async def outcomes() -> list[Outcome]:
        async with living(folder) as live:
            job = (await live.change(lambda: live.ingest.open(caller="shop"))).number
            puts = [sent(job, PutProduct(Product(f"p{number}"))) for number in range(BATCH + 1)]
            futures = [live.submitted("one", each) for each in puts]
        return await asyncio.gather(*futures)

    assert len(asyncio.run(outcomes())) == BATCH + 1


def test_a_bug_that_one_operation_meets_is_told_to_it_alone(
    folder: CatalogueFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of its batch, before and behind it, are answered as if it were not there."""

    async def results() -> list[Outcome | BaseException]:
        async with living(folder) as live:
            job = (await live.change(lambda: live.ingest.open(caller="shop"))).number
            bad = sent(job, PutProduct(Product("pot")), revision="no number")  # type: ignore[arg-type]
            good = [sent(job, PutProduct(Product(name))) for name in ("mug", "cup")]
            futures = [
                live.submitted(stream, each)
                for stream, each in enumerate([good[0], bad, good[1], good[0]])
            ]
            return await asyncio.gather(*futures, return_exceptions=True)

    before, failed, behind, again = asyncio.run(results())

    assert "Send it again" in str(failed)
    assert "TypeError" in caplog.text
    told = [each.result for each in (before, behind, again) if isinstance(each, Outcome)]
    assert told == [Result.APPLIED, Result.APPLIED, Result.UNCHANGED]


def test_whoever_waits_for_a_job_does_not_ask_with_every_change(folder: CatalogueFolder) -> None:
    waiters, changes = 5, 200

    async def looks() -> tuple[int, float]:
        async with living(folder) as live:
            job = (await live.change(lambda: live.ingest.open(caller="shop"))).number
            await live.submitted("one", sent(job, PutProduct(Product("mug"))))
            asked, ask = [0], live.job

            def counting(number: int) -> Job:
                asked[0] += 1
                return ask(number)

            live.job = counting  # type: ignore[method-assign] # the same, counted
            waiting = [asyncio.create_task(live.wait_for(job, seconds=60)) for _ in range(waiters)]
            began = perf_counter()
            for stock in range(changes):
                await live.submitted("one", sent(job, PatchProduct("mug", stock=stock)))
            took, looked = perf_counter() - began, asked[0]
            await live.change(lambda: live.ingest.close(job))
            ended = await asyncio.gather(*waiting)
            assert {each.state for each in ended} == {JobState.DONE}
            return looked, took

    looked, took = asyncio.run(looks())

    assert looked <= waiters * (8 + took / 0.25)


def test_a_job_that_does_not_end_is_told_as_it_is_in_the_end(folder: CatalogueFolder) -> None:
    async def found() -> Job:
        async with living(folder) as live:
            job = (await live.change(lambda: live.ingest.open(caller="shop"))).number
            return await live.wait_for(job, seconds=0.05)

    assert asyncio.run(found()).state is JobState.OPEN


def test_whatever_another_process_keeps_from_being_done_may_be_done_later(
    folder: CatalogueFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(living_catalogue, "_BUSY_SECONDS", 0.05)

    async def told() -> list[Job | Outcome | BaseException]:
        async with living(folder) as live:
            job = (await live.change(lambda: live.ingest.open(caller="shop"))).number
            with folder.changing():  # as a command beside the server
                return await asyncio.gather(
                    live.change(lambda: live.ingest.open(caller="shop")),
                    live.change(lambda: live.ingest.close(job)),
                    live.publish(lambda: live.ingest.cancel(job)),
                    live.submitted("one", sent(job, PutProduct(Product("mug")))),
                    return_exceptions=True,
                )

    assert [type(each) for each in asyncio.run(told())] == [ServerUnavailable] * 4


@pytest.mark.parametrize("error", [ServerError("A key is missing."), NotFound("There is none.")])
def test_what_will_not_do_better_later_is_told_as_it_is(
    folder: CatalogueFolder, error: PocketLensError
) -> None:
    def fails() -> None:
        raise error

    async def told() -> BaseException:
        async with living(folder) as live:
            (found,) = await asyncio.gather(live.change(fails), return_exceptions=True)
            assert isinstance(found, BaseException)
            return found

    assert asyncio.run(told()) is error
