"""The catalogue that backends change in `ingest.py`, and the pictures that they send.

    made(path, model, products=100_000)         # a server's folder; version 1 is published
    leave_waiting(catalogue, "word", 10_000)    # pictures that are not embedded
    Pictures("first").file(7)                   # the bytes of a real JPEG

Products have texts and attributes as a shop's do, prices and stock; a few have an image.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import vectors
from PIL import Image as Pictured
from vectors import pictures

from pocketlens.products import Image, Price, Product
from pocketlens_server.catalogue.operations import PutImage, PutProduct
from pocketlens_server.catalogue.targets import Change, LocalTarget
from pocketlens_server.folders import CatalogueFolder, ServerFolder
from pocketlens_server.publishing import models, releasing

PUBLISHED = 64  # images of the first version
SIDE = 300  # of the pictures that are made where the picture sets are missing
COLOURS = "black white red green blue grey brown yellow".split()


class Pictures:
    """JPEGs by number; those of each word are other files, of the same contents.

    Attributes:
        source: What they are, in words.
    """

    def __init__(self, word: str) -> None:
        self._word, folder = word, vectors.data_folder()
        self._files: list[Path | bytes] = []
        self.source = "drawn, since the picture sets are missing"
        if folder.is_dir():
            self._files += (each for name in vectors.GALLERY for each in pictures(folder / name))
            self.source = f"{len(self._files):,} of {', '.join(vectors.GALLERY)}, in any order"
            random.Random(0).shuffle(self._files)  # noqa: S311 # the same every time
        else:
            self._files += (_jpeg(_drawn(number), 85) for number in range(32))

    def file(self, number: int) -> bytes:
        """What follows the end of a JPEG makes it another file; no decoder reads it."""
        content = self._files[number % len(self._files)]
        data = content.read_bytes() if isinstance(content, Path) else content
        return data + f"{self._word} {number}".encode()


def large(size_bytes: int) -> bytes:
    """A JPEG of noise, of about so many bytes."""
    side = round((size_bytes / 0.93) ** 0.5)
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return _jpeg(noise, 90)


def _drawn(number: int) -> npt.NDArray[np.uint8]:
    """A few soft spots of colour."""
    spots = np.random.default_rng(number).integers(0, 256, (5, 5, 3), np.uint8)
    return np.asarray(Pictured.fromarray(spots).resize((SIDE, SIDE)))


def _jpeg(pixels: npt.NDArray[np.uint8], quality: int) -> bytes:
    file = io.BytesIO()
    Pictured.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def made(path: Path, model: Path, *, products: int) -> None:
    """A new server's folder whose catalogue has so many products, `p1` and on."""
    now = datetime.now(UTC)
    offline = path.with_name(f"{path.name}-offline")
    folder = ServerFolder.create(path, offline_keys=offline, now=now).catalogue("main")
    models.add_model(folder, model, now=now)
    target = LocalTarget(folder, clock=lambda: datetime.now(UTC))
    job = target.open(is_full_feed=False, expected=products)
    refused = [each for _, each in target.send(job, _changes(products)) if each.reason]
    assert not refused, refused[0]
    target.finish(job, progress=lambda stage, done, total: None)
    releasing.publish(folder, now=datetime.now(UTC), rng=np.random.default_rng(0))


def leave_waiting(catalogue: CatalogueFolder, word: str, count: int) -> None:
    """Puts images whose pictures are new, and embeds none."""
    target, pictures = LocalTarget(catalogue, clock=lambda: datetime.now(UTC)), Pictures(word)
    job = target.open(is_full_feed=False, expected=count)
    puts = (
        Change(PutImage(Image(f"{word}-{number}"), b"", ["p1"]), pictures.file(number))
        for number in range(count)
    )
    refused = [each for _, each in target.send(job, puts) if each.reason]
    assert not refused, refused[0]


def _changes(products: int) -> Iterator[Change]:
    for number in range(1, products + 1):
        colour = COLOURS[number % 8]
        product = Product(
            f"p{number}",
            f"Product {number}, the {colour} one",
            f"category {number % 40}",
            f"https://shop.example/p/{number}",
            Price(number % 50_000, "EUR"),
            number % 50,
            {"colour": colour, "brand": f"brand {number % 300}"},
        )
        yield Change(PutProduct(product))
    published = Pictures("published")
    for number in range(min(PUBLISHED, products)):
        put = PutImage(Image(f"published-{number}"), b"", [f"p{number + 1}"])
        yield Change(put, published.file(number))
