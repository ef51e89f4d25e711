"""A server's catalogue that changes at random, and stores of its versions to try deltas on.

    history = PublishedHistory(folder, seed=7)
    for _ in range(8):
        history.go_on()
    history.checked, history.wrong        # deltas that were applied; those that led elsewhere

At each version, every delta of the manifest is applied to the store of every version from its base
on, the codebook's replacement with it where there was one, in a transaction that is then undone.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

from pocketlens.errors import StateMismatch
from pocketlens.formats.delta import DeltaReader
from pocketlens.formats.manifest import Changes, Manifest
from pocketlens.products import Price, Product
from pocketlens.store import database, snapshots
from pocketlens.store.applying.applier import Applier
from pocketlens.store.applying.relisting import NewCodebook, relist
from pocketlens.store.facts import StoreFacts
from pocketlens.sync.signed_facts import codebook_of, origin_of
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    PatchProduct,
    PutProduct,
    apply,
)
from pocketlens_server.publishing.keeping import Keeping
from pocketlens_server.storage.history import PRODUCT
from tests.making.servers import Server
from tests.making.shops import Shop, bare_bundle

DIM = 16
SINGLE_LIST_IMAGES = 7  # for who lets small catalogues have many lists: `clustering` has 20,000


class _Undo(Exception):  # it ends a transaction
    """What was tried is to leave nothing."""


def _undo() -> NoReturn:
    raise _Undo


@dataclass
class PublishedHistory:
    """One server, and a store of each version of each generation.

    Attributes:
        checked: Deltas that were applied to a store.
        relisted: Of them, those with another codebook.
        wrong: What led elsewhere: generation, base, version of the store, head.
    """

    shop: Shop
    folder: Path
    seed: int
    versions: int = 5
    checked: int = 0
    relisted: int = 0
    wrong: list[tuple[int, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._server = Server.empty(self.shop, self.folder / "server")
        self._server.kept = Keeping(versions=self.versions)
        self._stores: dict[tuple[bytes, int], Path] = {}
        for number in range(3):
            self._put_product(number)
            self._put_image(number)
        self._publish()

    def go_on(self) -> None:
        """Another version."""
        step = self._random.random()
        if step < 0.1 and self._head > 1:
            self._roll_back()
        elif step < 0.15 and len(self._server.bundles) < 3:
            self._server.add_model(bare_bundle(DIM, name=f"model {self._random.random()}"))
        many = self._random.choice([1, 3, 12])
        for _ in range(many):
            self._random.choice(
                [
                    self._put_product,
                    self._patch,
                    self._delete_product,
                    self._put_image,
                    self._put_image,
                    self._put_image,
                    self._delete_image,
                ]
            )(self._random.randrange(24))
        self._publish()

    # --- changes ---------------------------------------------------------------------------------

    @property
    def _history(self):
        return self._server.catalogue.history

    @property
    def _head(self) -> int:
        return self._history.head

    def _put_product(self, number: int) -> None:
        price = Price(self._random.randrange(1, 999), "EUR")
        title = self._random.choice("AB")
        apply(self._history, PutProduct(Product(f"p{number}", title, price=price)))

    def _patch(self, number: int) -> None:
        if f"p{number}" in self._history.ids(PRODUCT):
            apply(self._history, PatchProduct(f"p{number}", stock=self._random.randrange(9)))

    def _delete_product(self, number: int) -> None:
        apply(self._history, DeleteProduct(f"p{number}"))

    def _put_image(self, number: int) -> None:
        """Of a picture that others may have, on products that others show."""
        products = self._history.ids(PRODUCT)
        if products:
            shown = self._random.sample(products, min(len(products), self._random.randint(1, 3)))
            vector = np.random.default_rng(self._random.randrange(12)).standard_normal(DIM)
            unit = (vector / np.linalg.norm(vector)).astype(np.float32)
            self._server.put_image(f"i{number}", unit, shown)

    def _delete_image(self, number: int) -> None:
        apply(self._history, DeleteImage(f"i{number}"))

    def _roll_back(self) -> None:
        oldest = max(1, self._head - self.versions)
        version = self._random.randint(oldest, self._head)
        self._server.roll_back(version)

    # --- stores ----------------------------------------------------------------------------------

    def _publish(self) -> None:
        for manifest in self._server.publish().manifests:
            for delta in manifest.deltas:
                for version in range(delta.base, manifest.version):
                    store = self._stores.get((manifest.generation, version))
                    if store is not None:
                        self._try(store, version, manifest, delta)
            self._install(manifest)

    def _try(self, store: Path, version: int, manifest: Manifest, delta: Changes) -> None:
        self.checked += 1
        try:
            with database.changing(store) as connection:
                facts = self._changed(connection, store, manifest, delta)
                _undo()
        except _Undo:
            hash_after = facts.state_hash
        except StateMismatch:
            hash_after = b""
        if hash_after != manifest.state_hash:
            number = [each.id for each in self._server.catalogue.vectors.generations()].index(
                manifest.generation
            )
            self.wrong.append((number, delta.base, version, manifest.version))

    def _changed(
        self, connection: database.Connection, store: Path, manifest: Manifest, delta: Changes
    ) -> StoreFacts:
        """What a device does: another codebook first, then the delta."""
        places: dict[int, int] = {}
        version = Applier(connection, store).facts.version
        if manifest.relist is not None and version < manifest.relist.head:
            self.relisted += 1
            stream, codebook = self._reader(manifest.relist), self._codebook(manifest)
            places = relist(connection, store.parent, stream, codebook)
        applier = Applier(connection, store, places)
        reader = self._reader(delta)
        applier.apply(reader.header, reader.blocks())
        return applier.facts

    def _install(self, manifest: Manifest) -> None:
        """Keeps a store of the version, from the snapshot or from the version before, by chance."""
        name = f"{manifest.generation.hex()[:8]}-{manifest.version}"
        directory = self.folder / name
        before = self._stores.get((manifest.generation, manifest.version - 1))
        if before is not None and self._random.random() < 0.5:
            directory.mkdir()
            store = Path(shutil.copy(before, directory / database.FILE_NAME))
            with database.changing(store) as connection:
                facts = self._changed(connection, store, manifest, manifest.deltas[0])
        else:
            store, facts = self._from_snapshot(directory, manifest)
        if facts.state_hash != manifest.state_hash:
            self.wrong.append((0, 0, 0, manifest.version))
        self._stores[manifest.generation, manifest.version] = store

    def _from_snapshot(self, directory: Path, manifest: Manifest) -> tuple[Path, StoreFacts]:
        reader = self._reader(manifest.snapshot)
        origin = origin_of(manifest, reader.header)
        directory.mkdir()
        store = directory / database.FILE_NAME
        facts = snapshots.write(store, reader, self._codebook(manifest).centroids, origin)
        if facts.version < manifest.version:
            delta = manifest.delta_from(facts.version)
            with database.changing(store) as connection:
                facts = self._changed(connection, store, manifest, delta)
        return store, facts

    def _codebook(self, manifest: Manifest) -> NewCodebook:
        data = self._server.catalogue.blobs.path(manifest.codebook.sha256).read_bytes()
        return codebook_of(manifest, data)

    def _reader(self, changes: Changes) -> DeltaReader:
        data = self._server.catalogue.blobs.path(changes.blob.sha256).read_bytes()
        return DeltaReader([data], changes.inflated_size)
