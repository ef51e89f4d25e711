"""Pictures that are one: what is a copy of what, and what only looks like it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pocketlens_converter import duplicates


def package(seed: int, label: int = 0) -> Image.Image:
    """A package on white, with a picture and a label of some grey level."""
    rng = np.random.default_rng(seed)
    front = Image.fromarray(rng.integers(60, 180, (5, 4, 3)).astype(np.uint8))
    picture = Image.new("RGB", (200, 200), (255, 255, 255))
    picture.paste(front.resize((100, 140), Image.Resampling.BICUBIC), (50, 30))
    picture.paste((label,) * 3, (80, 80, 120, 110))
    return picture


def thumbnails(*pictures: Image.Image) -> npt.NDArray[np.uint8]:
    squares = [each.resize((192, 192), Image.Resampling.BILINEAR) for each in pictures]
    return np.stack([duplicates.thumbnail(np.asarray(each)) for each in squares])


def saved(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), quality=st.integers(75, 95))
def test_a_copy_is_found_whatever_its_quality(seed: int, quality: int) -> None:
    found = duplicates.first_alike(
        thumbnails(package(seed), package(seed + 1), saved(package(seed), quality))
    )

    assert found.tolist() == [0, 1, 0]


def test_another_label_is_another_product() -> None:
    found = duplicates.first_alike(thumbnails(package(3), package(3, label=60)))

    assert found.tolist() == [0, 1]


def test_thin_things_on_much_white_are_told_apart() -> None:
    lamps = []
    for foot in (20, 90):
        pixels = np.full((200, 200, 3), 255, np.uint8)
        pixels[20:180, 98:102] = 90
        pixels[176:184, 100 - foot // 2 : 100 + foot // 2] = 90
        lamps.append(Image.fromarray(pixels))

    assert duplicates.first_alike(thumbnails(*lamps)).tolist() == [0, 1]


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = thumbnails(*(package(seed % 5) for seed in range(23)))
    monkeypatch.setattr(duplicates, "_ROWS_AT_ONCE", 4)

    assert duplicates.first_alike(pictures).tolist() == [seed % 5 for seed in range(23)]
