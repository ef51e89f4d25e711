"""Nearest rows against a full comparison; images of one code as one row."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from tests.making.embeddings import clustered, turned, unit

from pocketlens.duplicates.galleries import Gallery
from pocketlens.duplicates.neighbours import nearest
from pocketlens.query import clustering, codes

DIM = 32
SCALE = np.full(DIM, 1.1, np.float32)


def gallery_of(rows: npt.NDArray[np.float32], lists: int = 1) -> Gallery:
    centroids = clustering.centroids(rows, lists, np.random.default_rng(5))
    numbers = clustering.nearest(rows, centroids.astype(np.float32)).astype(np.int64)
    keys = np.arange(1, len(rows) + 1, dtype=np.uint32)
    return Gallery.of(keys, codes.encode(rows, SCALE), numbers, centroids, SCALE)


@pytest.mark.parametrize(("n", "k"), [(1, 3), (2, 3), (40, 1), (1_500, 7)])
def test_one_list_is_compared_in_full(n: int, k: int) -> None:
    gallery = gallery_of(clustered(np.random.default_rng(1), n, DIM))

    found = nearest(gallery, k)

    similarities = gallery.units(slice(None)) @ gallery.units(slice(None)).T
    np.fill_diagonal(similarities, -np.inf)
    expected = -np.sort(-similarities, axis=1)[:, :k]
    np.testing.assert_allclose(found.similarities[:, : n - 1], expected[:, : n - 1], atol=1e-5)
    assert (found.rows[:, n - 1 :] == -1).all()
    assert not (found.rows == np.arange(n)[:, None]).any()


def test_near_ones_are_found_across_lists() -> None:
    rng = np.random.default_rng(2)
    rows = clustered(rng, 3_000, DIM, clusters=200)
    alike = turned(rng, rows[:300], 0.9)
    gallery = gallery_of(np.concatenate([rows, alike]), lists=110)

    found = nearest(gallery, 10)

    one, other = gallery.row_of[3_000:], gallery.row_of[:300]
    hits = (found.rows[one] == other[:, None]).any(axis=1)
    # What codes and a cluster's own rows leave of it: in full it is found as often.
    whole = gallery.units(one) @ gallery.units(slice(None)).T
    whole[np.arange(300), one] = -np.inf
    best = np.argsort(-whole, axis=1)[:, :10]
    assert hits.mean() >= 0.97 * (best == other[:, None]).any(axis=1).mean()


def test_images_of_one_code_are_one_row() -> None:
    rows = np.repeat(unit(np.eye(3, DIM, dtype=np.float32)), [4, 1, 2], axis=0)

    gallery = gallery_of(rows)

    assert len(gallery.codes) == 3
    assert [len(set(part.tolist())) for part in np.split(gallery.row_of, [4, 5])] == [1, 1, 1]
    assert len(set(gallery.row_of.tolist())) == 3
    np.testing.assert_allclose(gallery.units(gallery.row_of), rows, atol=1e-6)


def test_pairs_are_those_at_the_cosine() -> None:
    gallery = gallery_of(unit(np.array([[1, 0], [1, 0.1], [0, 1]], np.float32).repeat(16, 1)))

    ones, others = nearest(gallery, 2).pairs(0.9)

    pairs = {frozenset(pair) for pair in zip(ones.tolist(), others.tolist(), strict=True)}
    assert pairs == {frozenset(gallery.row_of[:2].tolist())}
