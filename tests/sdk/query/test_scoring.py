"""Scores by the int8 kernel agree with plain sums, whatever the dimension."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
from tests.making.embeddings import clustered

from pocketlens.query import codes, scoring


@pytest.mark.parametrize("dim", [2, 3, 31, 32, 64, 100, 127, 128, 129, 512, 1000, 4096])
def test_coarse_scores_are_the_integer_dot_products(dim: int) -> None:
    rng = np.random.default_rng(dim)
    blocks = [rng.integers(-127, 128, (n, dim), dtype=np.int8) for n in (0, 1, 17, 0, 130)]
    weights = rng.standard_normal(dim, dtype=np.float32)

    found = scoring.coarse_scores(weights, blocks)

    rounded = np.rint(weights * (127 / np.abs(weights).max())).astype(np.int64)
    expected = np.concatenate(blocks).astype(np.int64) @ rounded
    assert found.tolist() == expected.tolist()


def test_all_levels_at_their_ends_do_not_overflow() -> None:
    block = np.full((3, 4096), -127, np.int8)

    assert (
        scoring.coarse_scores(np.ones(4096, np.float32), [block]).tolist()
        == [-127 * 127 * 4096] * 3
    )


def test_no_rows_have_no_scores() -> None:
    assert len(scoring.coarse_scores(np.ones(8, np.float32), [])) == 0
    assert len(scoring.coarse_scores(np.ones(8, np.float32), [np.empty((0, 8), np.int8)])) == 0


def test_a_query_of_zeros_scores_zero() -> None:
    block = np.ones((2, 8), np.int8)

    assert scoring.coarse_scores(np.zeros(8, np.float32), [block]).tolist() == [0, 0]


def test_rows_read_from_bytes_are_scored_like_others() -> None:
    rows = np.random.default_rng(1).integers(-127, 128, (50, 24), dtype=np.int8)
    weights = np.random.default_rng(2).standard_normal(24, dtype=np.float32)
    read = np.frombuffer(b"x" + rows.tobytes(), np.int8, offset=1).reshape(50, 24)

    found = scoring.coarse_scores(weights, [read])

    assert np.array_equal(found, scoring.coarse_scores(weights, [rows]))


def test_similarities_are_those_of_the_decoded_codes() -> None:
    rng = np.random.default_rng(3)
    rows, query = clustered(rng, 200, 32), clustered(rng, 1, 32)[0]
    scale = codes.scale_of(np.abs(rows).max(axis=0))
    encoded = codes.encode(rows, scale)

    found = scoring.similarities(scoring.weights(query, scale), encoded)

    np.testing.assert_allclose(found, codes.decode(encoded, scale) @ query, atol=1e-6)
    np.testing.assert_allclose(found, rows @ query, atol=0.01)
