"""Backbones: what they take, what stays frozen, what is refused."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from pocketlens.errors import TrainingError
from pocketlens_converter import backbones
from pocketlens_converter.backbone_costs import costs
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
        (TrainOptions(backbone="Xception", image_size=64), None, "71 pixels or more"),
        (TrainOptions(backbone="Tiny", features="block_9"), None, "no feature layer 'block_9'"),
        (TrainOptions(backbone="Tiny", image_size=32), "imagenet", "no weights of Tiny"),
        (SMALL, "missing.h5", "no file of weights"),
        (SMALL, "list.csv", "does not fit"),
    ],
)
def test_what_cannot_be_built_is_said(
    options: TrainOptions, weights: str | None, says: str, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("image,product_id\n")

    given = None if weights is None else tmp_path / weights
    with pytest.raises(TrainingError, match=says):
        backbones.build(options, Path(weights) if weights == "imagenet" else given)


def test_fetched_weights_without_a_network_say_how_to_pass_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = keras.applications.MobileNetV2

    def unreachable(*, weights: str | None, **arguments: object) -> keras.Model:
        if weights == "imagenet":
            raise OSError("URL fetch failure: no route to host")
        return made(weights=weights, **arguments)

    monkeypatch.setattr(keras.applications, "MobileNetV2", unreachable)

    says = r"no route.*MobileNetV2\(include_top=False, alpha=.*--weights MobileNetV2\.weights\.h5"
    with pytest.raises(TrainingError, match=says):
        backbones.build(SMALL, backbones.IMAGENET)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("MobileNetV3SmallMinimalistic", 64),
        ("EfficientNetV2B0", 64),
        ("ResNet50", 64),
        ("Xception", 71),
        ("InceptionV3", 75),
        ("InceptionResNetV2", 75),
        ("NASNetMobile", 64),
    ],
)
def test_large_backbones_are_built_with_their_levels(name: str, size: int) -> None:
    model = backbones.build(TrainOptions(backbone=name, image_size=size, dim=8), None)

    pictures = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype(np.float32)

    assert np.asarray(model(pictures)).shape == (2, 8)


def test_caffe_levels_are_blue_green_red_less_their_means() -> None:
    model = backbones.build(TrainOptions(backbone="VGG16", image_size=32, dim=4), None)
    scaled = keras.Model(model.input, model.get_layer("scale").output)

    (pixel,) = np.asarray(scaled(np.full((1, 32, 32, 3), (200.0, 150.0, 100.0))))[:, 0, 0]

    np.testing.assert_allclose(pixel, [100 - 103.939, 150 - 116.779, 200 - 123.68], rtol=1e-5)


def test_vgg16_has_its_25088_penultimate_features() -> None:
    options = TrainOptions(backbone="VGG16", image_size=224, features="flatten", dim=4)

    model = backbones.build(options, None)

    assert model.layers[-1].input.shape == (None, 25088)
    assert backbones.learned_size(options, is_pretrained=True) == 224


def test_a_feature_layer_is_named_and_pooled() -> None:
    options = TrainOptions(
        backbone="MobileNetV2", alpha=0.35, image_size=64, dim=4, features="block_12_add"
    )

    model = backbones.build(options, None)

    assert "block_12_add" in backbones.feature_layers("MobileNetV2")
    assert model.layers[-1].input.shape == (None, 32)
    assert model.count_params() < backbones.build(SMALL, None).count_params()


def test_a_shallow_branch_stands_beside_the_deep_one_at_any_size() -> None:
    for size in (48, 64):
        options = TrainOptions(backbone="Tiny", image_size=size, dim=4, shallow=True)
        model = backbones.build(options, None)
        assert model.layers[-1].input.shape == (None, 256 + 2 * 96)


@pytest.mark.parametrize(("learned_layers", "count"), [(0, 2), (1, 3), (10_000, 100)])
def test_what_learns_is_the_head_the_last_layers_or_all(
    tmp_path: Path, learned_layers: int, count: int
) -> None:
    weights = tmp_path / "backbone.weights.h5"
    keras.applications.MobileNetV2(
        alpha=0.35, include_top=False, weights=None, input_shape=(64, 64, 3)
    ).save_weights(weights)
    options = TrainOptions(
        backbone="MobileNetV2", alpha=0.35, image_size=64, dim=4, learned_layers=learned_layers
    )

    model = backbones.build(options, weights)

    learning = len(model.trainable_variables)
    assert learning == count if count < 50 else learning > 50


@pytest.mark.parametrize(
    ("image_size", "learned"), [(224, 192), (192, 160), (160, 128), (96, 96), (32, 32)]
)
def test_pretrained_backbones_learn_from_pictures_of_six_sevenths_in_steps_of_32(
    image_size: int, learned: int
) -> None:
    options = TrainOptions(image_size=image_size)

    assert backbones.learned_size(options, is_pretrained=True) == learned
    assert backbones.learned_size(options, is_pretrained=False) == image_size


@pytest.mark.parametrize(
    "options",
    [
        TrainOptions(image_size=100, learned_scale=1.0),
        TrainOptions(backbone="Xception", image_size=80),  # 64 pixels would be too few for it
    ],
)
def test_what_cannot_be_smaller_is_learned_as_it_is(options: TrainOptions) -> None:
    assert backbones.learned_size(options, is_pretrained=True) == options.image_size


@pytest.mark.parametrize("donor", ["another width", "another network"])
def test_weights_of_another_architecture_are_named(tmp_path: Path, donor: str) -> None:
    weights = tmp_path / "other.weights.h5"
    choices = {"include_top": False, "weights": None, "input_shape": (64, 64, 3)}
    if donor == "another width":
        made = keras.applications.MobileNetV2(alpha=0.5, **choices)
    else:
        made = keras.applications.MobileNet(alpha=0.25, **choices)
    made.save_weights(weights)

    with pytest.raises(TrainingError, match=r"Expected weights of MobileNetV2 \(alpha 0\.35.*fit"):
        backbones.build(SMALL, weights)


def test_costs_are_listed_and_measured() -> None:
    plain, measured = (
        next(iter(costs(["MobileNetV2"], image_size=64, measures=measures)))
        for measures in (False, True)
    )

    assert (plain.name, plain.alpha, plain.features) == ("MobileNetV2", 0.35, 1280)
    assert plain.int8_bytes is None
    assert measured.parameters == plain.parameters
    assert measured.int8_bytes is not None
    assert 400_000 < measured.int8_bytes < 2_000_000
    assert measured.latency_ms is not None
    assert measured.latency_ms[1] > 0
