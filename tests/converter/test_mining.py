"""Mining rounds on pictures whose neighbours are known: the network sees their mean colour."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from pocketlens_converter import mining, training_pictures
from pocketlens_converter.curriculum import Curriculum
from pocketlens_converter.options import TrainOptions
from pocketlens_converter.synthesis.scenes import Scenes
from pocketlens_converter.training_pictures import TrainingPictures

HUES = [(250, 20, 20), (240, 60, 20), (20, 250, 20), (20, 240, 60), (20, 20, 250), (60, 20, 240)]
OPTIONS = TrainOptions(image_size=32, mining_pool=2, mining_rounds=4, visible_share=0.5)


@pytest.fixture
def colours() -> keras.Model:
    """The mean colour of a picture as its embedding."""
    pictures = keras.Input((32, 32, 3))
    return keras.Model(pictures, keras.layers.GlobalAveragePooling2D()(pictures))


@pytest.fixture
def pictures(tmp_path: Path) -> TrainingPictures:
    """Six products in three pairs of alike ones, four photos each; one photo is another's."""
    lines = ["image,product_id"]
    for product, hue in enumerate(HUES):
        for number in range(4):
            file = f"{product}-{number}.png"
            shown = (22, 22, 200) if file == "0-3.png" else hue
            level = tuple(max(0, each - 5 * number) for each in shown)
            Image.new("RGB", (40, 40), level).save(tmp_path / file)
            lines.append(f"{file},p{product}")
    (tmp_path / "photos.csv").write_text("\n".join(lines) + "\n")
    return training_pictures.read([tmp_path / "photos.csv"], 48)


def test_the_nearest_products_are_found(colours: keras.Model, pictures: TrainingPictures) -> None:
    found = mining.mined(colours, pictures, OPTIONS, seed=0)

    assert found.nearest.shape == (6, 2)
    assert found.nearest[2:, 0].tolist() == [3, 2, 5, 4]


def test_a_photo_without_its_product_is_invisible(
    colours: keras.Model, pictures: TrainingPictures
) -> None:
    found = mining.mined(colours, pictures, OPTIONS, seed=0, everything=True)

    names = [pictures.entries[number].path.name for number in found.invisible]
    assert names == ["0-3.png"]


def test_without_mining_rounds_none_is_due_at_first(pictures: TrainingPictures) -> None:
    curriculum = Curriculum(pictures, Scenes(), replace(OPTIONS, mining_rounds=0))

    assert not any(curriculum.is_due(share) for share in (0.0, 0.25, 0.49))


@pytest.mark.parametrize("rounds", [0, 1])
def test_photos_are_looked_at_half_way_however_few_the_rounds(
    colours: keras.Model, pictures: TrainingPictures, rounds: int
) -> None:
    curriculum = Curriculum(pictures, Scenes(), replace(OPTIONS, mining_rounds=rounds))
    if rounds:
        curriculum.mine(colours, 0.0)

    assert curriculum.is_due(0.5)
    curriculum.mine(colours, 0.5)

    assert len(curriculum.dropped) == 1
    assert not any(curriculum.is_due(share) for share in (0.5, 0.75, 1.0))


def test_nothing_is_looked_for_where_all_photos_are_to_stay(pictures: TrainingPictures) -> None:
    everything = replace(OPTIONS, mining_rounds=0, visible_share=1.0)

    assert not Curriculum(pictures, Scenes(), everything).is_due(0.5)


def test_photos_are_dropped_half_way_and_stay_so_after_a_restart(
    colours: keras.Model, pictures: TrainingPictures, tmp_path: Path
) -> None:
    curriculum = Curriculum(pictures, Scenes(), OPTIONS)
    assert curriculum.is_due(0.0)
    curriculum.mine(colours, 0.0)
    assert not curriculum.is_due(0.2)
    assert len(curriculum.dropped) == 0

    curriculum.mine(colours, 0.5)

    assert [pictures.entries[number].path.name for number in curriculum.dropped] == ["0-3.png"]
    again = training_pictures.read([tmp_path / "photos.csv"], 48)
    resumed = Curriculum(again, Scenes(), OPTIONS)
    resumed.restore(curriculum.state())
    assert resumed.round == 2
    assert again.photos == pictures.photos
    np.testing.assert_array_equal(resumed.batch(7).pictures, curriculum.batch(7).pictures)
