"""Pictures become tensors: right way up, right colours, right place, as a plain decode would."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from tests.making import pictures as making

from pocketlens.errors import MissingExtraError, PictureError, PictureFormat, QueryError
from pocketlens.formats.bundle import ResizeMode, Spec
from pocketlens.query.pictures import Box, placement, tensor, upright

SPEC = Spec("test", 64, 64, 8)
UNTURNED = {  # what was done to the upright picture before it was stored with this orientation
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def spec(mode: ResizeMode = "pad", *, height: int = 64, width: int = 64) -> Spec:
    return Spec("test", height, width, 8, resize_mode=mode)


def plainly(image: Image.Image, spec: Spec, box: Box | None = None) -> npt.NDArray[np.uint8]:
    """The oracle: decode in full, turn, crop, resize with antialias, put on the ground."""
    image = ImageOps.exif_transpose(image).convert("RGB")
    left, top, right, bottom = box or (0, 0, *image.size)
    width, height = right - left, bottom - top
    if spec.resize_mode == "squash":
        size = spec.width, spec.height
    elif spec.resize_mode == "crop":
        scale = max(spec.width / width, spec.height / height)
        cut_x, cut_y = (width - spec.width / scale) / 2, (height - spec.height / scale) / 2
        left, top, right, bottom = left + cut_x, top + cut_y, right - cut_x, bottom - cut_y
        size = spec.width, spec.height
    else:
        scale = min(spec.width / width, spec.height / height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
    small = image.resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    ground = Image.new("RGB", (spec.width, spec.height), (spec.pad_level,) * 3)
    ground.paste(small, ((spec.width - size[0]) // 2, (spec.height - size[1]) // 2))
    return np.asarray(ground)


def difference(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Mean of 255 levels."""
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize("mode", ["pad", "crop", "squash"])
@pytest.mark.parametrize("size", [(640, 480), (480, 640), (64, 64), (40, 90), (1000, 8)])
def test_tensor_is_that_of_a_plain_decode(mode: ResizeMode, size: tuple[int, int]) -> None:
    jpeg = making.encoded(making.drawn(*size), quality=95)

    made = tensor(jpeg, spec(mode))

    assert made.shape == (64, 64, 3)
    assert made.dtype == np.uint8
    assert difference(made, plainly(Image.open(io.BytesIO(jpeg)), spec(mode))) < 2


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
@pytest.mark.parametrize("size", [(640, 480), (100, 130), (20, 10)])
def test_lossless_formats_give_the_plain_tensor(form: str, size: tuple[int, int]) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    image = making.drawn(*size)

    made = tensor(making.encoded(image, form, **options), spec(height=48, width=80))

    assert difference(made, plainly(image, spec(height=48, width=80))) < 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_applied(form: str, orientation: int) -> None:
    right_way_up = making.drawn(320, 200)
    turn = UNTURNED[orientation]
    stored = right_way_up.transpose(turn) if turn is not None else right_way_up
    data = making.encoded(stored, form, exif=making.exif(orientation), quality=95)

    made = tensor(data, SPEC)

    assert difference(made, plainly(right_way_up, SPEC)) < 2
    assert upright(data).size == (320, 200)


@pytest.mark.parametrize("orientation", [0, 9, 255, 65535])
def test_nonsense_orientation_is_as_stored(orientation: int) -> None:
    jpeg = making.with_exif(making.encoded(making.drawn(90, 60)), making.exif(orientation))

    assert upright(jpeg).size == (90, 60)


@pytest.mark.parametrize("orientation", range(1, 9))
@settings(deadline=None, max_examples=12, derandomize=True)
@given(
    corners=st.tuples(st.floats(0, 150), st.floats(0, 80), st.floats(165, 320), st.floats(95, 200))
)
def test_box_is_in_upright_pixels(orientation: int, corners: Box) -> None:
    right_way_up = making.drawn(320, 200)
    turn = UNTURNED[orientation]
    stored = right_way_up.transpose(turn) if turn is not None else right_way_up
    png = making.encoded(stored, "PNG", exif=making.exif(orientation))

    made = tensor(png, SPEC, box=corners)

    assert difference(made, plainly(right_way_up, SPEC, corners)) < 2


