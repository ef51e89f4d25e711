"""Rows for a scorer, and what it must find among them, whatever multiplies."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np

from pocketlens_server.query import exact_blocks
from pocketlens_server.query.exact_blocks import Floats, Part
from pocketlens_server.query.scorers import Scorer

DIM = 16


def unit_rows(seed: int, count: int) -> Floats:
    rows = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def parts_of(vectors: Floats, hidden_share: float = 0.0) -> tuple[Part, ...]:
    keys = np.arange(1, len(vectors) + 1, dtype=np.uint32)
    rng = np.random.default_rng(5)
    parts = exact_blocks.changed((), np.zeros(0, np.int64), keys, vectors)
    if not hidden_share:
        return parts
    return tuple(part.without(rng.random(part.rows) < hidden_share) for part in parts)


def expect_the_nearest(scorer: Scorer, queries: int, hidden_share: float) -> None:
    """The ten nearest among the candidates, which are few."""
    vectors, asked = unit_rows(1, 80_000), unit_rows(2, queries)
    parts = parts_of(vectors, hidden_share)
    is_seen = np.concatenate(
        [np.ones(part.rows, np.bool_) if part.hidden is None else ~part.hidden for part in parts]
    )
    exact = vectors.astype(np.float64) @ asked.T.astype(np.float64)
    exact[~is_seen] = -np.inf

    found = scorer.candidates(parts, asked, 10)

    for number in range(queries):
        places = found.of(number).tolist()
        order = np.argsort(-exact[:, number], kind="stable")[: min(10, int(is_seen.sum()))]
        assert set(order.tolist()) <= set(places)
        assert len(places) == len(set(places)) <= 20


def expect_appended_rows(scorer: Scorer) -> None:
    """Rows of a version after, and none of them in the one before."""
    vectors, asked = unit_rows(1, 3000), unit_rows(2, 1)
    before = parts_of(vectors[:1000])
    scorer.candidates(before, asked, 5)
    after = exact_blocks.changed(
        before, np.zeros(0, np.int64), np.arange(1001, 3001, dtype=np.uint32), vectors[1000:]
    )

    for parts in (after, before, after):
        rows = sum(part.rows for part in parts)
        nearest = np.argsort(-(vectors[:rows] @ asked[0]))[:5]
        assert set(nearest.tolist()) <= set(scorer.candidates(parts, asked, 5).of(0).tolist())
