"""Where a push goes: a folder and a server's address promise the same."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep

import pytest
from tests.making.backend_shop import backend_folder
from tests.making.fault_proxy import FaultProxy
from tests.making.serving import serving
from tests.making.tiles import TileShop, tile

from pocketlens.errors import Conflict, InvalidOperation, ServerError, ServerUnavailable
from pocketlens.products import Image, Product
from pocketlens_server.catalogue.ingest import Ingest
from pocketlens_server.catalogue.targets import Change, LocalTarget, Target
from pocketlens_server.client import (
    CatalogueClient,
    KeepImage,
    PutImage,
    PutProduct,
    Refusal,
    Result,
)
from pocketlens_server.client.connections import Patience
from pocketlens_server.folders import MAIN, ServerFolder
from pocketlens_server.publishing import comparing
from pocketlens_server.storage.jobs import Job, JobKind, JobState

SOON = Patience(seconds=20, first_seconds=0.05, longest_seconds=0.2)
Opened = Callable[[ServerFolder], Target]


@contextmanager
def local(server: ServerFolder) -> Iterator[Target]:
    yield LocalTarget(server.catalogue(MAIN), clock=lambda: datetime.now(UTC))


@contextmanager
def remote(server: ServerFolder) -> Iterator[Target]:
    with serving(server.path) as address, CatalogueClient(address.grpc) as client:
        yield client.target()


@pytest.fixture
def shop(tmp_path: Path) -> TileShop:
    return TileShop(tmp_path / "shop", {}, now=datetime.now(UTC))


@pytest.fixture(params=[local, remote])
def target(request: pytest.FixtureRequest, shop: TileShop) -> Iterator[Target]:
    with request.param(ServerFolder(shop.folder / "server")) as opened:
        yield opened


@pytest.fixture(params=[local, remote])
def without_model(request: pytest.FixtureRequest, server: ServerFolder) -> Iterator[Target]:
    with request.param(server) as opened:
        yield opened


def test_changes_are_answered_in_their_order_and_hold(shop: TileShop, target: Target) -> None:
    changes = [product("mug"), image("mug-1", 1), image("mug-2", 2), product("cup")]
    job = target.open(is_full_feed=False, expected=4)
    answers = list(target.send(job, changes))
    seen: list[tuple[int, int]] = []
    ended = target.finish(job, progress=lambda stage, done, total: seen.append((done, total)))

    assert [change for change, _ in answers] == [replace(each, picture=None) for each in changes]
    assert [outcome.result for _, outcome in answers] == [
        Result.APPLIED,
        Result.WAITING,
        Result.WAITING,
        Result.APPLIED,
    ]
    assert (job.kind, job.state, ended.state) == (JobKind.INGEST, JobState.OPEN, JobState.DONE)
    assert (ended.counters.expected, ended.counters.applied, ended.counters.embedded) == (4, 4, 2)
    assert seen[-1] == (2, 2)
    found = comparing.status(shop.catalogue)
    assert (found.waiting_products, found.waiting_images, found.waiting_pictures) == (2, 2, 0)


def test_a_picture_that_is_known_is_reused(target: Target) -> None:
    pushed(target, [product("mug"), image("mug-1", 1)])

    [(_, outcome)], ended = pushed(target, [image("mug-2", 1)])

    assert (outcome.result, outcome.is_embedding_reused) == (Result.APPLIED, True)
    assert (ended.counters.reused, ended.counters.embedded) == (1, 0)


def test_more_changes_than_may_wait_are_answered_in_their_order(target: Target) -> None:
    changes = [product(f"sku-{number}") for number in range(1_200)]

    answers, ended = pushed(target, iter(changes))

    assert [change for change, _ in answers] == changes
    assert ended.counters.applied == 1_200


def test_what_is_refused_hinders_nothing(target: Target) -> None:
    changes = [image("lost-1", 1, of="lost"), product("mug"), image("mug-1", 1)]

    answers, ended = pushed(target, changes)

    assert [outcome.result for _, outcome in answers] == [
        Result.REFUSED,
        Result.APPLIED,
        Result.WAITING,
    ]
    assert "There is no product 'lost'" in answers[0][1].reason
    assert answers[0][1].refusal is Refusal.NOT_THERE_YET
    assert (ended.counters.refused, ended.counters.applied) == (1, 2)


def test_a_job_that_was_cancelled_beside_it_takes_no_more(shop: TileShop, target: Target) -> None:
    job = target.open(is_full_feed=False, expected=2)
    list(target.send(job, [product("mug")]))
    Ingest(shop.catalogue, clock=lambda: datetime.now(UTC)).cancel(job.number)

    with pytest.raises(Conflict, match="is cancelled"):
        list(target.send(job, [product("cup")]))

    assert comparing.status(shop.catalogue).waiting_products == 1


def test_a_full_feed_deletes_what_it_does_not_name(shop: TileShop, target: Target) -> None:
    pushed(target, [product("mug"), image("mug-1", 1), product("cup"), image("cup-1", 2)])

    job = target.open(is_full_feed=True, expected=2)
    list(target.send(job, [product("mug"), Change(KeepImage("mug-1"))]))
    with pytest.raises(InvalidOperation, match="more than 10% would vanish"):
        target.replace(job, lost_share=0.1)
    assert comparing.status(shop.catalogue).waiting_products == 2
    replaced = target.replace(job, lost_share=0.5)
    ended = target.finish(job, progress=nothing)

    assert (replaced.products, replaced.images) == (1, 1)
    assert (ended.kind, ended.state) == (JobKind.FULL_FEED, JobState.DONE)
    found = comparing.status(shop.catalogue)
    assert (found.waiting_products, found.waiting_images) == (1, 1)


def test_a_picture_that_is_none_is_a_dead_letter_of_its_job(shop: TileShop, target: Target) -> None:
    _, first = pushed(target, [product("mug"), Change(image("mug-1", 1).operation, b"no picture")])
    _, second = pushed(target, [Change(image("mug-2", 1).operation, b"none either")])

    for job, id_ in ((first, "mug-1"), (second, "mug-2")):
        [letter] = target.dead_letters(job)
        assert (letter.image.id, list(letter.product_ids)) == (id_, ["mug"])
        assert letter.reason
    assert comparing.status(shop.catalogue).dead_letters == 2


def test_a_job_that_is_cancelled_drops_what_waits(
    server: ServerFolder, without_model: Target
) -> None:
    job = without_model.open(is_full_feed=False, expected=0)
    list(without_model.send(job, [product("mug"), image("mug-1", 1)]))

    without_model.cancel(job)

    found = comparing.status(server.catalogue(MAIN))
    assert (found.waiting_products, found.waiting_pictures) == (1, 0)
    with server.catalogue(MAIN).reading() as tables:
        assert tables.jobs.get(job.number).state is JobState.CANCELLED


def test_a_job_that_is_abandoned_keeps_what_waits(
    server: ServerFolder, without_model: Target
) -> None:
    job = without_model.open(is_full_feed=False, expected=0)
    list(without_model.send(job, [product("mug"), image("mug-1", 1)]))

    without_model.abandon(job)

    assert comparing.status(server.catalogue(MAIN)).waiting_pictures == 1
    again = without_model.open(is_full_feed=False, expected=0)
    [(_, outcome)] = without_model.send(again, [image("mug-1", 1)])
    assert outcome.result is Result.WAITING


def test_pictures_of_many_changes_are_not_in_memory_together(tmp_path: Path) -> None:
    folder = backend_folder(tmp_path / "main")
    target = LocalTarget(folder, clock=lambda: datetime.now(UTC))
    job = target.open(is_full_feed=False, expected=0)

    def changes() -> Iterator[Change]:
        yield product("mug")
        for number in range(40):
            yield Change(image(f"mug-{number}", 1).operation, bytes([number]) * (1 << 20))

    tracemalloc.start()
    try:
        answers = list(target.send(job, changes()))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert [outcome.result for _, outcome in answers[1:]] == [Result.WAITING] * 40
    assert peak_bytes < 10 << 20


def test_a_job_is_not_cancelled_for_long_at_a_server_that_is_gone(server: ServerFolder) -> None:
    with (
        FaultProxy(1) as proxy,
        serving(server.path) as address,
        CatalogueClient(f"127.0.0.1:{proxy.port}") as client,  # patient for a minute
    ):
        proxy.target = address.port
        target = client.target()
        job = target.open(is_full_feed=False, expected=0)
        proxy.target = 1
        proxy.cut()
        began = monotonic()
        with pytest.raises(ServerUnavailable):
            target.cancel(job)

        assert monotonic() - began < 20


def test_a_feed_that_was_replaced_is_finished_over_a_connection_that_broke(
    server: ServerFolder,
) -> None:
    with (
        serving(server.path) as address,
        FaultProxy(address.port) as proxy,
        CatalogueClient(f"127.0.0.1:{proxy.port}", patience=SOON) as client,
    ):
        target = client.target()
        job = target.open(is_full_feed=True, expected=1)
        list(target.send(job, [product("mug")]))
        target.replace(job, lost_share=1)
        proxy.cut()
        while any(
            each.name == "operations" and each.is_alive() for each in threading.enumerate()
        ):  # until the stream has been opened again, in vain
            sleep(0.01)

        assert target.finish(job, progress=nothing).state is JobState.DONE


def test_nothing_waits_for_a_model_that_is_not_there(
    server: ServerFolder, without_model: Target
) -> None:
    job = without_model.open(is_full_feed=False, expected=0)
    list(without_model.send(job, [product("mug"), image("mug-1", 1)]))

    with pytest.raises(ServerError, match="Expected a model"):
        without_model.finish(job, progress=nothing)

    assert comparing.status(server.catalogue(MAIN)).waiting_pictures == 1


def product(id_: str) -> Change:
    return Change(PutProduct(Product(id_, title=id_.title())))


def image(id_: str, number: int, *, of: str = "") -> Change:
    """A tile that shows the product before the dash."""
    return Change(PutImage(Image(id_), b"", (of or id_.partition("-")[0],)), tile(number))


def pushed(target: Target, changes: Iterable[Change]) -> tuple[list, Job]:
    job = target.open(is_full_feed=False, expected=0)
    answers = list(target.send(job, changes))
    return answers, target.finish(job, progress=nothing)


def nothing(stage: str, done: int, total: int) -> None:
    pass
