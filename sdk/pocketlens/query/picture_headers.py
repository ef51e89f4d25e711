"""What a picture's header says, without decoding anything. Bytes in, a `Header` or an error out.

JPEG, PNG and WebP are recognised by their first bytes. Beside the size, the header names the
`pieces` of the file that are the picture itself: a decoder is shown these and nothing else, so
that text, EXIF, colour profiles, thumbnails and later frames, the usual hiding places of bombs,
are never parsed. EXIF is asked for one number, the orientation, by `exif_orientation`.

Sources: ITU-T T.81 annex B (JPEG); PNG specification, third edition; RFC 9649 (WebP);
CIPA DC-008 (EXIF).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from pocketlens.errors import PictureFormat, PictureTooLarge, PictureTruncated
from pocketlens.options import PictureLimits

Format = Literal["JPEG", "PNG", "WEBP"]

# Honest files have a handful of each; what is beyond only costs time.
_MAX_JPEG_SEGMENTS = 10_000
_MAX_JPEG_TABLES = 64 * 1024  # bytes of quantization and Huffman tables before the first scan
_MAX_JPEG_SCANS = 100  # a progressive one has about ten; each costs a walk over all coefficients
_MAX_PNG_CHUNKS = 100_000  # 64 MiB in chunks of 8 KiB are 8,192
_MAX_WEBP_CHUNKS = 10_000
# libwebp keeps two canvases of 4 bytes a pixel, Pillow its frame and its image: together at most
# one and a half times `PictureLimits.decoded_bytes`, which makes 14 megapixels.
_WEBP_BYTES_A_PIXEL = 16 / 1.5

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_OTHER_FORMATS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"8BPS", "a Photoshop file"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a picture before it is decoded.

    Attributes:
        format: Of the file.
        width, height: Pixels as stored, before the orientation is applied.
        orientation: EXIF's, 1 to 8.
        scalable: A JPEG that is decoded row by row, at 1/1 to 1/8 of its size.
        memory_bytes: What decoding must hold at once, for all that are not `scalable`: the
            picture at the file's own depth; of a JPEG in several scans its coefficients.
        pieces: Ranges of the file, in order, that a decoder has to see.
    """

    format: Format
    width: int
    height: int
    orientation: int
    scalable: bool
    memory_bytes: int
    pieces: tuple[tuple[int, int], ...]


