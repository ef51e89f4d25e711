"""What a store is searched with: a vector that was given, or those of several pictures pooled.

    query = pooled(embeddings)              # of photos of one thing, or of a product's images
    each = agreement(embeddings)            # how far each says the same as the others

The mean is kept at its own length, which is 1 only where all pictures are one: the similarity of an
image is then the mean of its cosines with the pictures, and one that differs takes from all. Values
in, values out.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pocketlens.errors import QueryError

MOST_IMAGES = 1000  # of a product that are pooled: one with more looks no other for it
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


def pooled(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """One query for several pictures of one thing: their mean, float32 (dim,), at most unit length.

    Args:
        embeddings: float32 (n, dim), unit rows, one at least.
    """
    mean: npt.NDArray[np.float32] = embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def agreement(embeddings: npt.NDArray[np.float32]) -> tuple[float, ...]:
    """Cosine of each picture with the mean of the others, -1 to 1; 1 of a picture that is alone.

    Args:
        embeddings: float32 (n, dim), unit rows, one at least.
    """
    if len(embeddings) == 1:
        return (1.0,)
    exact = embeddings.astype(np.float64)
    others = exact.sum(axis=0) - exact
    lengths = np.maximum(np.linalg.norm(others, axis=1), _SHORTEST)
    return tuple(((exact * others).sum(axis=1) / lengths).clip(-1, 1).tolist())
