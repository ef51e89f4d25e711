"""The images of a catalogue that lie nearest each of its images.

    near = nearest(gallery, 10)                # rows and similarities, (rows, 10) each

A row is compared with those in the lists nearest to it, as a search would. Values in, values out.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pocketlens.duplicates.galleries import Gallery
from pocketlens.progress import Progress

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

# Lists that a row is compared with: of neighbours at cosine 0.9 that a full comparison finds, 97 of
# 100 or more are found in 8 of 110.
PROBES = 8
_ROWS, _COLUMNS = 1024, 4096  # compared at once: 16 MiB of similarities
_THREADS = 2
_SHARE = 1 << 15  # rows of a thread at once: each list is decoded for each share


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest rows of each row, itself left out.

    Attributes:
        rows: int64 (rows, k), nearest first; -1 where there are fewer.
        similarities: float32 (rows, k), cosines; -inf where there are fewer.
    """

    rows: Numbers
    similarities: Floats

    def pairs(self, cosine: float, count: int | None = None) -> tuple[Numbers, Numbers]:
        """Pairs of a row and one of its `count` nearest (all if None) at `cosine` or more."""
        ones, ranks = np.nonzero(self.similarities[:, :count] >= cosine)
        return ones, self.rows[ones, ranks]


def nearest(
    gallery: Gallery,
    k: int,
    *,
    probes: int = PROBES,
    progress: Progress = lambda stage, done, total: None,
) -> Nearest:
    """Finds the `k` nearest of each row among the rows of the `probes` lists nearest to it.

    Takes time in proportion to rows times the length of lists, and 12 k bytes a row.

    Args:
        gallery: What is compared with itself.
        k: Neighbours wanted, 1 or more.
        probes: Lists that a row is compared with.
        progress: Called with "comparing codes".
    """
    n = len(gallery.codes)
    best = Nearest(np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32))

    def find(rows: range) -> int:
        for asking, columns, similarities in _compared(gallery, rows, probes):
            similarities[asking[:, None] == columns] = -np.inf
            _offer_in_place(best, asking, columns, similarities)
        return len(rows)

    # numpy lets go of Python's lock in what takes time; each row is of one thread alone.
    shares = [range(start, min(start + _SHARE, n)) for start in range(0, n, _SHARE)]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="pocketlens-nearest") as pool:
        for done in itertools.accumulate(pool.map(find, shares)):
            progress("comparing codes", done, n)
    return best


def _compared(
    gallery: Gallery, rows: range, probes: int
) -> Iterator[tuple[Numbers, Numbers, Floats]]:
    """Rows, rows in one of their nearest lists, and the similarities of all with all."""
    lists = len(gallery.centroids)
    probes = min(probes, lists)
    asked = np.empty((len(rows), probes), np.int32)
    for start in range(0, len(rows), _ROWS):
        end = min(start + _ROWS, len(rows))
        scores = gallery.units(slice(rows[start], rows[end - 1] + 1)) @ gallery.centroids.T
        asked[start:end] = np.argpartition(scores, lists - probes, axis=1)[:, lists - probes :]
    order = np.argsort(asked, axis=None, kind="stable")
    bounds = np.searchsorted(asked.ravel()[order], np.arange(lists + 1))
    for number in range(lists):
        asking = rows.start + order[bounds[number] : bounds[number + 1]] // probes
        held = np.arange(gallery.starts[number], gallery.starts[number + 1])
        for first in range(0, len(held), _COLUMNS):
            columns = held[first : first + _COLUMNS]
            units = gallery.units(columns).T
            for start in range(0, len(asking), _ROWS):
                some = asking[start : start + _ROWS]
                yield some, columns, gallery.units(some) @ units


def _offer_in_place(best: Nearest, rows: Numbers, columns: Numbers, similarities: Floats) -> None:
    """Keeps the best of what was known of `rows` and what is offered."""
    k = best.rows.shape[1]
    count = min(k, len(columns))
    taken = np.argpartition(similarities, len(columns) - count, axis=1)[:, len(columns) - count :]
    merged = np.concatenate(
        [best.similarities[rows], np.take_along_axis(similarities, taken, axis=1)], axis=1
    )
    known = np.concatenate([best.rows[rows], columns[taken]], axis=1)
    known[merged == -np.inf] = -1
    order = np.argsort(-merged, axis=1, kind="stable")[:, :k]
    best.rows[rows] = np.take_along_axis(known, order, axis=1)
    best.similarities[rows] = np.take_along_axis(merged, order, axis=1)
