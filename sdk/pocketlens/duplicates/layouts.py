"""Pictures whose colours lie alike, also where a tenth of the sides was cut away.

    ones, others = alike(thumbnails, 0.9, 2)

A hash of a crop is another hash, and a model may see another thing in it. But its colours lie as
those of the middle of the whole do: so pictures of 8 x 8 pixels, of all and of nine tenths, are
vectors, and those nearest each other are found as images are. Values in, values out.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pocketlens.duplicates import alignment
from pocketlens.duplicates.galleries import Gallery
from pocketlens.duplicates.neighbours import nearest
from pocketlens.query import clustering, codes

_MIDDLE = np.array([[0.05, 0.05, 0.95, 0.95]], np.float32)
_AT_ONCE = 4096


def alike(thumbnails: npt.NDArray[np.uint8], cosine: float, count: int) -> npt.NDArray[np.int64]:
    """Pairs of a picture and one of the `count` whose layouts are nearest to its own.

    Args:
        thumbnails: uint8 (n, 24, 24, 3).
        cosine: Of two layouts, from which they are a pair.
        count: Pictures that each is paired with, at most.

    Returns:
        int64 (2, m).
    """
    n = len(thumbnails)
    if n < 2:
        return np.zeros((2, 0), np.int64)
    rows = _layouts(thumbnails)
    centroids = clustering.centroids(
        rows, clustering.list_count(len(rows)), np.random.default_rng(0)
    )
    lists = clustering.nearest(rows, centroids.astype(np.float32)).astype(np.int64)
    scale = codes.scale_of(np.maximum(rows.max(axis=0), -rows.min(axis=0)))
    keys = np.arange(len(rows), dtype=np.uint32)
    gallery = Gallery.of(keys, codes.encode(rows, scale), lists, centroids, scale)
    # One more: a picture's own middle is mostly among them.
    pairs = np.stack(nearest(gallery, count + 1).pairs(cosine))
    found: npt.NDArray[np.int64] = gallery.firsts[pairs] % n
    return found


def _layouts(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Of all of each, and then of the middle of each: unit rows, float32 (2 n, 192).

    Zeros of what is of one colour.
    """
    n = len(thumbnails)
    found = np.empty((2 * n, 192), np.float32)
    for start in range(0, n, _AT_ONCE):
        some = thumbnails[start : start + _AT_ONCE].astype(np.float32)
        end = start + len(some)
        found[start:end] = alignment.layout(some)
        middles = alignment.cut(some, _MIDDLE.repeat(len(some), axis=0))
        found[n + start : n + end] = alignment.layout(middles)
    return found
