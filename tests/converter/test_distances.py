"""Pairwise distances against numpy's."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import keras
import numpy as np
from tests.making.embeddings import clustered

from pocketlens_converter import distances


def test_distances_are_numpys() -> None:
    rng = np.random.default_rng(0)
    rows, columns = clustered(rng, 5, 16), clustered(rng, 7, 16)

    cosines = np.asarray(distances.cosines(rows, columns))
    euclidean = np.asarray(distances.euclidean(rows, columns))

    np.testing.assert_allclose(cosines, rows @ columns.T, atol=1e-6)
    expected = np.linalg.norm(rows[:, None] - columns[None], axis=2)
    np.testing.assert_allclose(euclidean, expected, atol=1e-5)


def test_distance_to_itself_has_a_finite_slope() -> None:
    import tensorflow as tf

    rows = tf.Variable(np.eye(3, dtype=np.float32))
    with tf.GradientTape() as tape:
        total = keras.ops.sum(distances.euclidean(rows, rows))

    assert np.isfinite(tape.gradient(total, rows).numpy()).all()
