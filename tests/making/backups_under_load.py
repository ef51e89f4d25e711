"""A backup made beside a server with work to do, the server restored from it, and its devices.

    found = backed_up(folder, seed=7)
    found.complaints                            # none, if all is as it was

Two backends send and versions are published all the while; a device follows each of them, and says
which state each had. Others stand at earlier versions, and ask the restored server.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Set
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from pocketlens.products import Image, Price
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens.sync.grpc_transport import GrpcTransport
from pocketlens.sync.planner import Action
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.session import sync
from pocketlens_server.catalogue.operations import Operation, PatchProduct, PutImage
from pocketlens_server.catalogue.results import Outcome
from pocketlens_server.client import CatalogueClient
from pocketlens_server.folders import MAIN, ServerFolder
from pocketlens_server.maintenance.backup import backup
from pocketlens_server.maintenance.restoring import Done, restore
from tests.making.backend_contents import requests_of
from tests.making.backend_operations import ALLOWED
from tests.making.busy_servers import busy_server, until
from tests.making.tiles import TileShop, tile

BACKENDS, AHEAD = 2, 32  # operations of each that are not answered, at most
TILES, CHANGING = 40, 8  # so few change that a delta is less than all of it
PAUSE_SECONDS, MOST_SECONDS = 0.002, 60


@dataclass(frozen=True)
class BackedUp:
    """What came of a backup.

    Attributes:
        version: That it has.
        answered_before: Requests that were answered before it was begun.
        answered_meanwhile: While it was made.
        published_meanwhile: Versions.
        complaints: What should not be.
    """

    version: int
    answered_before: int
    answered_meanwhile: int
    published_meanwhile: int
    complaints: list[str]


def backed_up(folder: Path, *, seed: int = 0) -> BackedUp:
    """Makes a shop, a backup of its server and a server of the backup, all in `folder`."""
    rng = random.Random(seed)
    began = datetime.now(UTC) - timedelta(hours=1)  # publishes of the shop are minutes apart
    shop = TileShop(folder / "shop", dict.fromkeys(range(TILES), 1), now=began)
    shop.publish()
    shop.sync("old")
    data, saved, again = folder / "shop" / "server", folder / "saved", folder / "again"
    with busy_server(folder) as server, Backends(shop, server.port, seed) as backends:
        backends.wait_for_versions(2)
        _followed(shop, "near", server.port)
        backends.wait_for_versions(1)
        waits_at = rng.randrange(TILES)  # files copied; then a version comes

        def copied(stage: str, done: int, total: int) -> None:
            if (stage, done) == ("copying", waits_at):
                backends.wait_for_versions(1)

        before, versions = set(backends.answered), len(backends.states)
        made = backup(ServerFolder(data), saved, now=datetime.now(UTC), progress=copied)
        meanwhile, published = len(backends.answered) - len(before), len(backends.states) - versions
        backends.wait_for_versions(1)
    done = restore(saved, again / "shop" / "server", now=datetime.now(UTC))
    complaints = [f"the backup has no {each}" for each in made.lacking]
    complaints += [f"damaged: {each.text}" for each in done.findings if each.is_damage]
    complaints += _of_restored(done, again / "shop" / "server", before, backends.states)
    version = done.catalogues[MAIN].version
    with busy_server(again) as server:
        # What was a row of the backup and not signed yet, a server signs when it starts.
        until(lambda: _followed(shop, "new", server.port).version >= version, MOST_SECONDS)
        for store in ("old", "near"):
            report = _followed(shop, store, server.port)
            complaints += _of_device(shop, report, store, version, backends.states)
    return BackedUp(version, len(before), meanwhile, published, complaints + backends.errors)


class Backends:
    """Backends that send to a server until the context is left, and one that publishes.

    Attributes:
        answered: Ids of requests.
        states: Of each version, its state hash, as a device has it that follows.
        errors: Of those that failed.
    """

    def __init__(self, shop: TileShop, port: int, seed: int) -> None:
        self._shop, self._port, self._seed = shop, port, seed
        self.answered, self.states, self.errors = list[str](), dict[int, str](), list[str]()
        self._has_ended = threading.Event()
        works = [*([self._send] * BACKENDS), self._publish]
        self._threads = [threading.Thread(target=self._run, args=each) for each in enumerate(works)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        for thread in self._threads:
            thread.join(MOST_SECONDS)
            assert not thread.is_alive()

    def wait_for_versions(self, count: int) -> None:
        """Until so many more are published, and have been followed."""
        wanted = len(self.states) + count
        until(lambda: len(self.states) >= wanted or bool(self.errors), MOST_SECONDS)

    def _run(self, number: int, work: Callable[[int], None]) -> None:
        try:
            work(number)
        except BaseException as exc:
            self.errors.append(f"a client failed: {exc!r}")

    def _send(self, number: int) -> None:
        room = threading.Semaphore(AHEAD)

        def told(future: Future[Outcome]) -> None:
            room.release()
            if future.exception() is None:
                self.answered.append(future.result().request_id)

        with CatalogueClient(f"127.0.0.1:{self._port}") as client, client.stream() as stream:
            changes = _changes(random.Random(f"{self._seed} {number}"), number)
            while not self._has_ended.wait(PAUSE_SECONDS):
                room.acquire()
                id_, operation, picture = next(changes)
                stream.send(operation, picture=picture, request_id=id_).add_done_callback(told)

    def _publish(self, number: int) -> None:
        with CatalogueClient(f"127.0.0.1:{self._port}") as client:
            while not self._has_ended.wait(PAUSE_SECONDS):
                client.publish(allowed_gates=ALLOWED)
                version = _followed(self._shop, "follower", self._port).version
                self.states[version] = _state_of(self._shop, "follower")


def _changes(rng: random.Random, backend: int) -> Iterator[tuple[str, Operation, bytes | None]]:
    """Prices without an end, and now and then an image of a few."""
    for number in itertools.count():
        id_, product = f"{backend} {number}", f"sku-{rng.randrange(CHANGING)}"
        if number % 25 == 24:
            image = Image(f"more {rng.randrange(CHANGING)}")
            yield id_, PutImage(image, b"", [product]), tile(TILES + rng.randrange(CHANGING))
        else:
            price = Price(rng.randrange(100, 9999), "EUR")
            yield id_, PatchProduct(product, price, rng.randrange(9)), None


def _followed(shop: TileShop, store: str, port: int) -> SyncReport:
    """A sync of a device of the shop."""
    with closing(GrpcTransport(f"127.0.0.1:{port}", MAIN)) as transport:
        return sync(
            shop.folder / store,
            transport,
            catalogue=MAIN,
            root=(shop.public / "metadata" / "1.root.json").read_bytes(),
            now=datetime.now(UTC),
        )


def _state_of(shop: TileShop, store: str) -> str:
    with Reader.open(shop.folder / store) as reader:
        return reader.facts.state_hash.hex()


def _of_restored(
    done: Done, data: Path, answered: Set[str], states: dict[int, str]
) -> Iterator[str]:
    """What the tables lack that was answered before, and versions that are others."""
    known = {id_ for id_, _ in requests_of(ServerFolder(data).catalogue(MAIN))}
    if lost := answered - known:
        yield f"{len(lost)} requests were answered before and are not in it: {sorted(lost)[:3]}"
    point = done.catalogues[MAIN]
    if list(point.state_hashes.values()) != [states.get(point.version)]:
        yield f"version {point.version} was {states.get(point.version)}, restored is {point}"


def _of_device(
    shop: TileShop, report: SyncReport, store: str, version: int, states: dict[int, str]
) -> Iterator[str]:
    """What is wrong with a device that was behind."""
    if (report.action, report.version) != (Action.DELTA, version):
        yield f"{store} did {report}, the server is at {version}"
    if _state_of(shop, store) != states.get(version):
        yield f"{store} has another state than version {version} had"
    if findings := verify(shop.folder / store).findings:
        yield f"{store} is not whole: {findings}"
