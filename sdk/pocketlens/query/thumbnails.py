"""A picture to its thumbnail: WebP of at most 3,072 bytes, upright, on white, without metadata.

thumbnail("mug.jpg")                # bytes
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io

from PIL import Image

from pocketlens.formats.thumbnail_pack import MAX_BYTES
from pocketlens.options import PictureLimits
from pocketlens.query.pictures import DEFAULT_LIMITS, Picture, fitted

SIDE = 128  # pixels of the longer side; smaller pictures stay as they are
# Above 70 a WebP of this size grows faster than it gains: 80 takes a quarter more bytes.
QUALITIES = (70, 50, 30, 10)
# Of pure noise; at 32 even the bare levels would fit.
_SMALLER = (96, 64, 32)


def thumbnail(picture: Picture, *, limits: PictureLimits = DEFAULT_LIMITS) -> bytes:
    """Draws a picture small: first with less quality, then smaller, until it fits.

    Args:
        picture: As for `pictures.tensor`.
        limits: Beyond which a picture is refused.

    Returns:
        WebP, at most `MAX_BYTES`, the longer side at most `SIDE`.

    Raises:
        PictureError: It cannot be used.
        MissingExtraError: It is a HEIC, which needs an extra.
    """
    return encoded(fitted(picture, SIDE, limits=limits))


def encoded(small: Image.Image) -> bytes:
    """The thumbnail that a picture in RGB of at most `SIDE` pixels a side becomes; changes it."""
    for side in (SIDE, *_SMALLER):
        small.thumbnail((side, side))
        for quality in QUALITIES:
            file = io.BytesIO()
            small.save(file, "WEBP", quality=quality, icc_profile=b"", exif=b"", xmp=b"")
            if file.tell() <= MAX_BYTES:
                return file.getvalue()
    raise AssertionError("32 x 32 pixels take 3,072 bytes as they are")
