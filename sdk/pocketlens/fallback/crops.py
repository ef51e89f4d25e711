"""What of a photo is sent where photos may be: as the model sees it, twice as large, a new JPEG.

    data = crop_of("photo.jpg", spec, box=(100, 50, 900, 850))

Only pixels travel: the file is made anew, upright, of the part that was searched, without EXIF,
colour profile or name.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

from pocketlens.options import PictureLimits

if TYPE_CHECKING:
    from pocketlens.formats.bundle import Spec
    from pocketlens.query.pictures import Box, Picture

LARGER = 2  # sides of the copy to those of the input: more than a decoder uses of any JPEG
_QUALITY = 90


def kept(photo: Picture, limits: PictureLimits) -> Picture:
    """The same picture, to be read twice: a file object is read to its end, or to the limit."""
    read = getattr(photo, "read", None)
    if not callable(read):
        return photo
    data = b""
    while len(data) <= limits.encoded_bytes:
        part = read(limits.encoded_bytes + 1 - len(data))
        if not isinstance(part, bytes):  # whoever decodes it says what is wrong
            return photo
        if not part:
            break
        data += part
    return data


def crop_of(photo: Picture, spec: Spec, *, limits: PictureLimits, box: Box | None = None) -> bytes:
    """A JPEG of what the model sees of a photo.

    Args:
        photo: As for `pictures.tensor`.
        spec: Of the bundle; that of a float model has the same input.
        limits: Beyond which a picture is refused.
        box: The part that is searched.

    Returns:
        A picture of twice the input's width and height, with the same margins.

    Raises:
        PictureError: The photo cannot be used as one.
        QueryError: `box` is no part of it.
    """
    from PIL import Image

    from pocketlens.query import pictures

    larger = replace(spec, width=LARGER * spec.width, height=LARGER * spec.height)
    file = io.BytesIO()
    pixels = pictures.tensor(photo, larger, limits=limits, box=box)
    Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
