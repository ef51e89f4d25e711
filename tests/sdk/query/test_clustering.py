"""K-means: as many centroids as asked for, near their rows, the same from one seed."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
from tests.making.embeddings import clustered, unit

from pocketlens.query import clustering


@pytest.mark.parametrize(
    ("images", "lists"),
    [
        (0, 1),
        (1, 1),
        (20_000, 1),
        (20_001, 283),
        (100_000, 632),
        (200_000, 894),
        (200_001, 1789),
        (1_000_000, 4000),
    ],
)
def test_list_count_grows_with_the_catalogue(images: int, lists: int) -> None:
    assert clustering.list_count(images) == lists


def test_centroids_find_the_clusters_that_are_there() -> None:
    rng = np.random.default_rng(2)
    rows = clustered(rng, 3_000, 16, clusters=12, spread=0.1)

    found = unit(clustering.centroids(rows, 24, rng).astype(np.float32))

    similarity = (rows @ found.T).max(axis=1)
    assert similarity.mean() > 0.98


def test_centroids_are_those_of_the_seed() -> None:
    rows = clustered(np.random.default_rng(3), 2_000, 8)

    first = clustering.centroids(rows, 20, np.random.default_rng(4))
    again = clustering.centroids(rows, 20, np.random.default_rng(4))
    other = clustering.centroids(rows, 20, np.random.default_rng(5))

    assert first.dtype == np.float16
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_one_centroid_is_the_mean_direction() -> None:
    rows = clustered(np.random.default_rng(6), 500, 8, clusters=3)

    found = clustering.centroids(rows, 1, np.random.default_rng(0))

    np.testing.assert_allclose(found[0], unit(rows.mean(axis=0)), atol=1e-3)


def test_rows_that_cancel_out_still_give_a_unit_centroid() -> None:
    rows = np.array([[1, 0], [-1, 0]], np.float32)

    found = clustering.centroids(rows, 1, np.random.default_rng(0))

    np.testing.assert_allclose(np.linalg.norm(found.astype(np.float32), axis=1), 1, atol=1e-3)


def test_fewer_distinct_rows_than_centroids() -> None:
    rows = np.repeat(unit(np.eye(3, 4, dtype=np.float32) + 0.1), 5, axis=0)

    found = clustering.centroids(rows, 10, np.random.default_rng(0))

    assert found.shape == (10, 4)
    assert (rows @ found.astype(np.float32).T).max(axis=1).min() > 0.999


def test_many_centroids_are_made_in_two_levels_and_lists_stay_even() -> None:
    rng = np.random.default_rng(7)
    rows = clustered(rng, 30_000, 16, clusters=200)
    k = clustering.FLAT_CENTROIDS + 48

    found = clustering.centroids(rows, k, rng).astype(np.float32)

    assert found.shape == (k, 16)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=2e-3)
    sizes = np.bincount(clustering.nearest(rows, found), minlength=k)
    assert sizes.max() < 12 * len(rows) / k
    random = rows[rng.choice(len(rows), k, replace=False)]
    assert (rows @ found.T).max(axis=1).mean() > (rows @ random.T).max(axis=1).mean()


def test_nearest_agrees_with_one_product_over_all_blocks() -> None:
    rng = np.random.default_rng(8)
    rows, centres = clustered(rng, 9_001, 8), clustered(rng, 700, 8)

    assert np.array_equal(clustering.nearest(rows, centres), (rows @ centres.T).argmax(axis=1))


def test_large_catalogues_are_sampled() -> None:
    rows = clustered(np.random.default_rng(9), clustering.SAMPLE_ROWS + 2_000, 8)

    found = clustering.centroids(rows, 30, np.random.default_rng(1)).astype(np.float32)

    whole = clustering.centroids(rows[: clustering.SAMPLE_ROWS], 30, np.random.default_rng(1))
    quality = (rows @ found.T).max(axis=1).mean()
    assert quality == pytest.approx(
        (rows @ whole.astype(np.float32).T).max(axis=1).mean(), abs=0.02
    )