def test_box_of_a_large_jpeg_is_the_part_of_a_plain_decode() -> None:
    image = making.drawn(2400, 1800)
    jpeg = making.encoded(image, quality=95)
    for box in ((0, 0, 2400, 1800), (100.5, 200, 1300, 1700), (1100, 800, 1300, 1000)):
        assert difference(tensor(jpeg, SPEC, box=box), plainly(image, SPEC, box)) < 2


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 0, 10),
        (10, 10, 5, 20),
        (-1, 0, 10, 10),
        (0, 0, 91, 60),
        (0, 0, 90, 61),
        (5, 5, 5.5, 20),
        (float("nan"), 0, 10, 10),
        (0, 0, float("inf"), 10),
        (0, 0, 10),
        "wide",
        (0, 0, None, 10),
    ],
)
def test_box_that_is_no_part_is_refused(box: Box) -> None:
    with pytest.raises(QueryError, match="box"):
        tensor(making.encoded(making.drawn(90, 60)), SPEC, box=box)


@pytest.mark.parametrize(
    ("mode", "part", "content"),
    [
        ("pad", (0, 0, 90, 30), (0, 21, 64, 42)),
        ("crop", (30, 0, 60, 30), (0, 0, 64, 64)),
        ("squash", (0, 0, 90, 30), (0, 0, 64, 64)),
    ],
)
def test_placement_says_what_the_tensor_shows_and_where(
    mode: ResizeMode, part: Box, content: tuple[int, int, int, int]
) -> None:
    pixels = np.full((30, 90, 3), 10, np.uint8)

    placed = placement(pixels, spec(mode))

    assert (placed.part, placed.content) == (part, content)
    left, top, right, bottom = content
    shown = (tensor(pixels, spec(mode)) == 10).all(axis=-1)
    assert shown[top:bottom, left:right].all()
    assert shown.sum() == (right - left) * (bottom - top)


def test_placement_is_of_the_upright_picture_and_of_its_box() -> None:
    data = making.encoded(making.drawn(80, 40), exif=making.exif(6))

    assert placement(data, spec()).content == (16, 0, 48, 64)
    assert placement(data, spec(), box=(0, 10, 40, 30)).part == (0, 10, 40, 30)
    with pytest.raises(QueryError):
        placement(data, spec(), box=(0, 0, 80, 40))


def test_every_kind_of_input_gives_one_tensor(tmp_path: Path) -> None:
    image = making.drawn(300, 200)
    png = making.encoded(image, "PNG")
    path = tmp_path / "a picture.png"
    path.write_bytes(png)
    expected = tensor(png, SPEC)

    with path.open("rb") as file:
        assert np.array_equal(tensor(file, SPEC), expected)
    for given_as in (path, str(path), io.BytesIO(png), image, np.asarray(image)):
        assert np.array_equal(tensor(given_as, SPEC), expected)


def test_file_object_is_read_from_where_it_stands() -> None:
    png = making.encoded(making.drawn(30, 20), "PNG")
    file = io.BytesIO(b"before" + png)
    file.seek(6)

    assert np.array_equal(tensor(file, SPEC), tensor(png, SPEC))


