"""Devices that were away: how far behind they came back, and what that cost them.

    for case in returns(folder, products=2000, behind=(1, 10, 100, 1000)):
        case.name, case.is_right, case.fetched_bytes, case.ratio

The delta of each version from the one before is remembered, so that what a device fetched can be
compared with following them one by one, and with the snapshot.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pocketlens.formats.manifest import Manifest
from pocketlens.products import Price, Product
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens.sync import session
from pocketlens.sync.transports import FolderTransport
from pocketlens_server.catalogue.operations import DeleteProduct, PatchProduct, PutProduct, apply
from pocketlens_server.publishing.keeping import Keeping
from pocketlens_server.storage.history import PRODUCT
from tests.making.servers import Server
from tests.making.shops import bare_bundle, make_shop

DIM = 16
SMALL_DAY = 10  # changes
KEPT = 12  # versions, of the shops to which something happens


@dataclass(frozen=True)
class Return:
    """What became of a device that came back.

    Attributes:
        name: Of the case.
        behind: Versions that it had missed.
        action: What its one sync did.
        is_right: Whether it has the state hash of head, and is whole.
        fetched_bytes: Of pieces.
        chain_bytes: Of the deltas of all versions that it missed; None where they lead nowhere.
        snapshot_bytes: Of a new install.
    """

    name: str
    behind: int
    action: str
    is_right: bool
    fetched_bytes: int
    chain_bytes: int | None
    snapshot_bytes: int

    @property
    def ratio(self) -> float:
        """Of what it fetched to the cheaper of the other two ways."""
        return self.fetched_bytes / min(self.snapshot_bytes, self.chain_bytes or 1 << 60)


@dataclass
class Shop:
    """A server whose days differ, and stores that stay behind.

    Attributes:
        steps: Bytes of the delta from the version before, by version.
        manifest: Of the newest generation and version.
    """

    folder: Path
    server: Server
    rng: random.Random
    steps: dict[int, int] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, *, products: int, kept: int = 1000) -> Shop:
        shop = make_shop(folder / "shop", products=products, dim=DIM)
        made = cls(folder, Server.of_shop(shop, folder / "server"), random.Random(products))
        made.server.kept = Keeping(versions=kept)
        made.publish()
        return made

    def publish(self) -> None:
        self.manifest: Manifest = self.server.publish().manifests[-1]
        for delta in self.manifest.deltas:
            if delta.base == self.manifest.version - 1:
                self.steps[self.manifest.version] = delta.blob.size

    def days(self, count: int, changes: int, *, leave: Collection[int] = ()) -> None:
        """So many versions of so many changes; a store stays where so many days are left."""
        for left in range(count, 0, -1):
            if left in leave:
                self.sync(f"{left} behind")
            self.change(changes)
            self.publish()

    def change(self, count: int) -> None:
        """Prices and stock; a product in ten goes, and another comes with its picture."""
        history = self.server.catalogue.history
        alive = history.ids(PRODUCT)
        rng = np.random.default_rng(self.rng.randrange(1 << 30))
        for number, id_ in enumerate(self.rng.sample(alive, min(count, len(alive)))):
            if number % SMALL_DAY == 0:
                apply(history, DeleteProduct(id_))
                new = f"new-{self.manifest.version}-{number}"
                apply(history, PutProduct(Product(new, f"New thing {new}")))
                vector = rng.normal(size=DIM)
                unit = (vector / np.linalg.norm(vector)).astype(np.float32)
                self.server.put_image(f"{new}.jpg", unit, [new])
            else:
                price = Price(self.rng.randrange(99_999), "EUR")
                apply(history, PatchProduct(id_, price, self.rng.randrange(99)))

    def sync(self, store: str) -> session.SyncReport:
        return session.sync(
            self.folder / store,
            FolderTransport(self.server.public),
            catalogue="main",
            root=self.server.root,
            now=self.server.now,
        )

    def comes_back(self, store: str, name: str) -> Return:
        """The one sync of a store that stayed behind."""
        with Reader.open(self.folder / store) as reader:
            before = reader.facts
        report = self.sync(store)
        with Reader.open(self.folder / store) as reader:
            is_head = reader.facts.state_hash == self.manifest.state_hash
        missed = range(before.version + 1, self.manifest.version + 1)
        is_chain = (
            before.generation == self.manifest.generation.hex()
            and self.manifest.delta_from(before.version) is not None
        )
        return Return(
            name,
            len(missed),
            report.action.value,
            is_head and verify(self.folder / store).is_whole,
            report.fetched_bytes,
            sum(self.steps[each] for each in missed) if is_chain else None,
            self._snapshot_bytes(before.bundle_sha256),
        )

    def _snapshot_bytes(self, bundle: bytes) -> int:
        manifest = self.manifest
        size = manifest.codebook.size + manifest.snapshot.blob.size
        if bundle != manifest.bundle.sha256:
            size += manifest.bundle.size
        if manifest.snapshot.head < manifest.version:
            rest = manifest.delta_from(manifest.snapshot.head)
            assert rest is not None
            size += rest.blob.size
        return size


def returns(
    folder: Path, *, products: int, behind: Sequence[int], large: Sequence[int]
) -> Iterator[Return]:
    """Every case: after small days, after large ones, and after days that change everything.

    Args:
        folder: New files go there.
        products: Of each shop.
        behind: Versions that were missed, of ten changes each.
        large: The same, each version changing a tenth of the products.
    """
    for title, numbers, changes in (
        ("small days", behind, SMALL_DAY),
        ("large days", large, products // 10),
    ):
        shop = Shop.open(folder / title, products=products)
        shop.days(max(numbers), changes, leave=numbers)
        for number in numbers:
            yield shop.comes_back(f"{number} behind", f"{number} {title}")
    for number, (name, happens) in enumerate(TURNS.items()):
        shop = Shop.open(folder / f"turn {number}", products=products, kept=KEPT)
        shop.days(3, SMALL_DAY)
        shop.sync("away")
        shop.days(2, SMALL_DAY)
        happens(shop)
        shop.days(2, SMALL_DAY)
        yield shop.comes_back("away", name)


def _another_model(shop: Shop) -> None:
    shop.server.add_model(bare_bundle(DIM, name=f"model of version {shop.manifest.version}"))
    shop.publish()


def _two_models(shop: Shop) -> None:
    _another_model(shop)
    shop.days(2, SMALL_DAY)
    _another_model(shop)


def _a_rollback(shop: Shop) -> None:
    shop.server.roll_back(2)
    shop.publish()


def _gone_and_back(shop: Shop) -> None:
    shop.change(len(shop.server.catalogue.history.ids(PRODUCT)) // 2)
    shop.publish()
    _a_rollback(shop)


def _most_of_it_goes(shop: Shop) -> None:
    history = shop.server.catalogue.history
    for id_ in history.ids(PRODUCT)[SMALL_DAY:]:
        apply(history, DeleteProduct(id_))
    shop.publish()


def _longer_than_kept(shop: Shop) -> None:
    shop.days(KEPT, SMALL_DAY)


TURNS: dict[str, Callable[[Shop], None]] = {
    "past retention": _longer_than_kept,
    "the model changed": _another_model,
    "the model changed twice": _two_models,
    "rolled back": _a_rollback,
    "half of it changed, and rolled back": _gone_and_back,
    "most of it is gone": _most_of_it_goes,
}
