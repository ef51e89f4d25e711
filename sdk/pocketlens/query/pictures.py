"""A picture becomes the model's input: decoded scaled, upright, in RGB, resized as the spec says.

    tensor("photo.jpg", bundle.spec)                       # uint8 (height, width, 3)
    tensor(data, bundle.spec, box=(100, 50, 900, 850))     # a part of it, in upright pixels

In: a path, bytes, a file object, a Pillow image, or a uint8 (height, width, 3) array. What a
picture may be is decided from its header (`picture_headers`) before anything is decoded, and
decoding never makes more pixels than the result needs twice: a JPEG leaves out DCT coefficients,
everything else is averaged down in bands. The orientation is applied to the small result.

Source: docs/pictures.md.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt
from PIL import Image

from pocketlens.errors import PictureFormat, QueryError
from pocketlens.formats.bundle import Spec
from pocketlens.options import PictureLimits
from pocketlens.query.picture_sources import Picture, Source, opened

__all__ = ["Box", "Picture", "Placement", "fitted", "placement", "tensor", "upright"]

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in upright pixels."""

DEFAULT_LIMITS = PictureLimits()
_ENOUGH = 2  # decoded pixels a side for one of the result: what is left out is not seen
_BAND_PIXELS = 1 << 20  # turned to RGB at a time
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def tensor(
    picture: Picture,
    spec: Spec,
    *,
    limits: PictureLimits = DEFAULT_LIMITS,
    box: Box | None = None,
) -> npt.NDArray[np.uint8]:
    """Makes the model's input of a picture, or of the part of it in `box`.

    Args:
        picture: A path, encoded bytes, a binary file object (read to its end), a Pillow image
            (left as it is), or an array uint8 (height, width, 3).
        spec: Of the bundle.
        limits: Beyond which a picture is refused.
        box: Left, top, right, bottom, in pixels of the upright picture.

    Returns:
        uint8 (spec.height, spec.width, 3), RGB.

    Raises:
        PictureError: It cannot be used; see the classes below it.
        QueryError: `box` is no part of the picture.
        MissingExtraError: It is a HEIC, which needs an extra.
    """
    with opened(picture, limits) as source:
        placed = _placed(source, spec, box)
        left, top, right, bottom = placed.content
        content = _resized(source, placed.part, (right - left, bottom - top))
        if placed.content == (0, 0, spec.width, spec.height):
            return np.array(content)
        framed = np.full((spec.height, spec.width, 3), spec.pad_level, np.uint8)
        framed[top:bottom, left:right] = np.asarray(content)
        return framed


@dataclass(frozen=True, slots=True)
class Placement:
    """Which part of a picture is in the model's input, and where there.

    Attributes:
        part: Left, top, right, bottom in upright pixels of the picture.
        content: The same in pixels of the tensor: all of it but for the margins of "pad".
    """

    part: Box
    content: tuple[int, int, int, int]


def placement(
    picture: Picture,
    spec: Spec,
    *,
    limits: PictureLimits = DEFAULT_LIMITS,
    box: Box | None = None,
) -> Placement:
    """Where `tensor` puts the picture, told from its header; arguments and errors as there."""
    with opened(picture, limits) as source:
        return _placed(source, spec, box)


def upright(
    picture: Picture, *, limits: PictureLimits = DEFAULT_LIMITS, at_least: int | None = None
) -> Image.Image:
    """Decodes a picture upright and in RGB.

    Args:
        picture: As for `tensor`.
        limits: Beyond which a picture is refused.
        at_least: Pixels that the result's shorter side must have (where the picture has them):
            the smallest scaled decode that has them is taken. None: as large as it is, but for a
            JPEG that would take more than `limits.decoded_bytes`, which is halved until it fits.

    Raises:
        PictureError: It cannot be used.
        MissingExtraError: It is a HEIC, which needs an extra.
    """
    with opened(picture, limits) as source:
        ratio = 1.0 if at_least is None else min(source.size) / max(at_least, 1)
        return _turned(_reduced(source, (0, 0, *source.size), ratio)[0], source.orientation)


