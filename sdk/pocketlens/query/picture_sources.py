"""A picture before its pixels are decoded: found, read, its header checked, its file opened.

    with opened(picture, limits) as source:
        source.image, source.size, source.orientation

Whatever goes wrong with the picture, here or while the body decodes it, leaves as a PictureError.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import bisect
import io
import itertools
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

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

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

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
_READ_BYTES = 1 << 16  # as Pillow asks for
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
    """All bytes of a file, of which no more than are allowed are read."""
    most = limits.encoded_bytes
    if isinstance(picture, bytes | bytearray | memoryview):
        data, size = bytes(picture), len(picture)
    elif isinstance(picture, str | os.PathLike):
        try:
            with Path(picture).open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size  # 0 of what is no regular file
                data = b"" if size > most else file.read() if size else _read_on(file, most)
        except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise PictureError(f"Cannot read {picture}: {reason}. Check the path.") from exc
    elif callable(getattr(picture, "read", None)):
        data, size = _read_on(picture, most), 0
    else:
        raise PictureFormat(
            "Expected a path, bytes, a binary file, a Pillow image or a uint8 array (height, "
            f"width, 3). Received {type(picture).__name__}."
        )
    if max(size, len(data)) > most:
        raise PictureTooLarge(
            f"Expected a file of at most {most} bytes. Received more. Try a smaller copy."
        )
    return data


def _read_on(file: BinaryIO | io.FileIO, most: int) -> bytes:
    """What is left of a file that may give it in small parts; one byte more than `most` at most."""
    data = bytearray()
    while len(data) <= most:
        part = file.read(most + 1 - len(data))
        if not isinstance(part, bytes):
            raise PictureFormat("Expected a file opened for bytes. Received text. Open with 'rb'.")
        if not part:
            break
        data += part
    return bytes(data)


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


def _shown(data: bytes, pieces: tuple[tuple[int, int], ...]) -> BinaryIO:
    """A file of the pieces alone."""
    if pieces == ((0, len(data)),):
        return io.BytesIO(data)
    return io.BufferedReader(_Pieces(data, pieces), _READ_BYTES)


class _Pieces(io.RawIOBase):
    """Ranges of some bytes, one after the other as a file; not copied, for they may be large."""

    def __init__(self, data: bytes, pieces: tuple[tuple[int, int], ...]) -> None:
        self._views = [memoryview(data)[start:end] for start, end in pieces]
        self._ends = list(itertools.accumulate(len(view) for view in self._views))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._ends[-1]}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fills `buffer` up to the end of a piece."""
        piece = bisect.bisect_right(self._ends, self._position)
        if piece == len(self._views):
            return 0
        view, target = self._views[piece], memoryview(buffer).cast("B")
        start = self._position - (self._ends[piece] - len(view))
        count = min(len(target), len(view) - start)
        target[:count] = view[start : start + count]
        self._position += count
        return count


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
