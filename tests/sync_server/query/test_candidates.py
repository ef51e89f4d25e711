"""Candidates: none of the nearest is lost, however close the scores and whatever their order."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens_server.query.candidates import Candidates, error_bound

STEP = 2.0**-24  # of float32 below 1


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 12_000),
    queries=st.integers(1, 5),
    count=st.integers(1, 40),
    pieces=st.integers(1, 9),
    spread=st.sampled_from([0, 1, 50, 3000, 10**7]),
)
def test_none_of_the_nearest_is_lost_where_scores_are_off_by_their_bound(
    seed: int, rows: int, queries: int, count: int, pieces: int, spread: int
) -> None:
    rng = np.random.default_rng(seed)
    exact = (0.5 + rng.integers(-spread, spread + 1, (rows, queries)) * STEP / 2).astype(np.float64)
    error = error_bound(64)
    scores = (exact + rng.choice([-error, 0, error], exact.shape)).astype(np.float32)
    gone = rng.random(rows) < rng.choice([0, 0.5])
    scores[gone] = -np.inf
    found, other = (Candidates(queries, count, error) for _ in range(2))
    shares = np.array_split(rng.permutation(rows), pieces)
    for number, places in enumerate(shares):
        (found if number % 2 else other).take(places.astype(np.int64), scores[places])
    found.merge(other)

    for query in range(queries):
        places = found.of(query)
        rounded = np.where(gone, -np.inf, exact[:, query].astype(np.float32))
        order = np.lexsort((np.arange(rows), -rounded))[:count]
        nearest = order[rounded[order] > -np.inf]
        assert len(set(places.tolist())) == len(places)
        assert set(nearest.tolist()) <= set(places.tolist())
        assert not gone[places].any()


def test_far_fewer_are_kept_than_there_are() -> None:
    rng = np.random.default_rng(1)
    scores = rng.uniform(-1, 1, (200_000, 3)).astype(np.float32)
    found = Candidates(3, 10, error_bound(128))
    for start in range(0, len(scores), 8192):
        places = np.arange(start, min(start + 8192, len(scores)))
        found.take(places, scores[places])

    assert [len(found.of(query)) for query in range(3)] < [20] * 3
