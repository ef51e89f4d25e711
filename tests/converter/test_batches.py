"""Batches: which pictures of which products, decided by seed and step alone."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.errors import PictureError
from pocketlens_converter import batches, training_pictures
from pocketlens_converter.curriculum import Curriculum
from pocketlens_converter.options import TrainOptions
from pocketlens_converter.synthesis.scenes import Scenes
from pocketlens_converter.training_pictures import TrainingPictures

OPTIONS = TrainOptions(image_size=32, products=3, pictures=4, seed=5)


def curriculum_of(pictures: TrainingPictures, scenes: Scenes | None = None) -> Curriculum:
    return Curriculum(pictures, scenes or Scenes(), OPTIONS)


def lists(folder: Path, products: int = 7, photos: int = 5) -> list[Path]:
    """A catalogue of a grey level a product, and photos of it."""
    rows = {"catalogue": ["image,product_id"], "photos": ["image,product_id"]}
    for product in range(products):
        for name, count in (("catalogue", 1), ("photos", photos)):
            for number in range(count):
                file = f"{name}-{product}-{number}.png"
                Image.new("RGB", (40, 40), (20 * product + 60,) * 3).save(folder / file)
                rows[name].append(f"{file},p{product}")
    for name, lines in rows.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return [folder / "catalogue.csv", folder / "photos.csv"]


def test_batch_holds_p_products_with_one_catalogue_picture_each(tmp_path: Path) -> None:
    pictures = training_pictures.read(lists(tmp_path), 48)

    batch = curriculum_of(pictures).batch(3)

    assert batch.pictures.shape == (12, 32, 32, 3)
    assert batch.pictures.dtype == np.uint8
    products = batch.products.reshape(3, 4)
    assert (products == products[:, :1]).all()
    assert len(set(products[:, 0].tolist())) == 3
    slots = batch.slots.reshape(3, 4)
    assert (slots[:, 0] >= 0).all()
    assert (slots[:, 1:] == -1).all()


def test_pictures_of_a_batch_are_those_of_its_products(tmp_path: Path) -> None:
    pictures = training_pictures.read(lists(tmp_path), 48)

    drawn = [curriculum_of(pictures).batch(step) for step in range(6)]

    # The middle of a picture is its product's grey in some light.
    for batch in drawn:
        for picture, product in zip(batch.pictures, batch.products, strict=True):
            grey = 20 * int(product) + 60
            assert 0.5 * grey <= picture[16, 16].mean() <= 1.7 * grey


def test_a_resumed_run_sees_the_batches_it_would_have_seen(tmp_path: Path) -> None:
    pictures = training_pictures.read(lists(tmp_path), 48)
    with closing(batches.prepared(curriculum_of(pictures).batch, 0)) as source:
        whole = list(islice(source, 5))

    with closing(batches.prepared(curriculum_of(pictures).batch, 3, threads=2)) as source:
        resumed = list(islice(source, 2))

    assert [batch.step for batch in whole] == [0, 1, 2, 3, 4]
    for expected, found in zip(whole[3:], resumed, strict=True):
        np.testing.assert_array_equal(expected.pictures, found.pictures)
        np.testing.assert_array_equal(expected.products, found.products)


def test_a_single_list_has_no_catalogue_side(tmp_path: Path) -> None:
    pictures = training_pictures.read(lists(tmp_path)[1:], 48)

    batch = curriculum_of(pictures).batch(0)

    assert (batch.slots == -1).all()


def test_products_without_photos_have_synthesised_queries(tmp_path: Path) -> None:
    pictures = training_pictures.read(lists(tmp_path, photos=0)[:1], 48)
    backgrounds = [Image.new("RGB", (48, 48), (0, 80 * n, 0)) for n in range(3)]

    batch = curriculum_of(pictures, Scenes(backgrounds)).batch(0)

    ours = batch.products < pictures.product_count
    slots = batch.slots[ours].reshape(3, 4)
    assert (slots[:, 0] >= 0).all()
    assert (slots[:, 1:] == -1).all()
    queries = batch.pictures[ours].reshape(3, 4, 32, 32, 3)[:, 1:].reshape(-1, 32 * 32 * 3)
    assert len(np.unique(queries, axis=0)) == len(queries)


@pytest.mark.parametrize(("photos", "expected"), [(0, 3), (5, 0)])
def test_catalogue_pictures_show_several_only_where_there_are_no_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: int, expected: int
) -> None:
    pictures = training_pictures.read(lists(tmp_path, photos=photos)[: 2 if photos else 1], 48)
    for file in tmp_path.glob("catalogue-*.png"):
        drawn = Image.new("RGB", (40, 40), (255, 255, 255))
        drawn.paste((90, 20, 20), (12, 12, 28, 28))
        drawn.save(file)  # on white, so that it can be cut out
    pictures.keep({})
    monkeypatch.setattr(batches, "SEVERAL_SHARE", 1.0)
    batch = curriculum_of(pictures).batch(0)

    monkeypatch.setattr(batches, "SEVERAL_SHARE", 0.0)
    one = curriculum_of(pictures).batch(0)

    shown = batch.slots >= 0
    ink = [
        np.count_nonzero((255 - each.pictures[shown]).sum(axis=3) > 60, axis=(1, 2))
        for each in (batch, one)
    ]
    assert shown.sum() == 3
    assert np.count_nonzero(ink[0] != ink[1]) == expected


def test_backgrounds_are_products_of_their_own_with_two_views_each(tmp_path: Path) -> None:
    pictures = training_pictures.read(lists(tmp_path), 48)
    backgrounds = [Image.new("RGB", (48, 48), (0, 80 * n, 0)) for n in range(3)]

    batch = curriculum_of(pictures, Scenes(backgrounds)).batch(0)

    natural = batch.products[batch.products >= pictures.product_count]
    assert len(natural) == 2 * OPTIONS.natural
    assert sorted(np.unique(natural, return_counts=True)[1].tolist()) == [2, 2]
    assert (batch.slots[batch.products >= pictures.product_count] == -1).all()


def test_what_goes_wrong_ahead_is_raised_in_the_loop(tmp_path: Path) -> None:
    pictures = training_pictures.read(lists(tmp_path), 48)
    pictures.keep({})  # as when memory is short: pictures are opened again
    for path in tmp_path.glob("*.png"):
        path.unlink()

    source = batches.prepared(curriculum_of(pictures).batch, 0)
    with closing(source), pytest.raises(PictureError, match="png"):
        next(source)
