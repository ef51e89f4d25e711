"""Pictures of every odd kind, drawn from a seed: no file is kept.

encoded(drawn(640, 480), "JPEG", quality=90)      # bytes
flat_jpeg(11_700, 8_050)                          # 94 megapixels, made in a millisecond
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

QUADRANTS = ((230, 30, 30), (30, 200, 40), (40, 60, 220), (240, 220, 40))
"""Colours of the upper left, upper right, lower left and lower right of a drawn picture."""


def drawn(width: int, height: int, *, seed: int = 0) -> Image.Image:
    """Four coloured quadrants under soft waves: RGB, unlike itself however it is turned."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = 20 * np.sin(x / rng.uniform(15, 30) + y / rng.uniform(15, 30))
    right, lower = x >= width / 2, y >= height / 2
    colours = np.array(QUADRANTS, np.float32)[right + 2 * lower]
    return Image.fromarray(np.clip(colours + waves[..., None], 0, 255).astype(np.uint8))


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """The image as a file of format `form`."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    """EXIF with nothing but an orientation, which may be nonsense."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


def with_exif(jpeg: bytes, block: bytes) -> bytes:
    """A JPEG with an EXIF segment of any bytes."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def flat_jpeg(width: int, height: int, *, progressive: bool = False) -> bytes:
    """A JPEG of one colour and any size up to 65,535 a side, made without its pixels.

    The header is that of a small one. In the baseline form an MCU that repeats its predecessor
    takes 32 bits with the standard Huffman tables (6 for each of four luma blocks, 4 for each of
    two chroma blocks), so that the scan is these four bytes again and again. The progressive form
    is cut after its first scan's header: it is there to be refused before.
    """
    small = Image.new("RGB", (16, 16), (128, 128, 128))
    header = bytearray(encoded(small, "JPEG", quality=75, subsampling=2, progressive=progressive))
    frame = header.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    struct.pack_into(">HH", header, frame + 5, height, width)
    scan = header.index(b"\xff\xda")
    start = scan + 2 + struct.unpack_from(">H", header, scan + 2)[0]
    if progressive:
        return bytes(header[:start])
    units = -(-width // 16) * -(-height // 16)
    return bytes(header[:start]) + b"\x28\xa2\x8a\x00" * units + b"\xff\xd9"


def png(
    width: int, height: int, *, depth: int = 8, colour: int = 2, data: bytes | None = None
) -> bytes:
    """A PNG by hand, black unless `data` (rows with their filter bytes) says otherwise."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    rows = bytes((1 + (width * depth * channels + 7) // 8) * height) if data is None else data
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND")]
    )


def png_chunk(name: bytes, contents: bytes = b"") -> bytes:
    """A chunk of a PNG with its checksum."""
    checked = name + contents
    return struct.pack(">I", len(contents)) + checked + struct.pack(">I", zlib.crc32(checked))


def with_png_chunks(file: bytes, *chunks: bytes) -> bytes:
    """A PNG with more chunks after its header."""
    return file[:33] + b"".join(chunks) + file[33:]


def png_16_bit(width: int, height: int, *, colour: int = 0) -> bytes:
    """A PNG of 16 bits whose levels rise from 0 at the left to 65,535 at the right."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    levels = np.linspace(0, 65_535, width).astype(">u2")
    row = np.repeat(levels[:, None], channels, axis=1)
    if colour in (4, 6):
        row[:, -1] = 65_535
    return png(width, height, depth=16, colour=colour, data=(b"\0" + row.tobytes()) * height)


def animated(form: str, width: int = 64, height: int = 48) -> bytes:
    """Three frames: red, green, blue."""
    red, green, blue = (Image.new("RGB", (width, height), c) for c in ("red", "lime", "blue"))
    options = {"lossless": True} if form == "WEBP" else {}
    return encoded(red, form, save_all=True, append_images=[green, blue], duration=100, **options)


def mutants(seeds: list[bytes], count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Broken copies: bytes changed, cut, doubled, or swapped for others that matter to parsers."""
    for number in range(count):
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(int(rng.integers(1, 6))):
            _mutate(data, rng)
        yield bytes(data)


def _mutate(data: bytearray, rng: np.random.Generator) -> None:
    """One change; half of them in the first 700 bytes, where the headers are."""
    if not data:
        return
    end = len(data) if rng.random() < 0.5 else min(len(data), 700)
    position = int(rng.integers(end))
    match int(rng.integers(6)):
        case 0:
            data[position] ^= 1 << int(rng.integers(8))
        case 1:
            data[position] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF]))
        case 2:
            del data[position:]
        case 3:
            del data[position : position + int(rng.integers(1, 20))]
        case 4:
            data[position:position] = data[position : position + int(rng.integers(1, 40))]
        case 5:
            data[position : position + 4] = int(rng.integers(1 << 32)).to_bytes(4, "big")
