"""The part of a picture that a polygon is about -> a picture of its own.

    cropped(data, Area(0.1, 0.1, 0.9, 0.9, is_normalized=True))     # bytes of a JPEG or PNG

What a polygon leaves of a picture is its box: upright, clamped to the picture, in whole pixels. A
box that is the whole picture leaves the bytes as they are. Pictures are decoded in this process,
once their headers ask for no more than is allowed.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from pocketlens.errors import PictureError, PictureTooLarge
from pocketlens.options import PictureLimits
from pocketlens.query import pictures
from pocketlens.query.picture_sources import opened

_LIMITS = PictureLimits()
# Of 63 JPEGs cropped at random and seen at 224 x 224: levels move by 0.5 of 255 on average (by 0.9
# with halved colours), at 1.8 times the bytes of that part of the file. A PNG moves them by 0.1, at
# 6.1 times the bytes and 60 times the time; of 50 megapixels it may be too large to be read again.
_JPEG = {"quality": 95, "subsampling": 0}


@dataclass(frozen=True, slots=True)
class Area:
    """The box around a polygon, before it is known how large its picture is.

    Attributes:
        left, top, right, bottom: Of the upright picture; may lie outside of it.
        is_normalized: Counted in shares of its sides rather than in pixels.
    """

    left: float
    top: float
    right: float
    bottom: float
    is_normalized: bool

    @classmethod
    def around(cls, points: Sequence[tuple[float, float]], *, is_normalized: bool) -> Area:
        """The box of a polygon's corners, one or more."""
        across, down = [x for x, _ in points], [y for _, y in points]
        return cls(min(across), min(down), max(across), max(down), is_normalized)

    def box(
        self, size: tuple[int, int], *, limits: PictureLimits = _LIMITS
    ) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in pixels of an upright picture of `size`, none outside of it.

        Raises:
            PictureError: Less than `limits.min_side` is left of a side.
        """
        width, height = size
        x, y = (width, height) if self.is_normalized else (1, 1)
        left, right = (min(round(each * x), width) for each in (self.left, self.right))
        top, bottom = (min(round(each * y), height) for each in (self.top, self.bottom))
        if min(right - left, bottom - top) < limits.min_side:
            raise PictureError(
                f"Expected a box with sides of {limits.min_side} pixels or more inside of the "
                f"upright picture of {width} x {height}. Received {left}, {top} to {right}, "
                f"{bottom}. Draw it again, or leave it empty for the whole picture."
            )
        return left, top, right, bottom


def cropped(data: bytes, area: Area, *, limits: PictureLimits = _LIMITS) -> bytes:
    """Cuts the box of an area out of an encoded picture.

    The same bytes and area give the same bytes, as long as Pillow is the same.

    Args:
        data: A picture as `pocketlens.query.pictures` reads it.
        area: In the upright picture.
        limits: Beyond which a picture is refused.

    Returns:
        A JPEG of a JPEG, otherwise a PNG, upright, in RGB, with nothing but pixels in it; `data`
        where the box is the whole picture.

    Raises:
        PictureError: It cannot be read, has more pixels or bytes than `limits` allow, or too few in
            the box.
        MissingExtraError: It is a HEIC, which needs an extra.
    """
    with opened(data, limits) as source:
        size, form = source.upright_size, source.image.format
    box = area.box(size, limits=limits)
    if box == (0, 0, *size):
        return data
    image = pictures.upright(data, limits=limits)
    share = image.width / size[0]  # 1, but for JPEGs that are too large to be decoded whole
    left, top, right, bottom = (side * share for side in box)
    # Cut by `resize`, since `crop` obeys the global MAX_IMAGE_PIXELS.
    cut = image.resize(
        (max(round(right - left), limits.min_side), max(round(bottom - top), limits.min_side)),
        Image.Resampling.NEAREST,
        box=(left, top, min(right, image.width), min(bottom, image.height)),
    )
    cut.info.clear()
    file = io.BytesIO()
    if form == "JPEG":
        cut.save(file, "JPEG", **_JPEG)
    else:
        cut.save(file, "PNG")
    result = file.getvalue()
    if len(result) > limits.encoded_bytes:
        raise PictureTooLarge(
            f"Expected at most {limits.encoded_bytes} bytes of the box. Received {len(result)}. "
            "Try a smaller copy of the picture."
        )
    return result
