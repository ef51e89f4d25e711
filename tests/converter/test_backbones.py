"""Backbones: what they take, what stays frozen, what is refused."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from pocketlens.errors import TrainingError
from pocketlens_converter import backbones
from pocketlens_converter.options import TrainOptions

SMALL = TrainOptions(backbone="MobileNetV2", alpha=0.35, image_size=64, dim=16)


def test_model_takes_levels_and_gives_embeddings() -> None:
    model = backbones.build(TrainOptions(backbone="Tiny", image_size=48, dim=12), None)

    embeddings = np.asarray(model(np.full((2, 48, 48, 3), 255, np.float32)))

    assert embeddings.shape == (2, 12)
    assert np.isfinite(embeddings).all()


def test_model_consists_of_built_in_layers(tmp_path: Path) -> None:
    model = backbones.build(TrainOptions(backbone="Tiny", image_size=48, dim=12), None)
    model.save(tmp_path / "model.keras")

    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)

    picture = np.zeros((1, 48, 48, 3), np.float32)
    np.testing.assert_allclose(np.asarray(again(picture)), np.asarray(model(picture)), rtol=1e-5)


def test_from_random_weights_everything_learns() -> None:
    model = backbones.build(SMALL, None)

    assert backbones.has_batch_statistics(model)
    assert len(model.non_trainable_variables) == sum(
        2 for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)
    )


def test_from_given_weights_norms_and_first_layers_are_frozen(tmp_path: Path) -> None:
    weights = tmp_path / "backbone.weights.h5"
    donor = keras.applications.MobileNetV2(
        alpha=0.35, include_top=False, weights=None, input_shape=(64, 64, 3), pooling="avg"
    )
    donor.save_weights(weights)

    model = backbones.build(SMALL, weights)

    assert not backbones.has_batch_statistics(model)
    trainable = {variable.path.split("/")[-2] for variable in model.trainable_variables}
    assert "embedding" in trainable
    assert "Conv1" not in trainable
    assert "Conv_1" in trainable
    backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    for mine, theirs in zip(backbone.get_weights(), donor.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("options", "weights", "says"),
    [
        (TrainOptions(backbone="Nothing"), None, "Expected a backbone of"),
        (TrainOptions(backbone="Tiny", alpha=0.5), None, "one width only"),
        (SMALL, "missing.h5", "no file of weights"),
        (SMALL, "list.csv", "does not fit"),
    ],
)
def test_what_cannot_be_built_is_said(
    options: TrainOptions, weights: str | None, says: str, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("image,product_id\n")

    with pytest.raises(TrainingError, match=says):
        backbones.build(options, None if weights is None else tmp_path / weights)
