"""A picture before its pixels are decoded: found, read, its header checked, its file opened.

    with opened(picture, limits) as source:
        source.image, source.size, source.orientation

Whatever goes wrong with the picture, here or while the body decodes it, leaves as a PictureError.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from pocketlens.errors import (
    MissingExtraError,
    PictureError,
    PictureFormat,
    PictureTooLarge,
    PictureTruncated,
)
from pocketlens.options import PictureLimits
from pocketlens.query import picture_headers

Picture = str | Path | bytes | BinaryIO | Image.Image | npt.NDArray[np.uint8]

# Opened by their own classes: `Image.open` obeys the global MAX_IMAGE_PIXELS, which is the app's.
_OPENERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
# What Pillow raises over broken data, seen by feeding it mutants.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


@dataclass(frozen=True, slots=True)
class Source:
    """A picture before its pixels are decoded, and what is known of it.

    Attributes:
        image: Pillow's, not loaded where it came from a file.
        size: Width and height as stored.
        orientation: EXIF's, 1 to 8.
        scalable: Its file may be decoded at 1/2, 1/4 and 1/8.
        limits: That it was found to keep.
    """

    image: Image.Image
    size: tuple[int, int]
    orientation: int
    scalable: bool
    limits: PictureLimits

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height with the orientation applied."""
        width, height = self.size
        return (height, width) if self.orientation >= 5 else (width, height)


@contextmanager
def opened(picture: Picture, limits: PictureLimits) -> Iterator[Source]:
    """The picture, its header checked; what goes wrong inside is translated."""
    try:
        if isinstance(picture, Image.Image):
            yield _of_image(picture, limits)
        elif isinstance(picture, np.ndarray):
            yield _of_array(picture, limits)
        else:
            yield _of_file(_encoded(picture, limits), limits)
    except PictureError as exc:
        if isinstance(picture, str | os.PathLike) and str(picture) not in str(exc):
            raise type(exc)(f"{picture}: {exc}") from exc
        raise
    except _BROKEN as exc:
        name = f"{picture}: " if isinstance(picture, str | os.PathLike) else ""
        raise PictureTruncated(
            f"{name}The picture's data ends or breaks before the picture does ({exc}). "
            "Copy or save it again."
        ) from exc


def _encoded(picture: str | Path | bytes | BinaryIO, limits: PictureLimits) -> bytes:
    """All bytes of a file, or one more than is allowed."""
    if isinstance(picture, bytes | bytearray | memoryview):
        data = bytes(picture)
    elif isinstance(picture, str | os.PathLike):
        try:
            with Path(picture).open("rb") as file:
                data = file.read(limits.encoded_bytes + 1)
        except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise PictureError(f"Cannot read {picture!r}: {reason}. Check the path.") from exc
    elif callable(getattr(picture, "read", None)):
        data = picture.read(limits.encoded_bytes + 1)
        if not isinstance(data, bytes):
            raise PictureFormat("Expected a file opened for bytes. Received text. Open with 'rb'.")
    else:
        raise PictureFormat(
            "Expected a path, bytes, a binary file, a Pillow image or a uint8 array (height, "
            f"width, 3). Received {type(picture).__name__}."
        )
    if len(data) > limits.encoded_bytes:
        raise PictureTooLarge(
            f"Expected a file of at most {limits.encoded_bytes} bytes. Received more. "
            "Try a smaller copy."
        )
    return data


def _of_file(data: bytes, limits: PictureLimits) -> Source:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        return _of_heic(data, limits)
    header = picture_headers.read(data)
    picture_headers.check(header, limits)
    image = _OPENERS[header.format](_shown(data, header.pieces))
    size = header.width, header.height
    if image.size != size:
        raise PictureFormat(f"The {header.format}'s headers contradict each other. Save it again.")
    return Source(image, size, header.orientation, header.scalable, limits)


def _shown(data: bytes, pieces: tuple[tuple[int, int], ...]) -> io.BytesIO:
    """A file of the pieces alone."""
    if pieces == ((0, len(data)),):
        return io.BytesIO(data)
    view = memoryview(data)
    return io.BytesIO(b"".join([view[start:end] for start, end in pieces]))


def _of_heic(data: bytes, limits: PictureLimits) -> Source:
    try:
        import pillow_heif
    except ImportError as exc:
        raise MissingExtraError(
            "A HEIC picture needs the extra 'heif': pip install pocketlens[heif], or save it as "
            "JPEG."
        ) from exc
    image = pillow_heif.HeifImageFile(io.BytesIO(data))  # not decoded yet; turned by libheif
    picture_headers.check_size(image.size, limits, pixels=limits.other_pixels)
    return Source(image, image.size, 1, False, limits)


def _of_image(image: Image.Image, limits: PictureLimits) -> Source:
    picture_headers.check_size(image.size, limits, pixels=limits.other_pixels)
    exif = image.info.get("exif", b"")
    orientation = picture_headers.exif_orientation(exif) if isinstance(exif, bytes) else 1
    return Source(image, image.size, orientation, False, limits)


def _of_array(array: npt.NDArray[np.uint8], limits: PictureLimits) -> Source:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise PictureFormat(
            "Expected an array uint8 (height, width, 3). "
            f"Received {array.dtype} {array.shape}. Convert it to RGB levels of 0 to 255."
        )
    height, width = array.shape[:2]
    picture_headers.check_size((width, height), limits, pixels=limits.other_pixels)
    return Source(Image.fromarray(array), (width, height), 1, False, limits)
