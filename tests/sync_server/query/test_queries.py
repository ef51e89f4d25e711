"""Questions to a server's folder, in this process: what follows, what is left, what goes on."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import hashlib
import io
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import DIM
from tests.making.held_pictures import HeldPicture
from tests.making.serving import serving
from tests.making.tiles import TileShop, tile

from pocketlens.errors import NotFound, QueryError, ServerUnavailable
from pocketlens_protos.v1 import query_service_pb2 as messages
from pocketlens_protos.v1 import query_service_pb2_grpc as stubs
from pocketlens_server.callers import Scope
from pocketlens_server.folders import ServerFolder
from pocketlens_server.query import matching
from pocketlens_server.query.exact_store import ExactStore
from pocketlens_server.query.galleries import BundleVectors, Gallery
from pocketlens_server.query.matching import Asked, Terms
from pocketlens_server.query.open_catalogues import OpenCatalogue
from pocketlens_server.query.queries import Photo, Queries
from pocketlens_server.query.settings import QuerySettings
from pocketlens_server.services.query import QueryService
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT
from pocketlens_server.telemetry import Telemetry
from pocketlens_server.tokens import Tokens


@pytest.fixture
def shop(tmp_path: Path) -> TileShop:
    made = TileShop(tmp_path / "shop", dict.fromkeys(range(3), 1), now=datetime.now(UTC))
    made.publish()
    return made


@asynccontextmanager
async def questions(
    shop: TileShop, settings: QuerySettings | None = None, telemetry: Telemetry | None = None
) -> AsyncIterator[Queries]:
    queries = Queries(ServerFolder(shop.folder / "server"), settings, telemetry=telemetry)
    following = asyncio.create_task(queries.catalogues.follow())
    try:
        yield queries
    finally:
        following.cancel()
        await queries.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.01)


def embedded(telemetry: Telemetry, stage: str) -> int:
    """Photos that a stage has worked on."""
    name = "pocketlens_query_batch_photos_sum"
    return int(telemetry.registry.get_sample_value(name, {"stage": stage}) or 0)


def test_what_a_catalogue_has_is_told(shop: TileShop) -> None:
    async def run() -> None:
        async with questions(shop) as queries:
            facts = await queries.facts("main")
        assert (facts.name, facts.version, facts.products, facts.images) == ("main", 1, 3, 3)
        assert facts.categories == ()
        assert facts.as_of == shop.now

    asyncio.run(run())


def test_what_a_query_token_opens_is_read_before_anybody_asks(
    shop: TileShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, opened = OpenCatalogue.open, threading.Event()

    async def watched(*given: Any) -> OpenCatalogue:
        found = await read(*given)
        opened.set()
        return found

    monkeypatch.setattr(OpenCatalogue, "open", watched)
    server = ServerFolder(shop.folder / "server")
    with serving(server.path, asks_tokens=True):
        assert not opened.wait(1)
    with Tokens(server) as tokens:
        tokens.make([Scope.QUERY], now=datetime.now(UTC))
    with serving(server.path, asks_tokens=True):
        assert opened.wait(20)


def test_a_thumbnail_is_a_small_jpeg_and_made_once(shop: TileShop) -> None:
    async def run() -> None:
        async with questions(shop) as queries:
            data = await queries.thumbnail("main", "2.png")
            assert await queries.thumbnail("main", "2.png") is data
            for name in ("none", "", "a" * 300):
                with pytest.raises(NotFound):
                    await queries.thumbnail("main", name)
        with Image.open(io.BytesIO(data)) as picture:
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            assert max(picture.size) <= 320

    asyncio.run(run())


def test_a_picture_that_is_gone_has_no_thumbnail(shop: TileShop) -> None:
    shop.catalogue.picture(hashlib.sha256(tile(1)).digest()).unlink()

    async def run() -> None:
        async with questions(shop) as queries:
            with pytest.raises(NotFound, match="any more"):
                await queries.thumbnail("main", "1.png")

    asyncio.run(run())


def test_a_catalogue_that_was_removed_is_not_there(shop: TileShop) -> None:
    async def run() -> None:
        async with questions(shop) as queries:
            await queries.facts("main")
            shutil.rmtree(shop.catalogue.folder)

            async def is_gone() -> bool:
                try:
                    await queries.search("main", Photo(tile(1)))
                except NotFound:
                    return True
                except Exception:  # until somebody has looked
                    return False
                return False

            await until(is_gone)

    asyncio.run(run())


def test_a_new_model_takes_over_and_no_question_fails_meanwhile(shop: TileShop) -> None:
    async def run() -> None:
        async with questions(shop) as queries:
            first = await queries.search("main", Photo(tile(1)))
            await asyncio.to_thread(shop.add_model, "second")
            await asyncio.to_thread(shop.publish)

            async def has_moved() -> bool:
                found = await queries.search("main", Photo(tile(1)))
                assert found.matches[0].product.id == "sku-1"
                assert (found.version == 2) or (found.generation == first.generation)
                return found.generation != first.generation

            await until(has_moved)

    asyncio.run(run())


def test_a_version_that_history_forgot_may_be_asked_again(shop: TileShop) -> None:
    store = ExactStore(DIM)
    gallery = Gallery(shop.catalogue, BundleVectors(1), store)
    gallery.follow()
    shop.stock[0] = 7
    shop.publish()
    with shop.catalogue.changing() as tables:
        for kind in (PRODUCT, OFFER, IMAGE):
            tables.history.prune(kind, 2)
        tables.history.forget_versions(2)
    vector = np.eye(DIM, dtype=np.float32)[0]
    asked, terms = [Asked(vector, 3)], Terms("00" * 32, "embedding", None, 0.97)

    with pytest.raises(ServerUnavailable, match="Try again"):
        matching.answered(gallery, asked, terms)

    assert gallery.follow()  # the base is unknown: all of it is read anew
    (found,) = matching.answered(gallery, asked, terms)
    assert found.version == 2
    assert {match.product.stock for match in found.matches} == {1, 7}


def test_of_the_threads_that_everybody_has_reading_ahead_takes_one(shop: TileShop) -> None:
    at_once, most = set[Future[object]](), list[int]()

    class Threads(ThreadPoolExecutor):
        def submit(self, *given: object, **named: object) -> Future[object]:
            future = super().submit(*given, **named)  # type: ignore[arg-type]
            at_once.add(future)
            most.append(len(at_once))
            future.add_done_callback(at_once.discard)
            return future

    server = ServerFolder(shop.folder / "server")
    for name in ("a", "b", "c"):  # in which nothing was published
        server.add_catalogue(name, now=shop.now)

    async def run() -> None:
        asyncio.get_running_loop().set_default_executor(Threads(4))
        queries = Queries(server)
        queries.catalogues.open_ahead(server.catalogues())

        async def is_read() -> bool:  # after two looks at each, and the vectors of one
            return len(most) >= 9 and not at_once

        await until(is_read)
        assert max(most) == 1
        await queries.close()

    asyncio.run(run())


def test_whoever_is_gone_or_late_is_not_worked_on(shop: TileShop) -> None:
    """Cancelled calls and expired deadlines, of real gRPC, while the only decoder is busy."""

    async def run() -> None:
        telemetry = Telemetry()
        settings = QuerySettings(decoders=1)
        async with questions(shop, settings, telemetry) as queries, served(queries) as stub:
            request = messages.SearchRequest(catalogue="main", photo=tile(1))
            await stub.Search(request, timeout=30)
            held = hold(shop, 0)
            thumbnail = asyncio.create_task(queries.thumbnail("main", "0.png"))
            await asyncio.to_thread(held.wait_until_read)
            first = stub.Search(request, timeout=30)
            await until(lambda: counted(telemetry, "decode", 2))
            gone = [stub.Search(request, timeout=30) for _ in range(5)]
            await until(lambda: waits(queries, 5))
            for call in gone:
                call.cancel()
            await until(lambda: waits(queries, 0))
            late = [stub.Search(request, timeout=0.5) for _ in range(5)]
            await until(lambda: waits(queries, 5))
            for call in late:
                assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await until(lambda: waits(queries, 0))
            held.let_go(tile(0))
            await asyncio.gather(thumbnail, first)
            await stub.Search(request, timeout=30)

        assert embedded(telemetry, "decode") == embedded(telemetry, "embed") == 3

    asyncio.run(run())


def test_a_photo_that_is_too_large_is_told(shop: TileShop) -> None:
    async def run() -> None:
        async with questions(shop, QuerySettings(photo_bytes=100)) as queries:
            with pytest.raises(QueryError, match="at most 100 bytes"):
                await queries.search("main", Photo(bytes(101)))

    asyncio.run(run())


def test_after_its_end_nothing_is_answered(shop: TileShop) -> None:
    async def run() -> None:
        async with questions(shop) as queries:
            await queries.facts("main")
        with pytest.raises(ServerUnavailable):
            await queries.search("main", Photo(tile(1)))

    asyncio.run(run())


@asynccontextmanager
async def served(queries: Queries) -> AsyncIterator[stubs.QueryServiceStub]:
    server = grpc.aio.server()
    stubs.add_QueryServiceServicer_to_server(QueryService(queries), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            yield stubs.QueryServiceStub(channel)
        finally:
            await server.stop(1)


def hold(shop: TileShop, number: int) -> HeldPicture:
    """Puts a pipe in the place of a kept picture."""
    path = shop.catalogue.picture(hashlib.sha256(tile(number)).digest())
    path.unlink()
    return HeldPicture(path)


async def counted(telemetry: Telemetry, stage: str, count: int) -> bool:
    return embedded(telemetry, stage) == count


async def waits(queries: Queries, count: int) -> bool:
    return queries.waiting == count