def test_array_that_is_not_contiguous_is_read() -> None:
    array = np.asarray(making.drawn(60, 60))

    assert np.array_equal(tensor(array[::-1, ::-1], SPEC), tensor(array, SPEC)[::-1, ::-1])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((20, 20), np.uint8),
        np.zeros((20, 20, 4), np.uint8),
        np.zeros((20, 20, 3), np.float32),
        np.zeros((3, 20, 20), np.uint8),
    ],
)
def test_array_of_another_kind_is_refused(array: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(PictureFormat, match="Expected an array uint8"):
        tensor(array, SPEC)


def test_text_file_and_other_objects_are_refused(tmp_path: Path) -> None:
    for wrong in (io.StringIO("text"), 3, None, [1, 2]):
        with pytest.raises(PictureFormat):
            tensor(wrong, SPEC)  # type: ignore[arg-type]
    for path in (tmp_path, tmp_path / "none.jpg", "a\0b"):
        with pytest.raises(PictureError, match="Cannot read"):
            tensor(path, SPEC)


def test_pillow_image_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "p.jpg"
    path.write_bytes(making.encoded(making.drawn(800, 600), exif=making.exif(6)))
    with Image.open(path) as image:
        made = tensor(image, SPEC)

        assert image.size == (800, 600)
        assert difference(made, tensor(path, SPEC)) < 2


def flat(image: Image.Image) -> npt.NDArray[np.int_]:
    """The mean colour of an image of one colour."""
    made = tensor(making.encoded(image, "PNG"), spec("squash"))
    return np.asarray(made.reshape(-1, 3).mean(axis=0).round(), int)


def test_alpha_is_laid_over_white() -> None:
    rgba = Image.new("RGBA", (50, 50), (200, 0, 0, 128))
    grey = Image.new("LA", (50, 50), (0, 51))

    assert flat(rgba).tolist() == pytest.approx([227, 127, 127], abs=1)
    assert flat(grey).tolist() == pytest.approx([204, 204, 204], abs=1)
    assert tensor(rgba, SPEC)[32, 32].tolist() == pytest.approx([227, 127, 127], abs=1)


def test_transparent_colour_does_not_bleed_into_its_neighbours() -> None:
    """Averaged without its alpha, hidden red would show as a pink seam."""
    image = Image.new("RGBA", (640, 640), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (320, 0, 640, 640))

    made = tensor(making.encoded(image, "PNG"), SPEC).astype(int)

    assert made[:, :30].min() == 255
    assert (made[..., 0] <= made[..., 1] + 1).all()


def test_palette_and_its_transparency() -> None:
    palette = Image.new("P", (50, 50), 1)
    palette.putpalette([255, 0, 0, 10, 20, 30])
    png = making.encoded(palette, "PNG", transparency=b"\xff\x00")

    assert flat(palette).tolist() == [10, 20, 30]
    assert tensor(png, SPEC)[32, 32].tolist() == [255, 255, 255]
    assert tensor(Image.open(io.BytesIO(png)), SPEC)[32, 32].tolist() == [255, 255, 255]


def test_transparent_key_of_grey_and_rgb() -> None:
    for mode, colour in (("RGB", (10, 20, 30)), ("L", 10)):
        png = making.encoded(Image.new(mode, (50, 50), colour), "PNG", transparency=colour)
        assert tensor(png, SPEC)[32, 32].tolist() == [255, 255, 255]


def test_one_bit_and_grey() -> None:
    assert flat(Image.new("1", (50, 50), 1)).tolist() == [255, 255, 255]
    assert flat(Image.new("L", (50, 50), 77)).tolist() == [77, 77, 77]
    jpeg = making.encoded(Image.new("L", (500, 500), 77))
    assert tensor(jpeg, SPEC)[32, 32].tolist() == [77, 77, 77]


@pytest.mark.parametrize("colour", [0, 2, 4, 6])
@pytest.mark.parametrize("width", [64, 640])
def test_16_bits_are_scaled_to_8(colour: int, width: int) -> None:
    made = tensor(making.png_16_bit(width, 64, colour=colour), spec("squash")).astype(int)

    ramp = np.linspace(0, 255, 64)
    assert np.abs(made[32] - ramp[:, None]).max() < 4
    assert np.abs(made[32] - ramp[:, None]).mean() < 1


def test_16_bit_images_of_pillow() -> None:
    levels = np.linspace(0, 65_535, 64 * 64).reshape(64, 64)
    for image in (
        Image.fromarray(levels.astype(np.uint16)),
        Image.fromarray(levels.astype(">u2")),
        Image.fromarray(levels.astype(np.int32)),
    ):
        made = tensor(image, SPEC)[..., 0].astype(int)
        assert np.abs(made - levels / 257).max() <= 1, image.mode


def test_transparent_key_of_16_bit_grey() -> None:
    rows = (b"\0" + b"\x12\x34" * 40) * 40
    png = making.png(40, 40, depth=16, colour=0, data=rows)
    keyed = making.with_png_chunks(png, making.png_chunk(b"tRNS", b"\x12\x34"))

    assert tensor(png, SPEC)[32, 32].tolist() == [0x12] * 3
    assert tensor(keyed, SPEC)[32, 32].tolist() == [255] * 3


def test_cmyk_jpeg_is_not_inverted() -> None:
    """Pillow writes CMYK inverted with Adobe's mark, as Photoshop does."""
    for size in (50, 900):
        jpeg = making.encoded(Image.new("CMYK", (size, size), (0, 255, 255, 0)), quality=95)
        assert tensor(jpeg, SPEC)[32, 32].tolist() == pytest.approx([255, 0, 0], abs=4)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_first_frame_of_an_animation(form: str) -> None:
    assert tensor(making.animated(form), SPEC)[32, 32].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "PA", "La", "RGBa", "RGBX"])
