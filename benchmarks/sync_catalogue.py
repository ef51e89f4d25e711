"""A server's catalogue of spread embeddings, and the days of a shop that change it.

Products have texts and attributes as a shop's do; images have an id and no url, so that a new one
costs its code, place and products. There are no pictures: their embeddings are put.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import numpy as np
import vectors
from vectors import Embeddings, Floats

from pocketlens.formats.manifest import Manifest
from pocketlens.products import Image, Price, Product
from pocketlens_server.catalogue.operations import (
    DeleteProduct,
    Operation,
    PatchProduct,
    PutImage,
    PutProduct,
    apply,
)
from pocketlens_server.folders import CatalogueFolder, ServerFolder
from pocketlens_server.publishing import models, releasing
from pocketlens_server.publishing.gate_limits import Gate

BLOCK = 4096  # images in memory
COLOURS = "black white red green blue grey brown yellow".split()


@dataclass
class ShopServer:
    """A server with one catalogue, whose products count from 1.

    Attributes:
        path: Of the server's folder.
        folder: Of its catalogue.
        products: That were ever put.
        alive: Numbers of those that are there.
        seconds: That each publish took.
    """

    path: Path
    folder: CatalogueFolder
    embeddings: Embeddings
    rng: np.random.Generator
    products: int = 0
    alive: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def make(cls, path: Path, model: Path, embeddings: Embeddings, rows: int) -> ShopServer:
        """With `rows` products of one image each; version 1 is published."""
        server = ServerFolder.create(
            path, offline_keys=path.with_name(f"{path.name}-offline"), now=datetime.now(UTC)
        )
        made = cls(path, server.catalogue("main"), embeddings, np.random.default_rng(rows))
        models.add_model(made.folder, model, now=made.now)
        made.add(vectors.spread(embeddings.gallery, rows))
        made.publish()
        return made

    @property
    def root(self) -> bytes:
        """Signed metadata that apps come with."""
        return (self.folder.public / "metadata" / "1.root.json").read_bytes()

    @property
    def manifest(self) -> Manifest:
        """Of the newest version."""
        return releasing.newest(self.folder)[-1]

    def publish(self) -> Manifest:
        """Another version, five minutes after the one before."""
        self.now += timedelta(seconds=1)
        began = perf_counter()
        terms = releasing.Terms(allowed=(Gate.LOST_ROWS,))  # a season's end is meant
        releasing.publish(self.folder, now=self.now, rng=np.random.default_rng(0), terms=terms)
        self.seconds.append(perf_counter() - began)
        return self.manifest

    # --- what a day may bring --------------------------------------------------------------------

    def add(self, rows: Floats) -> None:
        """A new product with one image for each embedding."""
        for start in range(0, len(rows), BLOCK):
            some = rows[start : start + BLOCK]
            first = self.products + 1
            self.products += len(some)
            numbers = range(first, self.products + 1)
            self.alive += numbers
            self._apply([PutProduct(self._product(number)) for number in numbers])
            self._put_images([f"i{number}" for number in numbers], some, numbers)

    def new_images(self, count: int) -> None:
        """Further images of products that are there."""
        rows = vectors.spread(self.embeddings.gallery, count + len(self.seconds))[:count]
        names = [f"j{len(self.seconds)}-{number}" for number in range(count)]
        self._put_images(names, rows, self._some(count))

    def new_prices(self, count: int) -> None:
        """Other prices."""
        self._apply(PatchProduct(f"p{n}", price=self._price()) for n in self._some(count))

    def new_stock(self, count: int) -> None:
        """Other stock."""
        self._apply(PatchProduct(f"p{n}", stock=self._stock(1000)) for n in self._some(count))

    def delete(self, count: int) -> None:
        """Products that go with their images."""
        gone = set(self._some(count))
        self.alive = [number for number in self.alive if number not in gone]
        self._apply(DeleteProduct(f"p{number}") for number in sorted(gone))

    def changes(self) -> Iterator[tuple[str, Callable[[int], None]]]:
        """Every kind of change, by its name."""
        yield "price", self.new_prices
        yield "stock", self.new_stock
        yield "image", self.new_images
        yield "deletion", self.delete

    def _apply(self, operations: Iterator[Operation] | list[Operation]) -> None:
        with self.folder.changing() as tables:
            for operation in operations:
                apply(tables.history, operation)

    def _put_images(self, names: list[str], rows: Floats, products: range | list[int]) -> None:
        pictures = [hashlib.sha256(row.tobytes()).digest() for row in rows]
        with self.folder.changing() as tables:
            tables.vectors.put_embeddings(1, dict(zip(pictures, rows, strict=True)))
            for name, picture, number in zip(names, pictures, products, strict=True):
                apply(tables.history, PutImage(Image(name), picture, [f"p{number}"]))

    def _product(self, number: int) -> Product:
        return Product(
            f"p{number}",
            f"Product {number}, the {COLOURS[number % 8]} one",
            f"category {number % 40}",
            f"https://shop.example/p/{number}",
            self._price(),
            self._stock(50),
            {"colour": COLOURS[number % 8], "brand": f"brand {number % 300}"},
        )

    def _some(self, count: int) -> list[int]:
        return sorted(self.rng.choice(self.alive, count, replace=False).tolist())

    def _price(self) -> Price:
        return Price(int(self.rng.integers(99, 50_000)), "EUR")

    def _stock(self, most: int) -> int:
        return int(self.rng.integers(most))
