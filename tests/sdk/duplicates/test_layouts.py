"""Pictures whose colours lie alike."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
from PIL import Image
from tests.making.copies import ALTERATIONS, picture

from pocketlens.duplicates import alignment, layouts


def small(image: Image.Image) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    return np.asarray(image.resize((alignment.SIDE, alignment.SIDE)))


def test_crop_is_paired_with_its_whole() -> None:
    wholes = [small(picture(seed)) for seed in range(40)]
    crops = [small(ALTERATIONS["cropped"](picture(seed))) for seed in range(40)]

    ones, others = layouts.alike(np.stack([*wholes, *crops]), 0.8, 2)

    found = {frozenset(pair) for pair in zip(ones.tolist(), others.tolist(), strict=True)}
    assert {frozenset((seed, 40 + seed)) for seed in range(40)} <= found


def test_few_are_named_however_many_are_alike() -> None:
    ones, _ = layouts.alike(np.repeat(small(picture(1))[None], 500, axis=0), 0.8, 2)

    assert len(ones) <= 3 * 1_000


def test_one_picture_or_none_has_no_pairs() -> None:
    for count in (0, 1):
        thumbnails = np.zeros((count, alignment.SIDE, alignment.SIDE, 3), np.uint8)
        assert layouts.alike(thumbnails, 0.8, 2).shape == (2, 0)


def test_pictures_of_one_colour_are_like_nothing() -> None:
    plain = np.stack(
        [np.full((alignment.SIDE, alignment.SIDE, 3), level, np.uint8) for level in (0, 90, 255)]
    )

    assert layouts.alike(plain, 0.8, 2).shape == (2, 0)
