"""A device and its server as one state machine, beside plain dicts that say what must be there.

    class Short(DeviceStates.TestCase):
        settings = settings(max_examples=40, stateful_step_count=50, deadline=None)

Every step is a real one: operations and publishes of the server, signed files in a folder, syncs
into SQLite, searches, processes that end in the middle of a sync. What a device asked for and what
came of it is logged, so that two runs with one seed can be compared.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pocketlens import Lens
from pocketlens.errors import (
    GoldenProbeFailed,
    SyncCancelled,
    SyncError,
    TransportError,
    TrustError,
)
from pocketlens.formats.manifest import Blob
from pocketlens.products import Price, Product
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens.sync import session
from pocketlens.sync.planner import Action
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.transports import FolderTransport
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    PatchProduct,
    PutProduct,
    apply,
)
from pocketlens_server.publishing import signing
from pocketlens_server.publishing.keeping import Keeping
from tests.making.servers import Server
from tests.making.shops import Shop, bare_bundle, make_shop

DIM, MODELS, KEPT = 16, 3, 6
IDS = st.integers(0, 14)
LIFE = timedelta(days=4)  # longer than a timestamp is valid
DONE, FAILED, REFUSED, WAITED, ENDED = 0, 1, 2, 3, 9  # of a process that syncs


@dataclass
class Catalogue:
    """What a version holds, told without any code of ours: by ids."""

    products: dict[str, Product] = field(default_factory=dict)
    images: dict[str, set[str]] = field(default_factory=dict)  # of products that each shows

    def copy(self) -> Catalogue:
        return Catalogue(dict(self.products), {id_: set(each) for id_, each in self.images.items()})

    def delete_product(self, id_: str) -> None:
        self.products.pop(id_, None)
        for shown in self.images.values():
            shown.discard(id_)
        self.images = {name: shown for name, shown in self.images.items() if shown}


class Ended(BaseException):
    """Stands for the end of a process where there can be none."""


class Served(FolderTransport):
    """A folder that is served until so many chunks have come; then something happens."""

    def __init__(
        self, public: Path, log: list[str], left: int = -1, happens: Callable[[], None] = int
    ) -> None:
        super().__init__(public)
        self._log, self._left, self._happens = log, left, happens

    def file(self, name: str) -> Iterator[bytes] | None:
        found = super().file(name)
        self._log.append(f"{name} {found is not None}")
        return None if found is None else self._until(found)

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        self._log.append(f"{blob.sha256.hex()} {number}")
        return self._until(super().piece(blob, number))

    def _until(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._left == 0:
                self._happens()
            self._left -= 1
            yield chunk


class DeviceStates(RuleBasedStateMachine):
    """Any order of changes, publishes, rollbacks, syncs, faults, searches, reopening."""

    @initialize()
    def begin(self) -> None:
        self.work = Path(tempfile.mkdtemp(prefix="pocketlens-states-"))
        self.server = Server.empty(_shop(), self.work / "server")
        self.server.kept = Keeping(versions=KEPT, generation_days=2 * LIFE.days)
        self.now, self.versions = Catalogue(), [Catalogue()]
        self.lens: Lens | None = None
        self.at = 0  # the version of the store; 0 where there is none
        self.clock: datetime = self.server.now
        self.broken, self.newest_is_broken = set[int](), False  # models that do not compute
        self.served: set[str] = set()  # generations
        self.old: Path | None = None
        self.log: list[str] = []
        for number in range(3):
            self.put_product(number, "A", 100)
            self.put_image(number, number, {number})
        self.publish()

    def teardown(self) -> None:
        if hasattr(self, "work"):
            if self.lens is not None:
                self.lens.close()
            shutil.rmtree(self.work)

    @property
    def store(self) -> Path:
        return self.work / "store"

    # --- the shop --------------------------------------------------------------------------------

    @rule(number=IDS, title=st.sampled_from("AB"), price=st.integers(1, 3))
    def put_product(self, number: int, title: str, price: int) -> None:
        product = Product(f"p{number}", title, price=Price(price, "EUR"))
        apply(self.server.catalogue.history, PutProduct(product))
        self.now.products[product.id] = product

    @rule(number=IDS, stock=st.integers(0, 2))
    def patch_offer(self, number: int, stock: int) -> None:
        old = self.now.products.get(f"p{number}")
        if old is not None:
            apply(self.server.catalogue.history, PatchProduct(old.id, stock=stock))
            self.now.products[old.id] = Product(old.id, old.title, price=old.price, stock=stock)

    @rule(number=IDS)
    def delete_product(self, number: int) -> None:
        apply(self.server.catalogue.history, DeleteProduct(f"p{number}"))
        self.now.delete_product(f"p{number}")

    @rule(number=IDS, picture=IDS, shown=st.sets(IDS, min_size=1, max_size=3))
    def put_image(self, number: int, picture: int, shown: set[int]) -> None:
        ids = sorted(f"p{each}" for each in shown if f"p{each}" in self.now.products)
        if ids:
            self.server.put_image(f"i{number}", _embedding(picture), ids)
            self.now.images[f"i{number}"] = set(ids)

    @rule(number=IDS)
    def delete_image(self, number: int) -> None:
        apply(self.server.catalogue.history, DeleteImage(f"i{number}"))
        self.now.images.pop(f"i{number}", None)

    @rule()
    def publish(self) -> None:
        published = self.server.publish()
        self.newest_is_broken = len(self.server.bundles) in self.broken
        self.served = {manifest.generation.hex() for manifest in published.manifests}
        self.clock = max(self.clock, self.server.now)
        self.versions.append(self.now.copy())

    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        version = data.draw(st.integers(max(1, self.head - KEPT), self.head))
        self.server.roll_back(version)
        self.now = self.versions[version].copy()

    @precondition(lambda self: len(self.server.bundles) < MODELS)
    @rule(is_broken=st.booleans())
    def add_model(self, is_broken: bool) -> None:
        number = len(self.server.bundles) + 1
        if is_broken:
            self.broken.add(number)
        self.server.add_model(bare_bundle(DIM, name=f"model {number}", is_broken=is_broken))

    @rule()
    def time_passes(self) -> None:
        """So much that the server's signatures are old."""
        self.clock += LIFE

    @rule()
    def keep_a_copy(self) -> None:  # for `sync_with_an_old_copy`
        self.old = self.work / f"copy-{self.head}-{self.clock:%Y%m%d%H%M}"
        if not self.old.exists():
            shutil.copytree(self.server.public, self.old)

    # --- the device ------------------------------------------------------------------------------

    @rule()
    def sync(self) -> None:
        if self._is_expired():
            with pytest.raises(TrustError):
                self._sync(self.server.public)
            self._check()
            self.server.now = self.clock  # it signs again
            self.publish()
        try:
            report = self._sync(self.server.public)
        except GoldenProbeFailed:
            assert self.newest_is_broken
            self._check()
            if self.at == 0:
                return
            assert self._waits()
            report = self._sync(self.server.public)
        assert report.before == self.at
        assert (report.held_back is not None) == self.newest_is_broken
        assert (report.action is Action.NOTHING) == (report.version == self.at == self.head)
        self._came(report)

    @rule(chunks=st.integers(0, 12))
    def sync_is_cut_off(self, chunks: int) -> None:
        self._faulty(chunks, _raises(TransportError("cut off")))

    @rule(chunks=st.integers(0, 12))
    def sync_is_interrupted(self, chunks: int) -> None:
        self._faulty(chunks, _raises(Ended()))

    @rule()
    def sync_is_cancelled(self) -> None:
        try:
            report = self._sync(self.server.public, cancelled=lambda: True)
        except (SyncCancelled, TrustError, GoldenProbeFailed):
            self._check()
        else:
            assert self.at == self.head or self._waits()
            self._came(report)

    @rule(chunks=st.integers(0, 12))
    def process_ends_within_a_sync(self, chunks: int) -> None:
        child = os.fork()
        if child == 0:
            status = FAILED
            try:
                report = self._sync(self.server.public, chunks, lambda: os._exit(ENDED))
                status = DONE if report.version == self.head else WAITED
            except SyncError:
                status = REFUSED
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        status = os.waitstatus_to_exitcode(ended)
        assert status in (DONE, ENDED, REFUSED, WAITED)
        assert status != WAITED or self._waits()
        if status == DONE:
            self.at = self.head
        self._check()

    @precondition(lambda self: self.old is not None)
    @rule()
    def sync_with_an_old_copy(self) -> None:
        assert self.old is not None
        try:
            report = self._sync(self.old)
        except (TrustError, GoldenProbeFailed):
            pass
        else:
            assert report.version >= self.at
            self.at = report.version
        self._check()

    @rule()
    def pieces_are_lost(self) -> None:
        shutil.rmtree(self.store / "pieces", ignore_errors=True)

    @precondition(lambda self: self.at > 0)
    @rule()
    def open(self) -> None:
        if self.lens is not None:
            self.lens.close()
        self.lens, self.seen = Lens.open(self.store), self.at

    @precondition(lambda self: self.lens is not None)
    @rule()
    def refresh(self) -> None:
        assert self.lens is not None
        self.lens.refresh()
        self.seen = self.at

    @precondition(lambda self: self.lens is not None)
    @rule(picture=IDS)
    def search(self, picture: int) -> None:
        """What an open Lens says is of one version, whatever the store has become."""
        assert self.lens is not None
        found = self.lens.search_vector(_embedding(picture), 5)
        said = self.versions[self.seen]
        assert found.version == self.seen
        assert bool(found.matches) == bool(said.images)
        for match in found.matches:
            assert match.product.id in said.images[match.image.id]
            for product in (match.product, *match.alternatives):
                assert product == said.products[product.id]

    @precondition(lambda self: self.at > 0)
    @rule()
    def verify(self) -> None:
        assert verify(self.store).findings == ()

    # --- what holds ------------------------------------------------------------------------------

    @property
    def head(self) -> int:
        return len(self.versions) - 1

    def _sync(
        self,
        public: Path,
        left: int = -1,
        happens: Callable[[], None] = int,
        *,
        cancelled: Callable[[], bool] = bool,
    ) -> SyncReport:
        report = session.sync(
            self.store,
            Served(public, self.log, left, happens),
            catalogue="main",
            root=self.server.root,
            now=self.clock,
            cancelled=cancelled,
        )
        self.log.append(str(report))
        return report

    def _faulty(self, chunks: int, happens: Callable[[], None]) -> None:
        try:
            report = self._sync(self.server.public, chunks, happens)
        except (TransportError, TrustError, GoldenProbeFailed, Ended):
            self._check()
        else:
            self._came(report)

    def _came(self, report: SyncReport) -> None:
        """To the newest version, if not of the newest model, then of the one that it has."""
        assert report.version == (self.at if self._waits() else self.head)
        self.at = report.version
        self._check()

    def _waits(self) -> bool:
        """Whether the newest model does not work, and that of the store has retired."""
        if not self.newest_is_broken or self.at == 0:
            return False
        with Reader.open(self.store) as reader:
            return reader.facts.generation not in self.served

    def _is_expired(self) -> bool:
        return self.clock >= self.server.now + signing.LIFETIMES[signing.TIMESTAMP]

    def _check(self) -> None:
        """The store holds what its version held, and nothing else."""
        if self.at == 0:
            assert not (self.store / "CURRENT").exists()
            return
        said = self.versions[self.at]
        with Reader.open(self.store) as reader:
            products = reader.products(reader.columns().keys.tolist())
            link_images, _ = reader.links()
            images = reader.images(np.unique(link_images).tolist())
            assert reader.facts.version == self.at
            self.log.append(reader.facts.state_hash.hex())
        assert {each.id: each for each in products.values()} == said.products
        assert {
            image.id: {products[key].id for key in keys} for image, keys in images.values()
        } == said.images


def _raises(error: BaseException) -> Callable[[], None]:
    def happens() -> None:
        raise error

    return happens


def _embedding(number: int) -> np.ndarray:
    vector = np.random.default_rng(number).normal(size=DIM)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@functools.cache
def _shop() -> Shop:
    """Its bundle is what is wanted of it."""
    return make_shop(Path(tempfile.mkdtemp(prefix="pocketlens-states-")), products=2, dim=DIM)
