"""What is searched with: pooled vectors and their agreement, against plain loops."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.making.embeddings import clustered, turned, unit

from pocketlens.query import query_vectors


@given(st.integers(1, 6), st.integers(0, 1000))
def test_similarity_to_a_pool_is_the_mean_of_the_cosines(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    photos, image = clustered(rng, n, 16), clustered(rng, 1, 16)[0]

    pooled = query_vectors.pooled(photos)

    assert float(pooled @ image) == pytest.approx(
        np.mean([each @ image for each in photos]), abs=1e-5
    )
    assert np.linalg.norm(pooled) <= 1 + 1e-6


@given(st.integers(2, 6), st.integers(0, 1000), st.sampled_from([0.0, 0.36]))
def test_agreement_is_the_cosine_with_the_mean_of_the_others(
    n: int, seed: int, background: float
) -> None:
    photos = clustered(np.random.default_rng(seed), n, 16)

    found = query_vectors.agreement(photos, background)

    for place, photo in enumerate(photos):
        others = np.delete(photos, place, axis=0).mean(axis=0)
        cosine = float(photo @ others / np.linalg.norm(others))
        scaled = max((cosine - background) / (1 - background), -1)
        assert found[place] == pytest.approx(scaled, abs=1e-5)


def test_a_photo_alone_agrees_with_itself() -> None:
    assert query_vectors.agreement(np.eye(4, dtype=np.float32)[:1], 0.3) == (1.0,)


def test_the_odd_one_of_three_is_seen() -> None:
    rng = np.random.default_rng(1)
    thing, other = unit(rng.standard_normal((2, 64), dtype=np.float32))
    photos = np.stack([*turned(rng, np.stack([thing, thing]), 0.9), other])

    first, second, odd = query_vectors.agreement(photos, 0.0)

    assert min(first, second) > 0.4 > odd


def test_photos_that_cancel_each_other_out_have_no_direction_and_no_agreement() -> None:
    photos = np.array([[1, 0], [-1, 0]], np.float32)

    assert query_vectors.pooled(photos).tolist() == [0, 0]
    assert query_vectors.agreement(photos, 0.0) == (-1.0, -1.0)


def test_agreement_with_others_that_cancel_each_other_out_is_none() -> None:
    photos = np.array([[0, 1], [1, 0], [-1, 0]], np.float32)

    assert query_vectors.agreement(photos, 0.0)[0] == 0


@given(st.integers(1, 6), st.integers(0, 1000))
def test_weights_are_those_of_the_formula(n: int, seed: int) -> None:
    nearest = np.random.default_rng(seed).uniform(-1, 1, n).astype(np.float32)

    found = query_vectors.weights_of(nearest)

    plain = [float(np.exp(each / 0.1)) for each in nearest.tolist()]
    assert found == pytest.approx([each / sum(plain) for each in plain], rel=1e-6)
    assert found.sum() == pytest.approx(1)


def test_pictures_count_by_their_weights() -> None:
    photos = np.eye(3, dtype=np.float32)

    pooled = query_vectors.pooled(photos, np.array([0.5, 0.25, 0.25]))

    assert pooled.tolist() == [0.5, 0.25, 0.25]


@given(st.integers(2, 9), st.integers(0, 200))
def test_background_is_the_mean_cosine_of_two(n: int, seed: int) -> None:
    pictures = clustered(np.random.default_rng(seed), n, 16, clusters=2)

    cosines = [a @ b for a, b in itertools.combinations(pictures, 2)]
    expected = min(max(float(np.mean(cosines)), 0.0), 0.9)
    assert query_vectors.background_of(pictures) == pytest.approx(expected, abs=1e-5)


def test_background_of_next_to_nothing_is_none() -> None:
    one = np.eye(4, dtype=np.float32)[:1]

    assert query_vectors.background_of(one[:0]) == query_vectors.background_of(one) == 0
    assert query_vectors.background_of(one.repeat(3, 0)) == 0.9
