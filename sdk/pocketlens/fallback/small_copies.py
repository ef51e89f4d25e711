"""The picture that may leave a phone: small, made anew, without a word of what the file said.

data = small_copy("photo.jpg", bundle.spec, box=(100, 50, 900, 850))
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from dataclasses import replace

from PIL import Image

from pocketlens.formats.bundle import Spec
from pocketlens.options import PictureLimits
from pocketlens.query import pictures
from pocketlens.query.picture_sources import opened
from pocketlens.query.pictures import Box, Picture

_SIDES = 2  # times the model's input, at most: a server's decoder sees no more
_QUALITY = 90
_LEAST, _MOST = 8, 2048  # pixels a side that a spec may have


def small_copy(
    photo: Picture, spec: Spec, *, limits: PictureLimits, box: Box | None = None
) -> bytes:
    """A JPEG of a photo, or of the part of it in `box`, upright, without metadata.

    Args:
        photo: As for `Lens.search`, but no file object that was read already.
        spec: Of the model: neither side is more than twice its input's.
        limits: Beyond which a picture is refused.
        box: In pixels of the upright photo.

    Raises:
        PictureError: The photo cannot be used as one.
        QueryError: `box` is no part of it.
    """
    with opened(photo, limits) as source:
        width, height = source.upright_size
    left, top, right, bottom = box or (0, 0, width, height)
    across, down = max(right - left, 1), max(bottom - top, 1)
    most_across, most_down = (min(_MOST, _SIDES * each) for each in (spec.width, spec.height))
    shrunk = min(1, most_across / across, most_down / down)
    wanted = replace(
        spec,
        width=max(_LEAST, round(across * shrunk)),
        height=max(_LEAST, round(down * shrunk)),
        resize_mode="squash",
    )
    pixels = pictures.tensor(photo, wanted, limits=limits, box=box)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
