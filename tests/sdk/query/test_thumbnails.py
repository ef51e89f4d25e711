"""A picture to its thumbnail: upright, on white, small enough whatever it shows."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.pictures import animated, drawn, encoded, exif, flat_jpeg, png_16_bit, with_exif

from pocketlens.errors import PictureError, PictureTooLarge
from pocketlens.formats.thumbnail_pack import MAX_BYTES
from pocketlens.query.thumbnails import SIDE, thumbnail


def shown(data: bytes) -> Image.Image:
    assert len(data) <= MAX_BYTES
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("WEBP", "RGB")
    return image


def levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def test_the_longer_side_is_fitted_and_the_picture_recognised() -> None:
    picture = drawn(400, 300)

    small = shown(thumbnail(encoded(picture, "PNG")))

    assert small.size == (SIDE, 96)
    assert np.abs(levels(small) - levels(picture.resize((SIDE, 96)))).mean() < 12


def test_a_small_picture_is_not_enlarged() -> None:
    assert shown(thumbnail(encoded(drawn(40, 20), "PNG"))).size == (40, 20)


def noise(side: int = 200) -> Image.Image:
    """Black and white at random: no quality brings 128 x 128 pixels of it below 3 KB."""
    levels = np.random.default_rng(5).integers(0, 2, (side, side, 3), dtype=np.uint8) * 255
    return Image.fromarray(levels)


def test_noise_becomes_smaller_instead() -> None:
    small = shown(thumbnail(noise(SIDE)))

    assert 32 <= max(small.size) < SIDE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_no_metadata_stay(orientation: int) -> None:
    jpeg = with_exif(encoded(drawn(300, 200)), exif(orientation))

    data = thumbnail(jpeg)

    small = shown(data)
    assert small.size == ((SIDE, 85) if orientation < 5 else (85, SIDE))
    assert "exif" not in small.info
    plain = Image.open(io.BytesIO(jpeg))
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(plain).convert("RGB").resize(small.size)
    assert np.abs(levels(small) - levels(upright)).mean() < 12


def test_a_colour_profile_does_not_stay() -> None:
    jpeg = encoded(drawn(300, 200), icc_profile=b"a profile of a printing house" * 100)

    assert "icc_profile" not in shown(thumbnail(jpeg)).info


def test_alpha_is_laid_over_white() -> None:
    clear = Image.new("RGBA", (200, 200), (255, 0, 0, 0))

    assert levels(shown(thumbnail(encoded(clear, "PNG")))).min() > 250


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        (encoded(drawn(300, 200).convert("CMYK")), (SIDE, 85)),
        (encoded(drawn(300, 200).convert("L")), (SIDE, 85)),
        (encoded(drawn(300, 200).convert("P"), "PNG"), (SIDE, 85)),
        (png_16_bit(300, 200), (SIDE, 85)),
        (animated("WEBP", 64, 48), (64, 48)),
        (animated("PNG", 64, 48), (64, 48)),
        (encoded(drawn(8, 4000), "PNG"), (1, SIDE)),
        (flat_jpeg(11_000, 8_600), (SIDE, 100)),
    ],
    ids="CMYK grey palette 16-bit animated-WebP animated-PNG column 94-megapixels".split(),
)
def test_pictures_of_every_kind(picture: bytes, size: tuple[int, int]) -> None:
    assert shown(thumbnail(picture)).size == size


def test_what_no_search_takes_has_no_thumbnail_either() -> None:
    with pytest.raises(PictureTooLarge):
        thumbnail(flat_jpeg(11_000, 8_600, progressive=True))
    with pytest.raises(PictureError):
        thumbnail(encoded(drawn(1, 300), "PNG"))
    with pytest.raises(PictureError):
        thumbnail(encoded(drawn(300, 300))[:900])


def test_phone_photos_leave_no_place_behind(shared: Path) -> None:
    photos = sorted((shared / "data/phone_photos").glob("*.jpg"))[:4]
    assert photos

    for photo in photos:
        assert not shown(thumbnail(photo)).info.keys() & {"exif", "icc_profile", "xmp"}
