"""The smallest .tflite files that carry a metadata buffer: a container, no model to run.

tflite_file(contents)                       # as flatbuffers.metadata_range finds it
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct

from pocketlens.formats.bundle import METADATA_NAME


def tflite_file(contents: bytes, *, name: str = METADATA_NAME, tail: bytes = b"") -> bytes:
    """A FlatBuffer with a Model of one Metadata entry and one Buffer, `contents`.

    Written front to back, each offset patched when its target is known; `tail` follows the tables,
    as weights would.
    """
    file = bytearray(8)
    file[4:8] = b"TFL3"
    model = _table(file, fields=7)
    struct.pack_into("<I", file, 0, model)
    buffers = _slot(file, model, 4)
    metadata = _slot(file, model, 6)
    vector = _vector_of_one_table(file)
    _point(file, buffers, vector)
    buffer = _table(file, fields=1)
    _point(file, vector + 4, buffer)
    _point(file, _slot(file, buffer, 0), _bytes(file, contents))
    vector = _vector_of_one_table(file)
    _point(file, metadata, vector)
    entry = _table(file, fields=2)
    _point(file, vector + 4, entry)
    text = name.encode()
    _point(file, _slot(file, entry, 0), _bytes(file, text + b"\0", size=len(text)))
    return bytes(file) + tail


_TABLE_BYTES = 4 + 4 * 7  # the offset to its vtable, and room for seven fields


def _vtable_bytes(fields: int) -> int:
    return 4 + 2 * fields


def _table(file: bytearray, *, fields: int) -> int:
    """Appends a vtable without any field present, then its table; returns where the table is."""
    vtable = len(file)
    file += struct.pack("<HH", _vtable_bytes(fields), _TABLE_BYTES) + bytes(2 * fields)
    table = len(file)
    file += struct.pack("<i", table - vtable) + bytes(_TABLE_BYTES - 4)
    return table


def _slot(file: bytearray, table: int, number: int) -> int:
    """Makes field `number` of a table present; returns where its value is."""
    vtable = table - struct.unpack_from("<i", file, table)[0]
    offset = 4 + 4 * number
    struct.pack_into("<H", file, vtable + 4 + 2 * number, offset)
    return table + offset


def _point(file: bytearray, position: int, target: int) -> None:
    struct.pack_into("<I", file, position, target - position)


def _vector_of_one_table(file: bytearray) -> int:
    start = len(file)
    file += struct.pack("<II", 1, 0)
    return start


def _bytes(file: bytearray, contents: bytes, *, size: int | None = None) -> int:
    start = len(file)
    file += struct.pack("<I", len(contents) if size is None else size) + contents
    return start