def fitted(picture: Picture, side: int, *, limits: PictureLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decodes a picture small, upright and in RGB, by way of the smallest decode that will do.

    Args:
        picture: As for `tensor`.
        side: Pixels of the result's longer side; a picture that has fewer keeps its size.
        limits: Beyond which a picture is refused.

    Raises:
        PictureError: It cannot be used.
        MissingExtraError: It is a HEIC, which needs an extra.
    """
    with opened(picture, limits) as source:
        width, height = source.upright_size
        scale = min(1.0, side / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return _resized(source, (0, 0, width, height), size)


def _placed(source: Source, spec: Spec, box: Box | None) -> Placement:
    box = _checked_box(box, source.upright_size)
    if spec.resize_mode == "crop":
        box = _centre(box, spec.width / spec.height)
    width, height = _content_size(box, spec)
    left, top = (spec.width - width) // 2, (spec.height - height) // 2
    return Placement(box, (left, top, left + width, top + height))


def _checked_box(box: Box | None, size: tuple[int, int]) -> Box:
    if box is None:
        return 0, 0, *size
    try:
        left, top, right, bottom = (float(side) for side in box)
    except (TypeError, ValueError) as exc:
        raise QueryError(f"Expected a box (left, top, right, bottom). Received {box!r}.") from exc
    # Written so that NaN fails.
    if not (0 <= left <= right - 1 and 0 <= top <= bottom - 1):
        raise QueryError(
            f"Expected a box (left, top, right, bottom) of a pixel or more, none of them negative. "
            f"Received {box!r}."
        )
    if right > size[0] or bottom > size[1]:
        raise QueryError(
            f"Expected a box inside of the upright picture of {size[0]} x {size[1]}. "
            f"Received {box!r}."
        )
    return left, top, right, bottom


def _centre(box: Box, aspect: float) -> Box:
    """The largest part in the middle of `box` whose width is `aspect` times its height."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    spare_x, spare_y = max(0, width - height * aspect) / 2, max(0, height - width / aspect) / 2
    return left + spare_x, top + spare_y, right - spare_x, bottom - spare_y


def _content_size(box: Box, spec: Spec) -> tuple[int, int]:
    """Width and height, in the tensor, of what is in `box`."""
    if spec.resize_mode != "pad":
        return spec.width, spec.height
    width, height = box[2] - box[0], box[3] - box[1]
    scale = min(spec.width / width, spec.height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(source: Source, box: Box, size: tuple[int, int]) -> Image.Image:
    """RGB, upright, `size`: what is in `box`, which is upright too."""
    stored = _stored_box(box, source.orientation, source.upright_size)
    stored_size = size[::-1] if source.orientation >= 5 else size
    ratio = min((stored[2] - stored[0]) / stored_size[0], (stored[3] - stored[1]) / stored_size[1])
    image, part = _reduced(source, stored, ratio / _ENOUGH)
    small = image.resize(stored_size, Image.Resampling.BILINEAR, box=part)
    return _turned(small, source.orientation)


def _stored_box(box: Box, orientation: int, size: tuple[int, int]) -> Box:
    """A box in pixels as stored, of one in upright pixels of a picture of upright `size`."""
    left, top, right, bottom = box
    if orientation in (2, 3, 6, 7):  # its right is stored first
        left, right = size[0] - right, size[0] - left
    if orientation in (3, 4, 7, 8):  # its bottom is stored first
        top, bottom = size[1] - bottom, size[1] - top
    return (top, left, bottom, right) if orientation >= 5 else (left, top, right, bottom)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    if image.mode != "RGB":
        image = image.convert("RGB")
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _reduced(source: Source, box: Box, ratio: float) -> tuple[Image.Image, Box]:
    """Decodes with `ratio` pixels of the file in one of the result, or fewer.

    Args:
        source: The picture.
        box: Part that is wanted, in pixels as stored.
        ratio: Any; only whole steps are taken, and none below 1.

    Returns:
        An image in RGB or L, and where in it the box is.
    """
    image = source.image
    step = 1
    if source.scalable:
        step = _draft(image, ratio, source)
        box = _divided(box, (0, 0), step, image.size)
        ratio /= step
    factor = max(1, int(ratio))
    is_plain = image.mode in ("RGB", "L") and "transparency" not in image.info
    if is_plain and factor == 1:
        return image, box
    part = floor(box[0]), floor(box[1]), ceil(box[2]), ceil(box[3])
    reduced = image.reduce(factor, part) if is_plain else _averaged(image, part, factor)
    return reduced, _divided(box, part[:2], factor, reduced.size)


def _draft(image: Image.Image, ratio: float, source: Source) -> int:
    """Sets how a JPEG will be decoded; returns 1, 2, 4 or 8, what it divides its sides by."""
    width, height = source.size
    most = source.limits.decoded_bytes / (3 * width * height)  # share of pixels that may be made
    step = next((each for each in (8, 4, 2) if each <= ratio), 1)
    while step < 8 and step**-2 > most:
        step *= 2
    if step > 1:
        image.draft(None, (width // step, height // step))
    return step


def _divided(box: Box, origin: tuple[int, int], step: int, size: tuple[int, int]) -> Box:
    """`box` in an image that starts at `origin` and is `step` times smaller, of `size`."""
    left, top, right, bottom = box
    return (
        (left - origin[0]) / step,
        (top - origin[1]) / step,
        min((right - origin[0]) / step, size[0]),
        min((bottom - origin[1]) / step, size[1]),
    )


def _averaged(image: Image.Image, part: tuple[int, int, int, int], factor: int) -> Image.Image:
    """Part of an image of any mode in RGB, each `factor` x `factor` pixels averaged into one.

    Goes band by band: a whole copy in RGB would double the memory of a large picture. Bands are
    cut by `resize`, since `crop` obeys the global MAX_IMAGE_PIXELS.
    """
    left, top, right, bottom = part
    whole = Image.new("RGB", (ceil((right - left) / factor), ceil((bottom - top) / factor)))
    rows = factor * max(1, _BAND_PIXELS // ((right - left) * factor))
    for start in range(top, bottom, rows):
        end = min(start + rows, bottom)
        size = right - left, end - start
        band = image.resize(size, Image.Resampling.NEAREST, box=(left, start, right, end))
        whole.paste(_plain(band).reduce(factor), (0, (start - top) // factor))
    return whole


def _plain(image: Image.Image) -> Image.Image:
    """Any mode in RGB: alpha over white, 16 bits scaled to 8."""
    if image.mode in ("I", "I;16", "I;16L", "I;16B", "I;16N"):
        return _of_16_bits(image)
    if image.mode == "F":
        raise PictureFormat("Expected whole levels. Received a picture of mode F. Convert it.")
    if image.mode == "La":  # which converts to LA alone
        image = image.convert("LA")
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(with_alpha, mask=with_alpha.getchannel("A"))
        return white
    return image.convert("RGB")


def _of_16_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits: the upper 8, as Pillow takes of colours (PNG specification, 13.12)."""
    levels = np.asarray(image)
    grey = (np.clip(levels, 0, 0xFFFF) >> 8).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[levels == key] = 255
    return Image.fromarray(grey).convert("RGB")
