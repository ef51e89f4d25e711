"""Codes: rounding, saturation, scale, the generation they belong to."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.making.embeddings import clustered

from pocketlens.query import codes

UNIT = st.floats(-1, 1, width=32)


def plain_encode(embeddings: np.ndarray, scale: np.ndarray) -> list[list[int]]:
    return [
        [
            max(-127, min(127, round(127 * float(x) / float(s))))
            for x, s in zip(row, scale, strict=True)
        ]
        for row in embeddings
    ]


def test_scale_leaves_a_tenth_and_never_vanishes() -> None:
    scale = codes.scale_of(np.array([0.5, 0.0, 1e-9], np.float32))

    assert scale.dtype == np.float32
    np.testing.assert_allclose(scale, [0.55, 1e-3, 1e-3], rtol=1e-6)


def test_encode_agrees_with_the_formula_written_plainly() -> None:
    rng = np.random.default_rng(1)
    embeddings = rng.uniform(-1, 1, (40, 7)).astype(np.float32)
    scale = rng.uniform(0.2, 1, 7).astype(np.float32)

    found = codes.encode(embeddings, scale)

    assert found.dtype == np.int8
    assert np.abs(found - np.array(plain_encode(embeddings, scale))).max() <= 1  # ties of float32
    assert (found != np.array(plain_encode(embeddings, scale))).mean() < 0.01


@pytest.mark.parametrize(
    ("value", "code"),
    [(0.0, 0), (1.0, 127), (-1.0, -127), (9.0, 127), (-9.0, -127), (0.5 / 127, 0), (1.5 / 127, 2)],
)
def test_known_codes(value: float, code: int) -> None:
    found = codes.encode(np.array([[value]], np.float32), np.ones(1, np.float32))

    assert found.tolist() == [[code]]


@given(
    arrays(np.float32, (5, 3), elements=UNIT),
    arrays(np.float32, 3, elements=st.floats(0.5, 1.0, width=32)),
)
@settings(deadline=None, max_examples=60)
def test_decoded_codes_are_half_a_level_off_at_most(
    embeddings: np.ndarray, scale: np.ndarray
) -> None:
    inside = np.clip(embeddings, -scale, scale)

    decoded = codes.decode(codes.encode(inside, scale), scale)

    assert np.all(np.abs(decoded - inside) <= scale / 127 * 0.5001)


@given(arrays(np.int8, (4, 3), elements=st.integers(-127, 127)))
@settings(deadline=None, max_examples=60)
def test_codes_of_decoded_codes_are_the_same(given_codes: np.ndarray) -> None:
    scale = np.array([0.3, 0.01, 1.7], np.float32)

    assert np.array_equal(codes.encode(codes.decode(given_codes, scale), scale), given_codes)


def test_saturated_share_counts_both_ends() -> None:
    assert codes.saturated_share(np.array([[127, -127, 126, 0]], np.int8)) == 0.5
    assert codes.saturated_share(np.empty((0, 4), np.int8)) == 0.0


def test_no_embeddings_make_no_codes() -> None:
    assert codes.encode(np.empty((0, 4), np.float32), np.ones(4, np.float32)).shape == (0, 4)


def test_generation_is_named_by_bundle_and_scale() -> None:
    scale = np.array([0.5, 0.25], np.float32)
    bundle = bytes(range(32))

    found = codes.generation_id(bundle, scale)

    assert found == hashlib.sha256(bundle + bytes.fromhex("0000003f0000803e")).digest()
    assert found != codes.generation_id(bundle, scale * 2)


def plain_feedback(levels: np.ndarray, feedback: np.ndarray) -> np.ndarray:
    """One number after the other, without blocks."""
    found = np.empty_like(levels)
    for row, wanted in zip(found, levels, strict=True):
        rest = wanted.astype(np.float64)
        for j in range(len(rest)):
            row[j] = np.clip(np.rint(rest[j]), -127, 127)
            rest[j + 1 :] -= feedback[j, j + 1 :] * (rest[j] - row[j])
    return found


@pytest.mark.parametrize("dim", [2, 15, 16, 17, 40])
def test_feedback_agrees_with_rounding_one_number_after_the_other(dim: int) -> None:
    rng = np.random.default_rng(dim)
    embeddings = clustered(rng, 300, dim, clusters=5)
    scale = codes.scale_of(np.abs(embeddings).max(axis=0))
    feedback = codes.feedback_of(scale, embeddings)
    assert feedback is not None

    found = codes.encode(embeddings, scale, feedback)

    expected = plain_feedback(embeddings * (127 / scale), feedback)
    assert (found != expected).mean() < 0.002  # ties fall either way in float32


def test_feedback_brings_similarities_nearer_and_codes_stay_near() -> None:
    rng = np.random.default_rng(11)
    narrow = np.linalg.qr(rng.standard_normal((64, 64)))[0][:12].astype(np.float32)
    rows = clustered(rng, 3_200, 12, clusters=40) @ narrow + 0.02 * rng.standard_normal((3_200, 64))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    gallery, photos, held_out = rows[:3_000], rows[3_000:3_100], rows[3_100:]
    scale = codes.scale_of(np.abs(gallery).max(axis=0))

    def error(encoded: np.ndarray) -> float:
        return float((held_out @ (codes.decode(encoded, scale) - gallery).T).std())

    plain = codes.encode(gallery, scale)
    shaped = codes.encode(gallery, scale, codes.feedback_of(scale, gallery[:200], photos))

    assert error(shaped) < 0.7 * error(plain)
    decoded = codes.decode(shaped, scale)
    cosines = (decoded * gallery).sum(axis=1) / np.linalg.norm(decoded, axis=1)
    assert cosines.min() > 0.9995


def test_without_samples_there_is_no_feedback() -> None:
    scale = np.ones(4, np.float32)

    assert codes.feedback_of(scale) is None
    assert codes.feedback_of(scale, np.empty((0, 4), np.float32)) is None


def test_samples_that_fill_every_direction_alike_round_plainly() -> None:
    scale = np.ones(6, np.float32)
    feedback = codes.feedback_of(scale, np.eye(6, dtype=np.float32))
    embeddings = clustered(np.random.default_rng(1), 50, 6)

    assert np.array_equal(
        codes.encode(embeddings, scale, feedback), codes.encode(embeddings, scale)
    )
