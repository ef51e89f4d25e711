"""Batches: which pictures of which products, decided by seed and step alone."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.errors import PictureError, TrainingError
from pocketlens_converter import batches
from pocketlens_converter.options import TrainOptions

OPTIONS = TrainOptions(image_size=32, products=3, pictures=4, seed=5)


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
    pictures = batches.read(lists(tmp_path), 48)

    batch = batches.make(pictures, OPTIONS, 3)

    assert batch.pictures.shape == (12, 32, 32, 3)
    assert batch.pictures.dtype == np.uint8
    products = batch.products.reshape(3, 4)
    assert (products == products[:, :1]).all()
    assert len(set(products[:, 0].tolist())) == 3
    slots = batch.slots.reshape(3, 4)
    assert (slots[:, 0] >= 0).all()
    assert (slots[:, 1:] == -1).all()


def test_pictures_of_a_batch_are_those_of_its_products(tmp_path: Path) -> None:
    pictures = batches.read(lists(tmp_path), 48)

    drawn = [batches.make(pictures, OPTIONS, step) for step in range(6)]

    # The middle of a picture is its product's grey in some light.
    for batch in drawn:
        for picture, product in zip(batch.pictures, batch.products, strict=True):
            grey = 20 * int(product) + 60
            assert 0.5 * grey <= picture[16, 16].mean() <= 1.7 * grey


def test_a_round_shows_every_product_once(tmp_path: Path) -> None:
    options = TrainOptions(image_size=32, products=2, pictures=2)
    for round_number in range(3):
        shown = [
            product
            for step in range(3 * round_number, 3 * round_number + 3)
            for product in batches.products_of(step, 6, options)
        ]
        assert sorted(shown) == [0, 1, 2, 3, 4, 5]


def test_a_resumed_run_sees_the_batches_it_would_have_seen(tmp_path: Path) -> None:
    pictures = batches.read(lists(tmp_path), 48)
    with closing(batches.prepared(pictures, OPTIONS, first_step=0)) as source:
        whole = list(islice(source, 5))

    with closing(batches.prepared(pictures, OPTIONS, first_step=3)) as source:
        resumed = list(islice(source, 2))

    assert [batch.step for batch in whole] == [0, 1, 2, 3, 4]
    for expected, found in zip(whole[3:], resumed, strict=True):
        np.testing.assert_array_equal(expected.pictures, found.pictures)
        np.testing.assert_array_equal(expected.products, found.products)


def test_a_single_list_has_no_catalogue_side(tmp_path: Path) -> None:
    pictures = batches.read(lists(tmp_path)[1:], 48)

    batch = batches.make(pictures, OPTIONS, 0)

    assert (batch.slots == -1).all()


def test_a_bad_picture_is_a_problem_and_not_the_end(tmp_path: Path) -> None:
    paths = lists(tmp_path)
    (tmp_path / "photos-2-1.png").write_bytes(b"no picture")

    pictures = batches.read(paths, 48)

    assert len(pictures.entries) == 7 * 6 - 1
    assert len(pictures.problems) == 1
    assert "photos-2-1.png" in pictures.problems[0]


def test_one_product_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="2 or more products"):
        batches.read(lists(tmp_path, products=1), 48)


def test_what_goes_wrong_ahead_is_raised_in_the_loop(tmp_path: Path) -> None:
    pictures = batches.read(lists(tmp_path), 48)
    pictures.keep([])  # as when memory is short: pictures are opened again
    for path in tmp_path.glob("*.png"):
        path.unlink()

    source = batches.prepared(pictures, OPTIONS, first_step=0)
    with closing(source), pytest.raises(PictureError, match="png"):
        next(source)
