"""A head fitted to features: what it keeps of their neighbourhoods."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import keras
import numpy as np
import pytest

from pocketlens_converter import heads, models


def model_of(dim: int) -> keras.Model:
    """Means of 4 x 4 patches as features, 48 numbers, and a head."""
    pictures = keras.Input((16, 16, 3))
    pooled = keras.layers.AveragePooling2D(4)(pictures)
    features = keras.layers.Flatten()(pooled)
    return keras.Model(pictures, keras.layers.Dense(dim)(features))


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("dim", [8, 48, 64])
def test_embeddings_are_centred_and_of_mean_length_one(pictures: np.ndarray, dim: int) -> None:
    model = model_of(dim)

    heads.fit_head(model, pictures, seed=0)

    outputs = models.outputs(model, pictures)
    assert np.abs(outputs.mean(axis=0)).max() < 1e-4
    assert np.linalg.norm(outputs, axis=1).mean() == pytest.approx(1, abs=1e-4)


def test_neighbours_stay_neighbours(pictures: np.ndarray) -> None:
    model = model_of(48)
    features = models.outputs(keras.Model(model.input, model.layers[-1].input), pictures)
    centred = features - features.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    np.fill_diagonal(wanted := centred @ centred.T, -1)

    heads.fit_head(model, pictures, seed=0)

    embeddings = models.embed(model, pictures)
    np.fill_diagonal(found := embeddings @ embeddings.T, -1)
    assert np.mean(wanted.argmax(axis=1) == found.argmax(axis=1)) > 0.7
    assert np.corrcoef(wanted.ravel(), found.ravel())[0, 1] > 0.95


def test_more_dimensions_than_features_are_small_but_not_nothing(pictures: np.ndarray) -> None:
    model = model_of(64)

    heads.fit_head(model, pictures, seed=0)

    lengths = np.linalg.norm(model.layers[-1].get_weights()[0], axis=0)
    assert lengths[48:].min() > 0
    assert lengths[48:].max() < lengths[:48].min()
    assert np.isfinite(lengths).all()
