"""Every effect: what it keeps, what it changes, and that the seed alone decides."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from pocketlens_converter import augmentation

SIZE = 40


@pytest.fixture
def picture() -> Image.Image:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 60, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("effect", [augmentation.photo, augmentation.catalogue_picture])
def test_whole_chain_is_sized_and_decided_by_the_seed(
    picture: Image.Image,
    effect: Callable[[Image.Image, np.random.Generator, int], Image.Image],
) -> None:
    first, again, other = (
        np.asarray(effect(picture, np.random.default_rng(seed), SIZE)) for seed in (1, 1, 2)
    )

    assert first.shape == (SIZE, SIZE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("effect", [augmentation.photo, augmentation.catalogue_picture])
def test_without_strength_a_picture_is_only_mirrored(
    effect: Callable[..., Image.Image], picture: Image.Image
) -> None:
    square = picture.resize((48, 48))
    mirrored = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    expected = {np.asarray(each).tobytes() for each in (square, mirrored)}

    made = {
        np.asarray(effect(square, np.random.default_rng(seed), 48, 0.0)).tobytes()
        for seed in range(12)
    }

    assert made == expected


def test_zoom_never_leaves_out_more_than_asked() -> None:
    # A white picture with a black border: what is kept in the middle shows in its share of white.
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[10:90, 10:90] = 255
    for seed in range(50):
        rng = np.random.default_rng(seed)
        part = augmentation.zoom(Image.fromarray(pixels), rng, size=50, smallest_area=0.9)
        # Of 90 % of the area, up to a third wider than high but never wider than the picture,
        # 82 % are left; 64 % of the whole are white.
        assert np.asarray(part).mean() / 255 <= 0.64 / 0.82 + 0.02


def test_flip_mirrors_every_second_time(picture: Image.Image) -> None:
    original = np.asarray(picture)
    flipped = [
        np.array_equal(np.asarray(augmentation.flip(picture, np.random.default_rng(s))), original)
        for s in range(200)
    ]

    assert 60 < sum(flipped) < 140


def test_light_changes_levels_within_its_strength() -> None:
    grey = Image.new("RGB", (8, 8), (100, 100, 100))
    levels = [
        np.asarray(augmentation.tint(grey, np.random.default_rng(seed), strength=0.1)).reshape(
            -1, 3
        )[0]
        for seed in range(50)
    ]

    assert np.min(levels) >= 89
    assert np.max(levels) <= 110
    assert np.ptp(levels) > 10


def test_rotate_fills_corners_with_the_ground() -> None:
    black = Image.new("RGB", (50, 50))
    turned = [
        np.asarray(augmentation.rotate(black, np.random.default_rng(seed), degrees=20))[0, 0].max()
        for seed in range(40)
    ]

    assert set(turned) == {0, 255}
