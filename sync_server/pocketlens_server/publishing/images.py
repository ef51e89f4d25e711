"""Images as history keeps them: the SHA-256 of a picture in the place of a code (PURE)."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pocketlens.formats import parts
from pocketlens.formats.parts import ImagePart


def picture_of(value: bytes) -> bytes:
    """SHA-256 of the picture of an image, which its part has in place of a code."""
    return image_of(value).code


def image_of(value: bytes) -> ImagePart:
    """The image that a value of history is, its picture in place of a code."""
    part = parts.decode(value)
    if not isinstance(part, ImagePart):
        raise TypeError(f"Expected an image. Received {part!r}.")
    return part
