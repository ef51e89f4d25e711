"""Shops on disk without pictures: lists, vectors, and a bundle whose model is left empty.

shop = make_shop(tmp_path, products=60)
indexing.index(shop.list, vectors=shop.vectors, model=shop.bundle, out=tmp_path / "store")
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Bundle, GoldenExample, Spec
from tests.making.embeddings import clustered, unit

COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Shop:
    """Files that `index` takes."""

    list: Path
    vectors: Path
    bundle: Path
    embeddings: npt.NDArray[np.float32]


def make_shop(
    folder: Path, *, products: int = 60, images_each: int = 1, dim: int = 16, seed: int = 0
) -> Shop:
    """A shop of `products`, each with `images_each` images, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    embeddings = clustered(
        np.random.default_rng(seed), products * images_each, dim, clusters=max(2, products // 4)
    )
    rows = [product_row(n, image) for n in range(products) for image in range(images_each)]
    shop = Shop(folder / "list.csv", folder / "vectors.npy", folder / "shop.tflite", embeddings)
    write_csv(shop.list, rows)
    np.save(shop.vectors, embeddings)
    shop.bundle.write_bytes(bare_bundle(dim))
    return shop


def product_row(number: int, image: int = 0) -> dict[str, str]:
    """One line of a list; every field derives from `number`."""
    return {
        "image": f"pictures/{number:05d}-{image}.jpg",
        "product_id": f"sku-{number}",
        "title": f"Thing number {number} \N{LATIN SMALL LETTER E WITH ACUTE}",
        "category": f"category {number % 7}",
        "price": "" if number % 11 == 0 else f"{number}.{number % 100:02d}",
        "currency": "" if number % 11 == 0 else ("EUR", "USD")[number % 2],
        "stock": "" if number % 13 == 0 else str(number % 5),
        "url": f"https://shop.example/p/{number}",
        "image_url": f"https://shop.example/i/{number}-{image}.jpg",
        "attr.colour": COLOURS[number % 3],
        "attr.size": str(number % 4) if number % 2 else "",
    }


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Writes rows under the header of the first."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def bare_bundle(
    dim: int, *, queries: npt.NDArray[np.float32] | None = None, name: str = "bare"
) -> bytes:
    """A sealed bundle that says what a bundle must, around a model without operators."""
    return sealed_bundle(bare_description(dim, queries=queries, name=name))


def bare_description(
    dim: int, *, queries: npt.NDArray[np.float32] | None = None, name: str = "bare"
) -> Bundle:
    """What `bare_bundle` says."""
    size = 8
    tensor = np.full((size, size, 3), 128, np.uint8)
    jpeg = io.BytesIO()
    Image.fromarray(tensor).save(jpeg, "JPEG")
    rng = np.random.default_rng(5)
    embedding = unit(rng.standard_normal((1, dim), dtype=np.float32))
    return Bundle(
        spec=Spec(name=name, height=size, width=size, dim=dim),
        golden_examples=(GoldenExample(jpeg.getvalue(), tensor, embedding[0]),),
        golden_bound=0.01,
        representative=embedding,
        queries=np.empty((0, dim), np.float32) if queries is None else queries,
    )


def sealed_bundle(description: Bundle) -> bytes:
    """A .tflite file with nothing but the description."""
    contents = schema.BufferT()
    contents.data = np.frombuffer(bundles.encode(description), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = bundles.METADATA_NAME, 1
    model = schema.ModelT()
    model.version = 3
    model.buffers, model.metadata, model.subgraphs = [schema.BufferT(), contents], [entry], []
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bundles.seal(bytes(builder.Output()))
