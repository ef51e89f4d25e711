"""What a store is searched with: a vector that was given, or those of several pictures pooled.

    query = pooled(embeddings, weights)     # of photos of one thing, or of a product's images
    each = agreement(embeddings, 0.0)       # how far each says the same as the others

A mean is kept at its own length, which is 1 only where all pictures are one: the similarity of an
image is then the mean of its cosines with the pictures, and one that differs takes from all. Values
in, values out.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pocketlens.errors import QueryError

MOST_IMAGES = 1000  # of a product that are pooled: one with more looks no other for it
# By so much farther from its own nearest image a photo counts e times less. With it three photos
# find 0.95 of products, and 0.90 among others; 0.94 and 0.86 where all count the same
# (benchmarks/shop.py).
_FARTHER = 0.1
_SHORTEST = 1e-12  # of a vector that has a direction


def unit(embedding: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """A vector at unit length, float32 (dim,).

    Raises:
        QueryError: It is not of numbers, not finite, or zero.
    """
    try:
        vector = np.asarray(embedding, np.float64)
    except (TypeError, ValueError) as exc:
        raise QueryError(f"Expected a vector of numbers. Received {type(embedding)}.") from exc
    length = float(np.linalg.norm(vector))
    if not 0 < length < float("inf"):
        raise QueryError("Expected a vector of finite numbers that are not all zero.")
    return (vector / length).astype(np.float32)


def pooled(
    embeddings: npt.NDArray[np.float32], weights: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.float32]:
    """One query for several pictures of one thing: their mean, float32 (dim,), at most unit length.

    Args:
        embeddings: float32 (n, dim), unit rows, one at least.
        weights: float64 (n,), whose sum is 1; all count the same if None.
    """
    mean: npt.NDArray[np.float32] = np.average(embeddings, axis=0, weights=weights).astype(
        np.float32
    )
    return mean


def weights_of(nearest: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """How much each photo counts, float64 (n,), sum 1: a bad one is near nothing, and matters less.

    Args:
        nearest: float32 (n,), similarity of each photo with the image nearest to it alone.
    """
    weights: npt.NDArray[np.float64] = np.exp(
        (nearest.astype(np.float64) - nearest.max()) / _FARTHER
    )
    weights /= weights.sum()
    return weights


def background_of(embeddings: npt.NDArray[np.float32]) -> float:
    """Cosine that two pictures of different things have on average, 0 to 0.9.

    A trained model has about 0; features of ImageNet have 0.36 on groceries.

    Args:
        embeddings: float32 (n, dim), unit rows, of pictures of as many things; 0 of fewer than two.
    """
    count = len(embeddings)
    if count < 2:
        return 0.0
    total = embeddings.sum(axis=0, dtype=np.float64)
    mean = (float(total @ total) - count) / (count * (count - 1))
    return min(max(mean, 0.0), 0.9)


def agreement(embeddings: npt.NDArray[np.float32], background: float) -> tuple[float, ...]:
    """How much each picture says the same as the others, -1 to 1; 1 of a picture that is alone.

    Its cosine with their mean, on a scale on which the background is 0: 1 is the same picture, and
    0 no more alike than any two.

    Args:
        embeddings: float32 (n, dim), unit rows, one at least.
        background: Of the model; see `background_of`.
    """
    if len(embeddings) == 1:
        return (1.0,)
    exact = embeddings.astype(np.float64)
    others = exact.sum(axis=0) - exact
    lengths = np.maximum(np.linalg.norm(others, axis=1), _SHORTEST)
    cosines = (exact * others).sum(axis=1) / lengths
    return tuple(((cosines - background) / (1 - background)).clip(-1, 1).tolist())
