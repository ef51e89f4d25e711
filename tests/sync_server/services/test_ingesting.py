"""A stream of operations is read only as far as there is room for what waits."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from tests.making.backend_shop import NOW, backend_folder

from pocketlens_protos.v1 import catalog_pb2 as nouns
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_server import callers
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.catalogue.live_catalogue import LiveCatalogue
from pocketlens_server.services.ingesting import WINDOW, WINDOW_BYTES, Ingesting
from pocketlens_server.storage.jobs import Job, JobState
from pocketlens_server.telemetry import Telemetry

Value = TypeVar("Value")
ENOUGH_TURNS = 2_000  # of a loop, for all that can be read without anything written


def operations(titles: Sequence[str]) -> list[messages.IngestRequest]:
    """A put for each title, a message each."""
    return [
        messages.IngestRequest(
            operation=messages.Operation(
                request_id=f"r{number}",
                put_product=messages.PutProduct(
                    product=nouns.Product(id=f"p{number}", title=title)
                ),
            )
        )
        for number, title in enumerate(titles)
    ]


def together(requests: Sequence[messages.IngestRequest]) -> messages.IngestRequest:
    """The operations of several messages in one."""
    several = messages.Operations(operations=[each.operation for each in requests])
    return messages.IngestRequest(operations=several)


async def read_and_answered(folder: Path, sent: list[messages.IngestRequest]) -> tuple[int, int]:
    """Messages read while nothing is written; outcomes, once it is."""
    read = 0

    async def requests() -> AsyncIterator[messages.IngestRequest]:
        nonlocal read
        yield messages.IngestRequest(catalogue="main", open=messages.OpenJob())
        for each in sent:
            read += 1
            yield each

    callers.enter(callers.INSECURE)
    with Decoders(workers=1) as decoders:
        live = LiveCatalogue(
            backend_folder(folder), clock=lambda: NOW, decoders=decoders, telemetry=Telemetry()
        )
        responses = Ingesting(live, requests()).responses()
        await anext(responses)
        following = asyncio.ensure_future(anext(responses))
        for _ in range(ENOUGH_TURNS):
            await asyncio.sleep(0)
        read_before = read
        live.start()
        answers = [await following, *[each async for each in responses]]
        await live.stop()
    outcomes = [each.outcome for each in answers if each.HasField("outcome")]
    for each in answers:
        outcomes += each.outcomes.outcomes
    assert [each.request_id for each in outcomes] == [f"r{n}" for n in range(len(outcomes))]
    return read_before, len(outcomes)


def test_a_job_is_in_use_while_a_stream_goes_on_with_it(tmp_path: Path) -> None:
    async def found() -> list[frozenset[int]]:
        callers.enter(callers.INSECURE)
        may_end = asyncio.Event()

        async def requests() -> AsyncIterator[messages.IngestRequest]:
            yield messages.IngestRequest(catalogue="main", open=messages.OpenJob())
            yield operations(["a"])[0]
            await may_end.wait()

        with Decoders(workers=1) as decoders:
            live = LiveCatalogue(
                backend_folder(tmp_path / "main"),
                clock=lambda: NOW,
                decoders=decoders,
                telemetry=Telemetry(),
            )
            live.start()
            responses = Ingesting(live, requests()).responses()
            job = (await anext(responses)).opened.number
            before, _ = live.in_use, await anext(responses)
            during = live.in_use
            with live.going_on(job):  # another stream, of a client that has lost sight of it
                may_end.set()
                async for _ in responses:
                    pass
                of_another = live.in_use
            after = live.in_use
            await live.stop()
        return [before, during, of_another, after]

    assert asyncio.run(found()) == [frozenset(), {1}, {1}, frozenset()]


class Noting(LiveCatalogue):
    """A catalogue that says when it begins to change something."""

    has_begun: threading.Event

    async def change(self, work: Callable[[], Value]) -> Value:
        def begun() -> Value:
            self.has_begun.set()
            return work()

        return await super().change(begun)


def test_a_caller_who_goes_while_a_job_is_opened_leaves_none_open(tmp_path: Path) -> None:
    async def requests() -> AsyncIterator[messages.IngestRequest]:
        yield messages.IngestRequest(catalogue="main", open=messages.OpenJob())

    async def jobs() -> list[Job]:
        callers.enter(callers.INSECURE)
        folder, may_end, writes = (
            backend_folder(tmp_path / "main"),
            threading.Event(),
            threading.Event(),
        )
        with Decoders(workers=1) as decoders:
            live = Noting(folder, clock=lambda: NOW, decoders=decoders, telemetry=Telemetry())
            live.has_begun = threading.Event()

            def long() -> None:
                with live.folder.changing():
                    writes.set()
                    may_end.wait(60)

            live.start()
            publishing = asyncio.create_task(live.publish(long))
            await asyncio.to_thread(writes.wait, 60)
            opening = asyncio.ensure_future(anext(Ingesting(live, requests()).responses()))
            await asyncio.to_thread(live.has_begun.wait, 60)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            may_end.set()
            await publishing
            await live.stop()
            return live.jobs(limit=-1, before=0)

    assert JobState.OPEN not in {each.state for each in asyncio.run(jobs())}


@pytest.mark.parametrize("is_cut", [True, False])
def test_half_a_picture_counts_as_refused_when_its_sender_can_be_told(
    is_cut: bool, tmp_path: Path
) -> None:
    """A connection that is cut looks as if the requests had ended, until something is sent."""
    put = messages.PutImage(image=nouns.Image(id="i"), product_ids=["p0"], picture_bytes=1_000)

    async def requests() -> AsyncIterator[messages.IngestRequest]:
        yield messages.IngestRequest(catalogue="main", open=messages.OpenJob())
        yield operations(["a"])[0]
        yield messages.IngestRequest(operation=messages.Operation(request_id="half", put_image=put))
        yield messages.IngestRequest(picture_part=b"half of it")

    async def found() -> tuple[list[str], Job]:
        callers.enter(callers.INSECURE)
        with Decoders(workers=1) as decoders:
            live = LiveCatalogue(
                backend_folder(tmp_path / "main"),
                clock=lambda: NOW,
                decoders=decoders,
                telemetry=Telemetry(),
            )
            live.start()
            responses = Ingesting(live, requests()).responses()
            answers = [await anext(responses), await anext(responses)]
            if is_cut:
                await anext(responses)  # which does not arrive
                await responses.aclose()
            else:
                answers += [each async for each in responses]
            job = live.job(answers[0].opened.number)
            await live.stop()
        return [each.outcome.request_id for each in answers if each.HasField("outcome")], job

    answered, job = asyncio.run(found())

    assert answered == (["r0"] if is_cut else ["r0", "half"])
    assert (job.counters.received, job.counters.refused) == ((1, 0) if is_cut else (2, 1))
    assert [each for each in (tmp_path / "main" / "pictures").rglob("*") if each.is_file()] == []


LARGE = "t" * 900_000  # refused, when it is looked at
FIT = WINDOW_BYTES // len(LARGE)


@pytest.mark.parametrize(
    ("sent", "read", "answered"),
    [
        (operations(["small"] * 300), WINDOW + 1, 300),
        (operations([LARGE] * 20), FIT + 1, 20),
        ([together(operations(["t" * 9_000] * 100))], 1, 100),
        (operations(["t" * (WINDOW_BYTES + 1), "small"]), 2, 2),
    ],
    ids=["many", "large", "together", "one that is larger"],
)
def test_no_more_is_read_than_there_is_room_for(
    sent: list[messages.IngestRequest], read: int, answered: int, tmp_path: Path
) -> None:
    assert asyncio.run(read_and_answered(tmp_path / "main", sent)) == (read, answered)