def read(data: bytes) -> Header:
    """Reads the header of a whole encoded picture.

    Raises:
        PictureFormat: It is none of JPEG, PNG and WebP, or of a kind of them that nobody reads.
        PictureTruncated: It ends before its pixels begin, or a length in it is impossible.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError) as exc:
        raise PictureTruncated(
            f"The picture ends in its header, after {len(data)} bytes. Copy it again."
        ) from exc
    received = next((name for magic, name in _OTHER_FORMATS if data.startswith(magic)), "none")
    if not data:
        received = "0 bytes"
    raise PictureFormat(
        f"Expected a JPEG, PNG or WebP picture. Received {received}. Try saving it as JPEG."
    )


def check(header: Header, limits: PictureLimits) -> None:
    """Refuses a picture that would cost too much to decode.

    Raises:
        PictureTooLarge: It is beyond one of `limits`, which the text names.
    """
    pixels = limits.baseline_jpeg_pixels if header.scalable else limits.other_pixels
    check_size((header.width, header.height), limits, pixels=pixels)
    if not header.scalable and header.memory_bytes > limits.decoded_bytes:
        raise PictureTooLarge(
            f"Expected at most {limits.decoded_bytes} bytes decoded. Received a {header.format} of "
            f"{header.width} x {header.height} that takes {header.memory_bytes}. "
            "Try a smaller copy, or a baseline JPEG."
        )


def check_size(size: tuple[int, int], limits: PictureLimits, *, pixels: int) -> None:
    """Refuses a width or height beyond `limits`, or more than `pixels`.

    Raises:
        PictureTooLarge: With the size and the limit in the text.
    """
    width, height = size
    if not (limits.min_side <= min(width, height) and max(width, height) <= limits.max_side):
        raise PictureTooLarge(
            f"Expected sides of {limits.min_side} to {limits.max_side} pixels. "
            f"Received {width} x {height}. Try a copy within these."
        )
    if width * height > pixels:
        raise PictureTooLarge(
            f"Expected at most {pixels / 1e6:g} megapixels of such a picture. Received "
            f"{width} x {height}, {width * height / 1e6:.1f}. Try a smaller copy, or a baseline "
            "JPEG."
        )


def exif_orientation(exif: bytes) -> int:
    """Reads orientation from a block of EXIF; 1, as stored, for all nonsense.

    Args:
        exif: A TIFF structure, with or without EXIF's six bytes before it.

    Returns:
        1 to 8.
    """
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * min(count, 1000), 12):
            tag, kind, values, value = struct.unpack_from(order + "HHIH", block, entry)
            if (tag, kind, values) == (0x0112, 3, 1):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _u16(data: bytes, position: int) -> int:
    value: int = struct.unpack_from(">H", data, position)[0]
    return value


def _u24_little(data: bytes, position: int) -> int:
    return data[position] | data[position + 1] << 8 | data[position + 2] << 16


def _jpeg(data: bytes) -> Header:
    tables: list[tuple[int, int]] = []  # what the decoder sees before the first scan
    frame: tuple[int, int] | None = None  # marker and position of its contents
    orientation = 1
    position = 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        marker, start = _next_marker(data, position)
        if marker in (0x01, *range(0xD0, 0xD8)):  # no contents
            position = start
            continue
        position = start + _u16(data, start)
        if position > len(data) or position < start + 2:
            raise PictureTruncated("The JPEG ends in its header. Copy it again.")
        contents = data[start + 2 : start + 10]
        match marker:
            case 0xDA:
                break
            case 0xE1 if contents.startswith(b"Exif\0\0") and orientation == 1:
                orientation = exif_orientation(data[start + 2 : position])
            case 0xC0 | 0xC1 | 0xC2 | 0xC9 | 0xCA:
                if frame is not None:
                    raise PictureFormat("The JPEG has two frames. Save it again.")
                frame = marker, start + 2
                tables.append((start - 2, position))
            case 0xC4 | 0xCC | 0xDB | 0xDD:
                tables.append((start - 2, position))
            case 0xE0 if contents.startswith(b"JFIF\0"):
                tables.append((start - 2, position))
            case 0xEE if contents.startswith(b"Adobe"):
                tables.append((start - 2, position))
            case 0xD8 | 0xD9 | 0xC3 | 0xC5 | 0xC6 | 0xC7 | 0xC8 | 0xCB | 0xCD | 0xCE | 0xCF:
                raise PictureFormat(f"A JPEG with marker {marker:#x} is not read. Save it again.")
    else:
        raise PictureFormat(f"The JPEG has more than {_MAX_JPEG_SEGMENTS} segments.")
    if frame is None:
        raise PictureFormat("The JPEG has no frame before its pixels. Save it again.")
    if sum(end - begin for begin, end in tables) > _MAX_JPEG_TABLES:
        raise PictureFormat(f"The JPEG has more than {_MAX_JPEG_TABLES} bytes of tables.")
    pieces = ((0, 2), *tables, (start - 2, len(data)))
    return _jpeg_frame(data, frame, start, orientation=orientation, pieces=pieces)


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """The next marker at or after `position`, and where its contents start (T.81, B.1.1.2)."""
    while True:
        position = data.find(b"\xff", position)
        if position < 0:
            raise IndexError(position)
        while data[position] == 0xFF:  # fill bytes
            position += 1
        if data[position] != 0:
            return data[position], position + 1


def _jpeg_frame(
    data: bytes,
    frame: tuple[int, int],
    scan: int,
    *,
    orientation: int,
    pieces: tuple[tuple[int, int], ...],
) -> Header:
    marker, start = frame
    depth, height, width, components = struct.unpack_from(">BHHB", data, start)
    if depth != 8 or components not in (1, 3, 4):
        raise PictureFormat(
            f"Expected a JPEG of 8 bits and 1, 3 or 4 components. Received {depth} bits and "
            f"{components} components. Save it again."
        )
    scalable = marker in (0xC0, 0xC1, 0xC9) and data[scan + 2] == components
    if not scalable and data.count(b"\xff\xda", scan) > _MAX_JPEG_SCANS:
        raise PictureFormat(f"The JPEG has more than {_MAX_JPEG_SCANS} scans. Save it again.")
    sampling = [data[start + 7 + 3 * each] for each in range(components)]
    blocks = [(value >> 4) * (value & 15) for value in sampling]
    largest = max(value >> 4 for value in sampling) * max(value & 15 for value in sampling)
    if min(blocks) == 0:
        raise PictureFormat("The JPEG's sampling factors are impossible. Save it again.")
    coefficients = width * height * sum(blocks) // largest
    return Header("JPEG", width, height, orientation, scalable, 2 * coefficients, pieces)


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise PictureFormat("The PNG does not begin with its header. Save it again.")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if depth not in _PNG_DEPTHS.get(colour, ()):
        raise PictureFormat(f"A PNG of colour type {colour} with {depth} bits is none.")
    pieces: list[tuple[int, int]] = [(0, 8)]
    orientation = 1
    position = 8
    for _ in range(_MAX_PNG_CHUNKS):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise PictureTruncated(f"The PNG ends in its chunk {name!r}. Copy it again.")
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            if pieces[-1][1] == position:
                pieces[-1] = pieces[-1][0], end
            else:
                pieces.append((position, end))
        elif name == b"eXIf" and orientation == 1:
            orientation = exif_orientation(data[position + 8 : end - 4])
        if name == b"IEND":
            break
        position = end
    else:
        raise PictureFormat(f"The PNG has more than {_MAX_PNG_CHUNKS} chunks. Save it again.")
    row_bytes = (width * depth * _PNG_CHANNELS[colour] + 7) // 8
    return Header("PNG", width, height, orientation, False, row_bytes * height, tuple(pieces))


def _webp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise PictureTruncated(
            f"The WebP ends after {len(data)} of {size + 8} bytes. Copy it again."
        )
    name = data[12:16]
    if name == b"VP8X":
        width, height = _u24_little(data, 24) + 1, _u24_little(data, 27) + 1
    elif name == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif name == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (each & 0x3FFF for each in struct.unpack_from("<HH", data, 26))
    else:
        raise PictureFormat(f"A WebP that begins with {name!r} is not read. Save it again.")
    orientation = _webp_orientation(data, size + 8) if name == b"VP8X" else 1
    memory_bytes = int(width * height * _WEBP_BYTES_A_PIXEL)
    return Header("WEBP", width, height, orientation, False, memory_bytes, ((0, size + 8),))


def _webp_orientation(data: bytes, end: int) -> int:
    position = 12
    for _ in range(_MAX_WEBP_CHUNKS):
        if position + 8 > end:
            break
        name, length = struct.unpack_from("<4sI", data, position)
        if name == b"EXIF":
            return exif_orientation(data[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    return 1
