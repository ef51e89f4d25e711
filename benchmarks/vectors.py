"""Vectors for the benchmarks: embeddings of real pictures, spread to 10 k, 100 k or 1 M.

    python benchmarks/vectors.py --model SHOP.tflite --out embeddings.npz

A picture set of thousands is embedded by a bundle. Each spread vector lies between the embedding of
a picture and that of one of its eight nearest neighbours, at a random place, with noise of
`NOISE` standard deviations of each dimension. Queries are never spread: they are embeddings of
held-out photos, each whole and in three crops as a shopper's `box` makes them. Half of the held-out
photos are kept for fitting (`probes`), the other half asks. One seed gives one set of vectors.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.errors import ModelUnsupported
from pocketlens.query.embedder import Embedder

SEED = 20_261
NEIGHBOURS = 8
# So much that the ten nearest of a query stand apart. With little of it a gallery is thousands of
# near-duplicates, which no shop has, and whose order hangs on the third decimal.
NOISE = 1.0
CROPS = 3
GALLERY = (
    "grocery/catalog.csv",
    "grocery/photo_train.csv",
    "homeshop/catalog.csv",
    "wardrobe/wardrobe.csv",
)
HELD_OUT = "grocery/photo_val.csv"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Of real pictures, float32 (n, dim) each, unit rows.

    Attributes:
        gallery: Of catalogue pictures and photos: what is spread.
        fitting: Of held-out photos that a bundle may carry.
        queries: Of the other held-out photos and crops of them.
        source: What they are, in words.
    """

    gallery: Floats
    fitting: Floats
    queries: Floats
    source: str


def data_folder() -> Path:
    """The folder of picture sets: $POCKETLENS_SHARED/data, or ../shared/data."""
    root = Path(__file__).resolve().parent.parent
    return Path(os.environ.get("POCKETLENS_SHARED", root.parent / "shared")) / "data"


def embed(model: Path, every: int = 1) -> Embeddings:
    """Embeds the picture sets with a bundle; each `every`-th picture only."""
    from PIL import Image

    data = data_folder()
    gallery = [path for name in GALLERY for path in pictures(data / name)][::every]
    held_out = list(pictures(data / HELD_OUT))[:: min(every, 4)]
    rng = np.random.default_rng(SEED)
    with Embedder.open(model) as embedder:
        asked = []
        for path in held_out[1::2]:
            asked.append(embedder.embed(path))
            with Image.open(path) as picture:
                width, height = picture.size
            for _ in range(CROPS):
                asked.append(embedder.embed(path, box=_crop(rng, width, height)))
        return Embeddings(
            gallery=_embedded(embedder, gallery),
            fitting=_embedded(embedder, held_out[::2]),
            queries=np.stack(asked),
            source=f"{len(gallery)} pictures of {', '.join(GALLERY)} embedded by "
            f"'{embedder.spec.name}', spread by interpolation and noise {NOISE}; queries: "
            f"{len(held_out[1::2])} photos of {HELD_OUT}, whole and in {CROPS} crops each",
        )


def synthetic(dim: int = 128) -> Embeddings:
    """Clustered random vectors, for where the picture sets are missing."""
    rng = np.random.default_rng(SEED)
    rows = _clustered(rng, 5_000, dim)
    return Embeddings(
        rows[:4_000], rows[4_000:4_200], rows[4_200:], "synthetic clusters, no picture"
    )


def pictures(image_list: Path) -> Iterator[Path]:
    """Paths of the pictures of a CSV."""
    with image_list.open(newline="") as file:
        for row in csv.DictReader(file):
            yield image_list.parent / row["image"]


def spread(gallery: Floats, count: int, *, noise: float = NOISE) -> Floats:
    """float32 (count, dim), unit rows: the seeded spread of `gallery`."""
    rng = np.random.default_rng([SEED, count])
    similarities = gallery @ gallery.T
    np.fill_diagonal(similarities, -2)
    near = np.argpartition(-similarities, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    deviation = np.float32(noise) * gallery.std(axis=0)
    found = np.empty((count, gallery.shape[1]), np.float32)
    for start in range(0, count, 50_000):
        block = found[start : start + 50_000]
        one = rng.integers(0, len(gallery), len(block))
        other = near[one, rng.integers(0, NEIGHBOURS, len(block))]
        share = rng.random((len(block), 1), dtype=np.float32)
        aside = deviation * rng.standard_normal(block.shape, dtype=np.float32)
        block[:] = (1 - share) * gallery[one] + share * gallery[other] + aside
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return found


def save(embeddings: Embeddings, path: Path) -> None:
    """Writes embeddings, so that the next run need not embed."""
    np.savez(
        path,
        gallery=embeddings.gallery,
        fitting=embeddings.fitting,
        queries=embeddings.queries,
        source=np.array(embeddings.source),
    )


def load(path: Path) -> Embeddings:
    """Reads what `save` wrote."""
    with np.load(path) as file:
        return Embeddings(file["gallery"], file["fitting"], file["queries"], str(file["source"]))


def _embedded(embedder: Embedder, paths: list[Path]) -> Floats:
    """Embeddings of pictures, without those of which an int8 model makes nothing but zeros."""
    rows = []
    for path in paths:
        try:
            rows.append(embedder.embed(path))
        except ModelUnsupported as error:
            print(f"left out {path}: {error}", file=sys.stderr)
    return np.stack(rows)


def _crop(rng: np.random.Generator, width: int, height: int) -> tuple[float, float, float, float]:
    share = rng.uniform(0.7, 0.95)
    left, top = rng.uniform(0, 1 - share, 2)
    return (left * width, top * height, (left + share) * width, (top + share) * height)


def _clustered(rng: np.random.Generator, count: int, dim: int) -> Floats:
    centres = rng.standard_normal((250, dim), dtype=np.float32)
    rows = centres[rng.integers(0, 250, count)]
    rows = rows + np.float32(0.7) * rng.standard_normal(rows.shape, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="the bundle that embeds")
    parser.add_argument("--out", type=Path, required=True, help=".npz file to write")
    arguments = parser.parse_args()
    save(embed(arguments.model), arguments.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
