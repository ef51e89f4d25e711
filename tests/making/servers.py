"""A server's catalogue in memory, its public files in a folder, and a shop that changes."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from securesystemslib.signer import Signer

from pocketlens import image_lists
from pocketlens.formats import bundle as bundles
from pocketlens.formats.manifest import Manifest, encode
from pocketlens.products import Image, Price, Product
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    PatchProduct,
    PutImage,
    PutProduct,
    apply,
)
from pocketlens_server.publishing import keeping, keys, signing
from pocketlens_server.publishing.gates import Gates
from pocketlens_server.publishing.images import image_of
from pocketlens_server.publishing.keeping import Keeping
from pocketlens_server.publishing.open_catalogue import Catalogue, OpenBundle
from pocketlens_server.publishing.publisher import Published, publish
from pocketlens_server.storage import migrations
from pocketlens_server.storage.blobs import Blobs
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT, History
from pocketlens_server.storage.vectors import Vectors
from tests.making.shops import Shop, make_shop

BEGAN = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)


@dataclass
class Server:
    """A catalogue in memory.

    Attributes:
        public: Folder that devices are served from.
        root: Signed metadata that apps come with.
        bundles: By number, also those whose generations have retired.
        pictures: What the first model makes of each, by hash.
        kept: How long it keeps what it no longer needs.
        thumbnail_of: What it draws of a picture; None where it publishes no thumbnails.
    """

    connection: sqlite3.Connection
    catalogue: Catalogue
    shop: Shop
    public: Path
    signers: dict[str, list[Signer]]
    root: bytes
    now: datetime = BEGAN
    bundles: dict[int, OpenBundle] = field(default_factory=dict)
    pictures: dict[bytes, np.ndarray] = field(default_factory=dict)
    kept: Keeping = field(default_factory=Keeping)
    thumbnail_of: Callable[[bytes], bytes | None] | None = None

    @classmethod
    def of_shop(cls, shop: Shop, folder: Path) -> Server:
        """With the products of a shop, none published yet."""
        made = cls.empty(shop, folder)
        listed = image_lists.read(shop.list, need_files=False)
        for product in listed.products.values():
            apply(made.catalogue.history, PutProduct(product))
        for row, entry in enumerate(listed.entries):
            made.put_image(entry.image.id, shop.embeddings[row], list(entry.product_ids))
        return made

    @classmethod
    def published(cls, folder: Path, *, products: int = 30) -> Server:
        """With a shop of its own, whose first version is published."""
        made = cls.of_shop(make_shop(folder / "shop", products=products), folder / "server")
        made.publish()
        return made

    @classmethod
    def empty(cls, shop: Shop, folder: Path) -> Server:
        """With the model of a shop, and nothing else."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        migrations.create(connection)
        public = folder / "public"
        signers = keys.create(folder / "online", keys.ONLINE)
        signers |= keys.create(folder / "offline", keys.OFFLINE)
        root = signing.create(public, signers, now=BEGAN)
        blobs = Blobs(public / "blobs")
        catalogue = Catalogue("main", History(connection), Vectors(connection), blobs, {})
        made = cls(connection, catalogue, shop, public, signers, root)
        made.add_model(shop.bundle.read_bytes())
        return made

    def add_model(self, data: bytes) -> None:
        """The next version begins a generation with it; it sees pictures in an order of its own."""
        number = len(self.bundles) + 1
        bundle = OpenBundle(
            number,
            hashlib.sha256(data).digest(),
            bundles.decode(data),
            self.catalogue.blobs.put([data]),
        )
        signing.add_model(self.public, bundle.blob, self.signers, now=self.now)
        self.bundles[number] = bundle
        self.catalogue = replace(self.catalogue, bundles={**self.catalogue.bundles, number: bundle})
        self.catalogue.vectors.bundle(bundle.sha256)
        for picture, embedding in self.pictures.items():
            self._embed(number, picture, embedding)

    def _embed(self, bundle: int, picture: bytes, embedding: np.ndarray) -> None:
        rolled = np.roll(embedding, bundle - 1)
        self.catalogue.vectors.put_embeddings(bundle, {picture: rolled})

    def put_image(self, id_: str, embedding: np.ndarray, products: list[str]) -> None:
        picture = hashlib.sha256(embedding.tobytes()).digest()
        self.pictures[picture] = embedding
        for number in self.catalogue.bundles:
            self._embed(number, picture, embedding)
        apply(self.catalogue.history, PutImage(Image(id_), picture, products))

    def roll_back(self, version: int) -> None:
        """Lets everything wait as it was at a version."""
        history = self.catalogue.history
        for kind in (PRODUCT, OFFER, IMAGE):
            history.restore(kind, version)
        images = history.values(IMAGE)
        history.relink([(key, image_of(value).product_keys) for key, value in images])

    def sign_again(self) -> None:
        """Signs the timestamp anew, two days later; there is no new version."""
        self.now += timedelta(days=2)
        signing.refresh(self.public, self.signers, now=self.now)

    def publish(self, gates: Gates | None = None, *, begin_again: bool = False) -> Published:
        """A version, visible; what ends it leaves what waits waiting."""
        self.now += timedelta(minutes=5)
        self.connection.execute("BEGIN")
        try:
            self._retire()
            published = publish(
                self.catalogue,
                now=self.now,
                rng=np.random.default_rng(0),
                gates=gates,
                kept=self.kept,
                begin_again=max(self.bundles) if begin_again else None,
                thumbnail_of=self.thumbnail_of,
            )
            self.connection.execute("COMMIT")
        finally:
            if self.connection.in_transaction:
                self.connection.rollback()
        self.sign(*published.manifests)
        return published

    def _retire(self) -> None:
        """Forgets generations whose day has come, with their models."""
        vectors = self.catalogue.vectors
        retired = keeping.retire(self.catalogue.history, vectors, now=self.now)
        gone = {each.bundle for each in retired} - {each.bundle for each in vectors.generations()}
        left = {n: each for n, each in self.catalogue.bundles.items() if n not in gone}
        self.catalogue = replace(self.catalogue, bundles=left)

    def sign(self, *manifests: Manifest) -> None:
        encoded = {each.generation: encode(each) for each in manifests}
        signing.publish(self.public, encoded, self.signers, now=self.now)


def change(server: Server, rng: random.Random) -> None:
    """A day of a shop."""
    history = server.catalogue.history
    known = [f"sku-{n}" for n in range(60)]
    for _ in range(rng.randint(0, 30)):
        alive = [each for each in known if _is_there(history, each)]
        match rng.randrange(6):
            case 0:
                apply(history, PutProduct(Product(rng.choice(known), rng.choice("ABC"))))
            case 1 if alive:
                price = Price(rng.randrange(1000), "EUR")
                apply(history, PatchProduct(rng.choice(alive), price, rng.randrange(9)))
            case 2:
                apply(history, DeleteProduct(rng.choice(known)))
            case 3 if alive:
                vector = np.random.default_rng(rng.randrange(100)).normal(size=16)
                unit = (vector / np.linalg.norm(vector)).astype(np.float32)
                shown = rng.sample(alive, min(len(alive), rng.randint(1, 3)))
                server.put_image(f"pictures/{rng.randrange(50):05d}-0.jpg", unit, shown)
            case 4:
                apply(history, DeleteImage(f"pictures/{rng.randrange(50):05d}-0.jpg"))


def _is_there(history: History, id_: str) -> bool:
    key = history.known_key(PRODUCT, id_)
    return key is not None and history.value(PRODUCT, key) is not None
