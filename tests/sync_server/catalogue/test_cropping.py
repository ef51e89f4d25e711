"""A polygon's box becomes a picture of its own: upright, exact, the same each time."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.making.pictures import drawn, encoded, exif, flat_jpeg, png, with_exif

from pocketlens.errors import PictureError, PictureTooLarge, PictureTruncated
from pocketlens.formats.bundle import Spec
from pocketlens.options import PictureLimits
from pocketlens.query.pictures import tensor
from pocketlens_server.catalogue.cropping import Area, cropped

SIZE = (96, 64)
MIDDLE = Area(0.25, 0.25, 0.75, 0.75, is_normalized=True)


def pixels(left: float, top: float, right: float, bottom: float) -> Area:
    return Area(left, top, right, bottom, is_normalized=False)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_what_is_no_jpeg_keeps_every_level(form: str) -> None:
    picture = drawn(*SIZE)
    data = encoded(picture, form, **({"lossless": True} if form == "WEBP" else {}))

    part = opened(cropped(data, MIDDLE))

    assert part.format == "PNG"
    assert np.array_equal(np.asarray(part), np.asarray(picture)[16:48, 24:72])


def test_a_jpeg_stays_one_and_the_model_sees_what_it_would_see_in_the_box() -> None:
    data = encoded(drawn(960, 640), quality=90)
    spec = Spec("any", 64, 64, 8)

    part = cropped(data, MIDDLE)

    assert opened(part).format == "JPEG"
    assert opened(part).size == (480, 320)
    seen = tensor(part, spec).astype(int) - tensor(data, spec, box=(240, 160, 720, 480))
    assert np.abs(seen).mean() < 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_counts_in_the_upright_picture(orientation: int) -> None:
    picture = drawn(*SIZE)
    data = with_exif(encoded(picture, quality=95, subsampling=0), exif(orientation))

    part = opened(cropped(data, pixels(8, 4, 40, 24)))

    wanted = turned(np.asarray(opened(data)), orientation)[4:24, 8:40].astype(int)
    assert np.abs(np.asarray(part).astype(int) - wanted).max() < 12
    assert part.getexif() == {}


def turned(levels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """By the table of EXIF, apart from the SDK's."""
    if orientation >= 5:
        levels = levels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        levels = levels[:, ::-1]
    return levels[::-1] if orientation in (3, 4, 7, 8) else levels


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    "area", [Area(0, 0, 1, 1, is_normalized=True), pixels(0, 0, 96, 64), pixels(0, 0, 900, 700)]
)
def test_the_whole_picture_keeps_its_bytes(form: str, area: Area) -> None:
    data = encoded(drawn(*SIZE), form)

    assert cropped(data, area) == data


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_the_same_box_gives_the_same_bytes(form: str) -> None:
    data = encoded(drawn(*SIZE), form)

    assert cropped(data, MIDDLE) == cropped(data, pixels(24, 16, 72, 48))


def test_a_box_is_clamped_to_the_picture() -> None:
    picture = drawn(*SIZE)

    part = opened(cropped(encoded(picture, "PNG"), pixels(80, 50, 5000, 4000)))

    assert np.array_equal(np.asarray(part), np.asarray(picture)[50:, 80:])


@pytest.mark.parametrize(
    "area",
    {
        "a point": pixels(10, 10, 10, 10),
        "outside": pixels(200, 200, 300, 300),
        "seven pixels": pixels(0, 0, 7, 64),
        "seven pixels once clamped": pixels(89, 0, 500, 64),
        "a share": Area(0.5, 0.5, 0.57, 1, is_normalized=True),
    }.values(),
)
def test_a_box_with_less_than_eight_pixels_is_refused(area: Area) -> None:
    data = encoded(drawn(*SIZE))

    with pytest.raises(PictureError, match="Expected a box with sides of 8 pixels or more"):
        cropped(data, area)
    assert opened(cropped(data, pixels(0, 0, 8, 8))).size == (8, 8)


def test_a_jpeg_that_is_decoded_smaller_is_cut_at_the_same_place() -> None:
    limits = PictureLimits(decoded_bytes=96 * 64 * 3 - 1)
    data = encoded(drawn(*SIZE), quality=95, subsampling=0)

    part = opened(cropped(data, pixels(48, 0, 96, 32), limits=limits))

    assert part.size == (24, 16)
    wanted = np.asarray(drawn(*SIZE))[:32, 48:].mean((0, 1))
    assert np.abs(np.asarray(part).mean((0, 1)) - wanted).max() < 3
    assert opened(cropped(data, pixels(0, 0, 9, 9), limits=limits)).size == (8, 8)


def test_a_part_of_94_megapixels_is_cut() -> None:
    part = opened(cropped(flat_jpeg(11_700, 8_050), pixels(1000, 1000, 1800, 1400)))

    assert part.size == (400, 200)


def test_a_bomb_is_refused_by_its_header() -> None:
    bomb = png(20_000, 20_000, depth=1, colour=0)
    assert len(bomb) < 100_000

    with pytest.raises(PictureTooLarge, match="20000 x 20000"):
        cropped(bomb, MIDDLE)


def test_limits_and_damage_are_those_of_every_picture() -> None:
    data = encoded(drawn(*SIZE), "PNG")

    with pytest.raises(PictureTooLarge):
        cropped(data, MIDDLE, limits=PictureLimits(max_side=90))
    with pytest.raises(PictureTruncated):
        cropped(data[:-200], MIDDLE)
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    jpeg = encoded(Image.fromarray(noise), quality=20)
    limits = PictureLimits(encoded_bytes=len(jpeg))
    with pytest.raises(PictureTooLarge, match="bytes of the box"):
        cropped(jpeg, pixels(0, 0, 96, 63), limits=limits)


@given(
    st.tuples(*[st.floats(0, 1)] * 4),
    st.tuples(*[st.integers(8, 200)] * 2),
    st.booleans(),
)
def test_a_box_never_leaves_its_picture(
    sides: tuple[float, float, float, float], size: tuple[int, int], is_normalized: bool
) -> None:
    scale = 1 if is_normalized else 300
    points = [(sides[0] * scale, sides[1] * scale), (sides[2] * scale, sides[3] * scale)]
    area = Area.around(points, is_normalized=is_normalized)

    try:
        left, top, right, bottom = area.box(size)
    except PictureError:
        return
    assert 0 <= left <= right - 8 <= size[0] - 8
    assert 0 <= top <= bottom - 8 <= size[1] - 8
