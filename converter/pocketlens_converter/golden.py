"""Golden examples: pictures and what the reference makes of them, and how far one may drift.

The bound is the cosine distance at which less than 1 % of first matches change: a runtime within
it gives the same answers, one beyond it does not.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.formats.bundle import GoldenExample, Spec
from pocketlens.query import pictures
from pocketlens_converter.embedding_models import EmbeddingModel

JPEG_QUALITY = 90
MAX_JPEG_BYTES = 256 * 1024
CHANGED_SHARE = 0.01
DRAWS = 8  # directions of drift tried for each query
# LiteRT's own kernels without XNNPACK drift by up to 2.1e-3 on one int8 file: below half more,
# kernels that only round differently would be refused. Above the largest, a runtime is broken
# even where a small catalogue forgives it.
LEAST_BOUND, LARGEST_BOUND = 3e-3, 2e-2
QUERY_COSINE = 0.5  # of a photo and its catalogue picture, where no photos are given


def example(model: EmbeddingModel, path: Path) -> GoldenExample:
    """The picture at `path` as a golden example: made small, encoded, and embedded.

    Raises:
        PictureError: It cannot be read.
    """
    jpeg = _small_jpeg(path, model.spec)
    tensor = pictures.tensor(jpeg, model.spec)
    return GoldenExample(jpeg, tensor, model.embed_tensors(tensor[None])[0])


def bound(
    queries: npt.NDArray[np.float32], gallery: npt.NDArray[np.float32], rng: np.random.Generator
) -> float:
    """Largest cosine distance by which queries may drift and keep 99 % of their first matches.

    Args:
        queries: float32 (q, dim), unit rows.
        gallery: float32 (n, dim), unit rows.
        rng: Draws the directions of the drift.

    Returns:
        A distance within `LEAST_BOUND` and `LARGEST_BOUND`.
    """
    if len(gallery) < 2:  # whatever the drift, the only image stays first
        return LARGEST_BOUND
    first = (queries @ gallery.T).argmax(axis=1)
    directions = [_orthogonal(queries, rng) for _ in range(DRAWS)]
    steps = np.geomspace(LARGEST_BOUND, LEAST_BOUND, 25)
    for distance in steps:
        cosine = 1 - distance
        changed = [
            ((cosine * queries + np.sqrt(1 - cosine**2) * direction) @ gallery.T).argmax(axis=1)
            != first
            for direction in directions
        ]
        if np.mean(changed) < CHANGED_SHARE:
            return float(distance)
    return LEAST_BOUND


def imagined_queries(
    gallery: npt.NDArray[np.float32], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Stand-ins for photos where none are given: gallery rows moved to cosine 0.5."""
    moved = QUERY_COSINE * gallery + np.sqrt(1 - QUERY_COSINE**2) * _orthogonal(gallery, rng)
    return np.asarray(moved, np.float32)


def _orthogonal(rows: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A random unit vector orthogonal to each row."""
    drawn = rng.standard_normal(rows.shape, dtype=np.float32)
    drawn -= (drawn * rows).sum(axis=1, keepdims=True) * rows
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def _small_jpeg(path: Path, spec: Spec) -> bytes:
    """The picture as a baseline JPEG, its shorter side twice the model's at most."""
    side = 2 * max(spec.height, spec.width)
    picture = pictures.upright(path, at_least=side)
    picture.thumbnail((side, side))
    for quality in (JPEG_QUALITY, 75, 50, 25):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        if file.tell() <= MAX_JPEG_BYTES:
            break
    return file.getvalue()