def test_other_modes_of_pillow_images(mode: str) -> None:
    source = {"PA": "P", "La": "LA", "RGBa": "RGBA"}.get(mode)
    image = making.drawn(60, 60)
    image = image.convert(source).convert(mode) if source else image.convert(mode)

    made = tensor(image, SPEC)

    assert made[:28, :28].std(axis=(0, 1)).max() < 40  # a quadrant, not noise
    assert made.shape == (64, 64, 3)


def test_mode_without_levels_is_refused() -> None:
    with pytest.raises(PictureFormat, match="mode F"):
        tensor(Image.new("F", (20, 20)), SPEC)


def test_broken_colour_profile_is_ignored() -> None:
    image = making.drawn(90, 60)
    for form in ("JPEG", "PNG", "WEBP"):
        options = {"lossless": True} if form == "WEBP" else {}
        good = making.encoded(image, form, **options)
        broken = making.encoded(image, form, icc_profile=b"no profile" * 500, **options)
        assert np.array_equal(tensor(broken, SPEC), tensor(good, SPEC))


@pytest.mark.parametrize("pad_level", [0, 128, 255])
def test_ground_is_of_the_spec(pad_level: int) -> None:
    made = tensor(making.drawn(200, 100), Spec("test", 64, 64, 8, pad_level=pad_level))

    assert (made[:16] == pad_level).all()
    assert (made[48:] == pad_level).all()


def test_upright_gives_at_least_what_was_asked_for() -> None:
    jpeg = making.encoded(making.drawn(1600, 1200))
    png = making.encoded(making.drawn(1600, 1200), "PNG")
    for data in (jpeg, png):
        for asked in (10, 150, 151, 299, 300, 600, 1199, 1200, 5000):
            image = upright(data, at_least=asked)
            assert min(image.size) >= min(asked, 1200)
            assert image.mode == "RGB"
    assert upright(jpeg, at_least=150).size == (200, 150)
    assert upright(jpeg).size == (1600, 1200)


def test_motion_photo_with_a_film_behind_is_read() -> None:
    jpeg = making.encoded(making.drawn(90, 60))

    assert np.array_equal(tensor(jpeg + b"\0\0\0\x18ftypmp42" * 1000, SPEC), tensor(jpeg, SPEC))


def test_real_photos_are_as_a_plain_decode(shared: Path) -> None:
    for path in sorted((shared / "data" / "phone_photos").glob("*.jpg")):
        with Image.open(path) as image:
            if image.width * image.height > 9e6 and image.getexif().get(0x0112, 1) == 1:
                continue  # seconds of full decoding for no other code
            assert difference(tensor(path, SPEC), plainly(image, SPEC)) < 2.5, path.name


HEIC_START = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.skipif(bool(find_spec("pillow_heif")), reason="the extra 'heif' is installed")
def test_heic_without_the_extra_names_it() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install pocketlens\[heif\]"):
        tensor(HEIC_START + bytes(100), SPEC)


@pytest.mark.skipif(not find_spec("pillow_heif"), reason="the extra 'heif' is not installed")
def test_heic_is_read_upright_with_the_extra() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    right_way_up, file = making.drawn(320, 200), io.BytesIO()
    stored = right_way_up.transpose(Image.Transpose.ROTATE_90)
    pillow_heif.from_pillow(stored).save(file, quality=95, exif=making.exif(6))

    assert difference(tensor(file.getvalue(), SPEC), tensor(right_way_up, SPEC)) < 2
    with pytest.raises(PictureError):
        tensor(HEIC_START + bytes(100), SPEC)
