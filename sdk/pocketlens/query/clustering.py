"""Spherical k-means: where the lists of a store lie.

Embeddings and a random generator in, centroids out; the same generator state gives the same
centroids on one machine. Everything goes block by block, so that memory stays a few tens of MB
beside the sample.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

SINGLE_LIST_IMAGES = 20_000  # up to here an exact scan is as fast as probing
FINE_IMAGES = 200_000  # beyond, lists are twice as many and half as long
FLAT_CENTROIDS = 2_000  # more are made in two levels: 64 x 64 takes seconds, 4,096 flat minutes
ROWS_A_CENTROID = 100  # of the sample; more rows moved recall by less than 0.001
SAMPLE_ROWS = 10_000  # at least, for the mean of few centroids
ITERATIONS = 12
_BLOCK_SCORES = 1 << 22  # scores computed at once: 16 MiB


def list_count(images: int) -> int:
    """Lists of a store: 1 up to 20,000 images, 2 sqrt(n) above, 4 sqrt(n) beyond 200,000."""
    if images <= SINGLE_LIST_IMAGES:
        return 1
    return round((4 if images > FINE_IMAGES else 2) * math.sqrt(images))


def centroids(
    embeddings: npt.NDArray[np.float32], k: int, rng: np.random.Generator
) -> npt.NDArray[np.float16]:
    """Centroids of embeddings by spherical k-means.

    More than `FLAT_CENTROIDS` are made in two levels: sqrt(k) clusters, and in each of them as
    many centroids as its share of the rows.

    Args:
        embeddings: float32 (n, dim), unit rows, n >= 1; of more than 100 k (and 10,000) a sample is
            taken.
        k: Centroids wanted, 1 or more.
        rng: Draws the sample and the first centroids.

    Returns:
        float16 (k, dim), unit rows before rounding. Some are equal where distinct rows are fewer.
    """
    n, size = len(embeddings), max(ROWS_A_CENTROID * k, SAMPLE_ROWS)
    if n > size:
        chosen = rng.choice(n, size, replace=False)
        embeddings = embeddings[np.sort(chosen)]
    sample = np.ascontiguousarray(embeddings, dtype=np.float32)
    if k <= FLAT_CENTROIDS:
        return _flat(sample, k, rng).astype(np.float16)
    return _two_level(sample, k, rng).astype(np.float16)


def nearest(
    embeddings: npt.NDArray[np.float32], centres: npt.NDArray[np.float32]
) -> npt.NDArray[np.int32]:
    """Number of the centre with the highest dot product for each row, exactly, in blocks."""
    found = np.empty(len(embeddings), np.int32)
    step = max(1, _BLOCK_SCORES // len(centres))
    for start in range(0, len(embeddings), step):
        scores = embeddings[start : start + step] @ centres.T
        found[start : start + step] = scores.argmax(axis=1)
    return found


def _flat(
    sample: npt.NDArray[np.float32], k: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Lloyd's iterations on unit vectors; a cluster left empty starts again from a random row."""
    centres = sample[rng.choice(len(sample), k, replace=k > len(sample))]
    for _ in range(ITERATIONS if k > 1 else 1):
        members = nearest(sample, centres)
        sums, counts = _sums(sample, members, k)
        lengths = np.linalg.norm(sums, axis=1)
        lost = (counts == 0) | (lengths < 1e-6)
        sums[lost] = sample[rng.choice(len(sample), np.count_nonzero(lost))]
        lengths[lost] = np.maximum(np.linalg.norm(sums[lost], axis=1), np.float32(1e-6))
        centres = sums / lengths[:, None]
    return centres


def _two_level(
    sample: npt.NDArray[np.float32], k: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    coarse = _flat(sample, round(math.sqrt(k)), rng)
    members = nearest(sample, coarse)
    counts = np.bincount(members, minlength=len(coarse))
    fine = [
        _flat(sample[members == cluster], share, rng)
        for cluster, share in enumerate(_shares(counts, k))
        if share > 0
    ]
    return np.concatenate(fine)


def _shares(counts: npt.NDArray[np.intp], k: int) -> list[int]:
    """Splits `k` in proportion to `counts`, by largest remainders; 0 only where counts is small."""
    exact = counts * (k / counts.sum())
    shares = np.floor(exact).astype(int)
    missing = k - int(shares.sum())
    shares[np.argsort(shares - exact, kind="stable")[:missing]] += 1
    return [int(share) for share in shares]


def _sums(
    sample: npt.NDArray[np.float32], members: npt.NDArray[np.int32], k: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """Sum (k, dim) and count (k,) of each cluster's rows. `np.add.at` is ten times slower."""
    counts = np.bincount(members, minlength=k)
    order = np.argsort(members, kind="stable")
    sums = np.zeros((k, sample.shape[1]), np.float32)
    starts = np.cumsum(counts) - counts
    filled = np.flatnonzero(counts)
    step = max(1, k // 16)
    for first in range(0, len(filled), step):
        some = filled[first : first + step]
        begin, end = starts[some[0]], starts[some[-1]] + counts[some[-1]]
        rows = sample[order[begin:end]]
        sums[some] = np.add.reduceat(rows, starts[some] - begin, axis=0)
    return sums, counts
