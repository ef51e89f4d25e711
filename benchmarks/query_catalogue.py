"""The catalogue that is asked about in `query.py`, and the photos that ask.

    rows = vectors.spread(vectors.embed(model).gallery, 100_000)
    made(path, model, rows)                     # a server's folder; version 1 is published
    answers_precisely(path, model, float_model, rows)
    photos(40)                                  # JPEGs as a phone sends them

A product an image. There are no pictures behind the vectors, so that nothing has to be embedded.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import vectors
from PIL import Image as Pictured
from vectors import Floats

from pocketlens.formats import bundle as bundles
from pocketlens.products import Image, Price, Product
from pocketlens_server.catalogue import float_siblings
from pocketlens_server.catalogue.operations import PutImage, PutProduct, apply
from pocketlens_server.folders import CatalogueFolder, ServerFolder
from pocketlens_server.publishing import models, releasing
from pocketlens_server.storage.float_embeddings import FloatEmbeddings

CATEGORIES = 40
SIDE = 448  # of a photo: twice the input of the models
_AT_ONCE = 10_000  # in a transaction


def made(path: Path, model: Path, rows: Floats) -> None:
    """A new server's folder whose catalogue `main` has an image of each vector."""
    now = datetime.now(UTC)
    offline = path.with_name(f"{path.name}-offline")
    folder = ServerFolder.create(path, offline_keys=offline, now=now).catalogue("main")
    models.add_model(folder, model, now=now)
    for start in range(0, len(rows), _AT_ONCE):
        _put(folder, start, rows[start : start + _AT_ONCE])
    releasing.publish(folder, now=datetime.now(UTC), rng=np.random.default_rng(0))


def answers_precisely(path: Path, model: Path, float_model: Path, rows: Floats) -> None:
    """Adds the bundle's float model to the server's folder, with the same vectors."""
    folder = ServerFolder(path).catalogue("main")
    sibling = float_siblings.add_sibling(folder, float_model, bundles.decode(model.read_bytes()))
    with FloatEmbeddings.opened(sibling.embeddings) as floats:
        floats.put({hashlib.sha256(row.tobytes()).digest(): row for row in rows})


def _put(folder: CatalogueFolder, start: int, rows: Floats) -> None:
    with folder.changing() as tables:
        embeddings = {}
        for number, row in enumerate(rows, start):
            picture = hashlib.sha256(row.tobytes()).digest()
            embeddings[picture] = row
            product = Product(
                f"p{number}",
                f"Product {number}",
                f"category {number % CATEGORIES}",
                f"https://shop.example/p/{number}",
                Price(number % 50_000, "EUR"),
                number % 50,
                {"brand": f"brand {number % 300}"},
            )
            apply(tables.history, PutProduct(product))
            image = Image(f"i{number}", f"https://shop.example/i/{number}.jpg")
            apply(tables.history, PutImage(image, picture, [product.id]))
        tables.vectors.put_embeddings(1, embeddings)


def photos(count: int) -> list[bytes]:
    """Held-out photos, no larger than an app sends them; drawn ones where there are none."""
    listed = vectors.data_folder() / vectors.HELD_OUT
    found = []
    for number in range(count):
        spots = np.random.default_rng(number).integers(0, 256, (5, 5, 3), np.uint8)
        picture = Pictured.fromarray(spots).resize((SIDE, SIDE))
        if listed.exists():
            every = list(vectors.pictures(listed))
            with Pictured.open(every[number % len(every)]) as opened:
                picture = opened.convert("RGB")
            picture.thumbnail((SIDE, SIDE))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=85)
        found.append(file.getvalue())
    return found
