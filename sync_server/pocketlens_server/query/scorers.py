"""What finds the rows that may be nearest to queries: numpy on the CPU, or CuPy on a GPU.

scorer = scorer_at_hand()
found = scorer.candidates(parts, queries, 10)
found.of(0)                                # places, all of the ten nearest among them
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pocketlens.cores import usable_cores
from pocketlens_server.query.candidates import Candidates, error_bound
from pocketlens_server.query.exact_blocks import BLOCK_ROWS, Floats, Part

# Rows at once, so that they, or their scores, stay in a core's cache from the product to the
# comparison (benchmarks/exact_search.py): one query reads each row once, and more rows cost fewer
# calls; a few are multiplied one by one, and all but the first find the rows in the cache; for 16
# and 400,000 rows it took 54 ms with 8,192 at once, and 61 with 65,536.
_ONE_QUERY, _FEW_QUERIES, _MANY_QUERIES = 1 << 15, 1 << 12, 1 << 13
_FEW = 6
_FEW_SEEN = 1 / 8  # share of rows seen up to which they are copied out rather than all multiplied
_NVIDIA, _AMD, _WSL = Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg")


class Scorer(Protocol):
    """Threads: any number."""

    @property
    def accelerator(self) -> str:
        """What multiplies: "gpu", "gpu and cpu" once it had no room for some rows, or "cpu"."""

    def candidates(self, parts: Sequence[Part], queries: Floats, count: int) -> Candidates:
        """Rows that may be among the `count` nearest to each of the queries (q, dim)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a part: from `start` to before `end` of the one of that number."""

    number: int
    part: Part
    start: int
    end: int

    def score(self, queries: Floats, found: Candidates) -> None:
        """Gives its rows to candidates, by numpy."""
        rows = np.arange(self.start, self.end)
        vectors, hidden = self.part.block.vectors[self.start : self.end], self.part.hidden
        if hidden is not None:
            seen = np.flatnonzero(~hidden[self.start : self.end])
            if len(seen) <= _FEW_SEEN * len(rows):
                vectors, rows, hidden = vectors[seen], rows[seen], None
        scores = _products(vectors, queries)
        if hidden is not None:
            scores[hidden[self.start : self.end]] = -np.inf
        found.take(self.number * BLOCK_ROWS + rows, scores)


class CpuScorer:
    """numpy, in as many threads as there are cores; each takes the piece that is next.

    Whoever loads numpy should give its BLAS one thread ($OPENBLAS_NUM_THREADS, as `serve` does): on
    a machine with other work its threads wait for one another, which made 16 queries take four
    times as long as one thread.
    """

    accelerator = "cpu"

    def __init__(self, threads: int | None = None) -> None:
        """Takes how many threads a search has; None: one a core."""
        self._others = (threads or usable_cores()) - 1
        self._pool = ThreadPoolExecutor(max(1, self._others), thread_name_prefix="pocketlens-score")

    def candidates(self, parts: Sequence[Part], queries: Floats, count: int) -> Candidates:
        """See `Scorer.candidates`."""
        pieces = deque(_pieces(parts, len(queries)))

        def work() -> Candidates:
            found = Candidates(len(queries), count, error_bound(queries.shape[1]))
            while True:
                try:
                    piece = pieces.popleft()
                except IndexError:
                    return found
                piece.score(queries, found)

        others = [self._pool.submit(work) for _ in range(min(self._others, len(pieces) - 1))]
        found = work()
        for other in others:
            if not other.cancel():  # it began before all was done
                found.merge(other.result())
        return found


def scorer_at_hand() -> Scorer:
    """CuPy on the first GPU, where both are there and answer as they should; else numpy."""
    if not any(device.exists() for device in (_NVIDIA, _AMD, _WSL)):
        return CpuScorer()  # CuPy takes a second to load
    from pocketlens_server.query import gpu_scorer

    return gpu_scorer.on_gpu() or CpuScorer()


def _pieces(parts: Sequence[Part], queries: int) -> Iterator[Piece]:
    rows = _ONE_QUERY if queries == 1 else _FEW_QUERIES if queries <= _FEW else _MANY_QUERIES
    for number, part in enumerate(parts):
        for start in range(0, part.rows, rows):
            yield Piece(number, part, start, min(start + rows, part.rows))


def _products(vectors: Floats, queries: Floats) -> Floats:
    """Dot products float32 (n, q), in memory by rows.

    For 500,000 rows of 128 in one core: one query in 11 ms by einsum, which is what reading them
    takes, and in 15 by BLAS; two in 21 one by one, and in 42 as a matrix.
    """
    if len(queries) == 1:
        read: Floats = np.einsum("nd,qd->nq", vectors, queries, optimize=False)
        return read
    if len(queries) <= _FEW:
        return np.stack([vectors @ query for query in queries], axis=1)
    found: Floats = vectors @ queries.T  # the other way around it takes 1.7 times as long
    return found
