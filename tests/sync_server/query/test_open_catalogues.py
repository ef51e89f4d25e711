"""A catalogue that is asked about: what is slow or fails in it holds up nobody else."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pytest
from tests.making.colour_bundle import DIM, colour_bundle
from tests.making.tiles import TileShop

from pocketlens.errors import BundleError, ModelUnsupported, ServerError, ServerUnavailable
from pocketlens.formats import bundle as bundles
from pocketlens.query.filters import Filter
from pocketlens.results import Pipeline
from pocketlens_server.folders import Tables
from pocketlens_server.query.appraising import Wish
from pocketlens_server.query.exact_store import ExactStore
from pocketlens_server.query.galleries import BundleVectors, Gallery
from pocketlens_server.query.matching import Asked, Terms
from pocketlens_server.query.open_catalogues import OpenCatalogue, Searched
from pocketlens_server.query.precise import RETRY_SECONDS, Precise
from pocketlens_server.query.settings import QuerySettings
from pocketlens_server.query.shared_models import SharedModel
from pocketlens_server.telemetry import Telemetry

BUNDLE = replace(bundles.decode(colour_bundle(name="first")), float_model_sha256=b"\1" * 32)


class Vectors:
    """The bundle's; what is called before they are there may take long, or raise."""

    def __init__(self, prepare: Callable[[], object]) -> None:
        self._prepare, self._vectors = prepare, BundleVectors(1)

    def prepare(self, pictures: Iterable[bytes]) -> None:
        self._prepare()

    def vectors(self, tables: Tables, pictures: Sequence[bytes]) -> npt.NDArray[np.float32]:
        return self._vectors.vectors(tables, pictures)


@pytest.fixture
def shop(tmp_path: Path) -> TileShop:
    made = TileShop(tmp_path / "shop", dict.fromkeys(range(3), 1))
    made.publish()
    made.catalogue.floats.mkdir()
    (made.catalogue.floats / f"{BUNDLE.float_model_sha256.hex()}.keras").write_bytes(b"")
    return made


def searched(
    shop: TileShop,
    prepare: Callable[[], object] = lambda: None,
    open_: Callable[[], NoReturn] | None = None,
    pipeline: Pipeline = "photo",
) -> Searched:
    def never() -> NoReturn:
        raise AssertionError

    gallery = Gallery(shop.catalogue, Vectors(prepare), ExactStore(DIM))
    terms = Terms("00" * 32, pipeline, None, 0.97)
    return Searched(gallery, SharedModel(open_ or never), terms, QuerySettings(), Telemetry())


@contextmanager
def held() -> Iterator[Callable[[], None]]:
    """What is called waits until the body is left, in which the loop's threads are one."""
    may_go = threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))

    def hold() -> None:
        assert may_go.wait(60)

    try:
        yield hold
    finally:
        may_go.set()


async def others_go_on() -> None:
    await asyncio.sleep(0.05)
    await asyncio.wait_for(asyncio.to_thread(lambda: None), 10)


async def followed(precise: Precise) -> None:
    """Lets it follow, and waits until it has."""
    precise.follow()
    async with asyncio.timeout(30):
        while precise.is_following:
            await asyncio.sleep(0.01)


def test_a_gallery_that_is_filled_takes_no_thread_of_others(shop: TileShop) -> None:
    async def run() -> None:
        with held() as hold:
            precise = Precise(shop.catalogue, BUNDLE, lambda *_: searched(shop, hold))
            precise.follow()
            await others_go_on()
        await precise.close()

    asyncio.run(run())


def test_a_model_that_is_loaded_takes_no_thread_of_others(shop: TileShop) -> None:
    async def run() -> None:
        with held() as hold:

            def load() -> NoReturn:
                hold()
                raise ModelUnsupported("After a long time.")

            found = searched(shop, open_=load)
            waiting = [asyncio.create_task(found.model()) for _ in range(3)]
            await others_go_on()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(each) for each in told} == {ModelUnsupported}
        await found.close()

    asyncio.run(run())


def test_a_gallery_that_cannot_be_filled_is_tried_again_later(shop: TileShop) -> None:
    now, tries = 100.0, list[float]()

    def lost() -> None:
        tries.append(now)
        if len(tries) < 3:
            raise ServerError("A picture was lost.")

    async def run() -> None:
        nonlocal now
        made = Precise(shop.catalogue, BUNDLE, lambda *_: searched(shop, lost), clock=lambda: now)
        while made.at(1) is None:
            await followed(made)
            now += RETRY_SECONDS / 4
        await made.close()

    asyncio.run(run())
    assert tries == [100 + RETRY_SECONDS * each for each in range(3)]


def test_what_fails_by_the_system_is_opened_later(shop: TileShop) -> None:
    """And what is no model is not tried again."""
    now, errors = 100.0, [OSError("Too many open files"), ModelUnsupported("None.")]

    def make(*_: object) -> Searched:
        raise errors.pop(0)

    async def run() -> None:
        nonlocal now
        made = Precise(shop.catalogue, BUNDLE, make, clock=lambda: now)
        for left in (1, 1, 0, 0):
            await followed(made)
            assert len(errors) == left
            now += RETRY_SECONDS / 2
        await made.close()

    asyncio.run(run())


def test_where_the_float_model_fails_the_bundle_answers(shop: TileShop) -> None:
    now, asked = 100.0, list[str]()

    async def look(found: Searched) -> str:
        asked.append(found.pipeline)
        if found.pipeline == "photo" and len(asked) == 1:
            raise BundleError("The model has no room.")
        return found.pipeline

    async def run() -> None:
        nonlocal now
        made = Precise(shop.catalogue, BUNDLE, lambda *_: searched(shop), clock=lambda: now)
        bundles = searched(shop, pipeline="embedding")
        bundles.gallery.follow()
        opened = OpenCatalogue(shop.catalogue, {b"a generation": 1}, {1: bundles}, made)
        await followed(made)
        assert opened.best.pipeline == "photo"
        answered = []
        for seconds in (0, 0, RETRY_SECONDS):
            now += seconds
            answered.append(await opened.seen(look))
        await opened.close()
        assert answered == ["embedding", "embedding", "photo"]
        assert asked == ["photo", "embedding", "embedding", "photo"]

    asyncio.run(run())


def test_where_the_bundle_fails_it_is_told(shop: TileShop) -> None:
    async def look(found: Searched) -> str:
        raise BundleError(found.pipeline)

    async def run() -> None:
        made = Precise(shop.catalogue, BUNDLE, lambda *_: searched(shop))
        bundles = searched(shop, pipeline="embedding")
        opened = OpenCatalogue(shop.catalogue, {b"a generation": 1}, {1: bundles}, made)
        with pytest.raises(BundleError, match="embedding"):
            await opened.seen(look)
        await opened.close()

    asyncio.run(run())


def test_who_comes_to_one_that_was_closed_is_to_come_again(shop: TileShop) -> None:
    async def run() -> None:
        found, vector = searched(shop), np.eye(DIM, dtype="f4")[0]
        await found.close()
        for late in (
            found.model(),
            found.facts(),
            found.matches(Asked(vector, 1)),
            found.estimate(Wish(vector, Filter())),
            found.categories.newest(),
        ):
            with pytest.raises(ServerUnavailable, match="again"):
                await late

    asyncio.run(run())
