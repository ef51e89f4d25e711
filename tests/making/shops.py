"""Shops on disk without pictures: lists, vectors, and a bundle whose model takes means of pixels.

shop = make_shop(tmp_path, products=60)
indexing.index(shop.list, vectors=shop.vectors, model=shop.bundle, out=tmp_path / "store")
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Bundle, GoldenExample, Spec
from tests.making import graphs
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
    dim: int,
    *,
    queries: npt.NDArray[np.float32] | None = None,
    name: str = "bare",
    is_broken: bool = False,
) -> bytes:
    """A sealed bundle that says what a bundle must, and no more.

    One that is broken does not compute its golden embedding.
    """
    said = bare_description(dim, queries=queries, name=name)
    if is_broken:
        (example,) = said.golden_examples
        other = replace(example, embedding=np.eye(dim, dtype=np.float32)[0])
        said = replace(said, golden_examples=(other,))
    return sealed_bundle(said)


def bare_description(
    dim: int, *, queries: npt.NDArray[np.float32] | None = None, name: str = "bare"
) -> Bundle:
    """What `bare_bundle` says."""
    height, width = 8, max(8, dim)
    tensor = np.full((height, width, 3), 128, np.uint8)
    jpeg = io.BytesIO()
    Image.fromarray(tensor).save(jpeg, "JPEG")
    golden = np.full(dim, -1 / np.sqrt(dim), np.float32)  # of one grey: all numbers are the same
    rng = np.random.default_rng(5)
    embedding = unit(rng.standard_normal((1, dim), dtype=np.float32))
    return Bundle(
        spec=Spec(name=name, height=height, width=width, dim=dim),
        golden_examples=(GoldenExample(jpeg.getvalue(), tensor, golden),),
        golden_bound=0.01,
        representative=embedding,
        queries=np.empty((0, dim), np.float32) if queries is None else queries,
    )


def sealed_bundle(description: Bundle) -> bytes:
    """A .tflite file with this description and the model of `_means`."""
    contents = schema.BufferT()
    contents.data = np.frombuffer(bundles.encode(description), np.uint8)
    model = _means(description.spec)
    entry = schema.MetadataT()
    entry.name, entry.buffer = bundles.METADATA_NAME, len(model.buffers)
    model.buffers.append(contents)
    model.metadata = [entry]
    return bundles.seal(graphs.packed(model))


def _means(spec: Spec) -> schema.ModelT:
    """A model whose output is the means of `dim` runs of as many bytes of the picture each."""
    dim, run = spec.dim, spec.height * spec.width * 3 // spec.dim
    if run * dim != spec.height * spec.width * 3:
        raise ValueError(f"{spec.height} x {spec.width} pixels are no {dim} runs")
    uint8, int32 = schema.TensorType.UINT8, schema.TensorType.INT32
    tensors = [
        graphs.tensor([1, spec.height, spec.width, 3], uint8),
        graphs.tensor([4], int32, buffer=1),
        graphs.tensor([1, dim, run, 1], uint8),
        graphs.tensor([1, dim, 1, 1], uint8),
        graphs.tensor([2], int32, buffer=2),
        graphs.tensor([1, dim], uint8),
        graphs.tensor([1, dim], schema.TensorType.FLOAT32),
    ]
    model = graphs.model_of(tensors, [[1, dim, run, 1], [1, dim]])
    model.subgraphs[0].operators = [
        graphs.reshape(0, 1, 2, [1, dim, run, 1]),
        graphs.average_pool(2, 3, 1, run),
        graphs.reshape(3, 4, 5, [1, dim]),
        graphs.dequantize(5, 6),
    ]
    return model
