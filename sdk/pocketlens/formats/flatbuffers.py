"""Where a .tflite file keeps one of its metadata buffers. Bytes in, a range of bytes out.

A .tflite file is a FlatBuffer with identifier `TFL3`. Only the path from its root to a named
metadata buffer is walked, each step checked against the file's end, so that a hostile file gives
an error and never a read outside of it.

Source: the FlatBuffers internals document and the fields of `Model`, `Metadata` and `Buffer` in
TensorFlow Lite's schema, version 3.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct

from pocketlens.errors import ModelUnsupported

_MODEL_BUFFERS, _MODEL_METADATA = 4, 6
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_BUFFER_DATA = 0
_MAX_METADATA = 256  # entries; models carry one to five


def metadata_range(data: bytes, name: str) -> tuple[int, int] | None:
    """Start and end of the contents of metadata buffer `name`; None if the model has none.

    Raises:
        ModelUnsupported: `data` is no .tflite file, or its tables point outside of it.
    """
    if len(data) < 8 or data[4:8] != b"TFL3":
        raise ModelUnsupported(
            "Expected a TensorFlow Lite model (.tflite). Received a file without its identifier."
        )
    try:
        model = _indirect(data, 0)
        entries = _vector(data, model, _MODEL_METADATA)
        buffers = _vector(data, model, _MODEL_BUFFERS)
        if entries is None or buffers is None:
            return None
        start, count = entries
        for index in range(min(count, _MAX_METADATA)):
            entry = _indirect(data, start + 4 * index)
            if _string(data, entry, _METADATA_NAME) == name.encode():
                position = _field(data, entry, _METADATA_BUFFER)
                number = 0 if position is None else _u32(data, position)
                return _buffer_range(data, buffers, number)
    except (struct.error, IndexError) as exc:
        raise ModelUnsupported(
            "The .tflite file is damaged: a table points outside of it."
        ) from exc
    return None


def _buffer_range(data: bytes, buffers: tuple[int, int], number: int) -> tuple[int, int]:
    start, count = buffers
    if number >= count:
        raise IndexError(number)
    contents = _vector(data, _indirect(data, start + 4 * number), _BUFFER_DATA)
    if contents is None:
        return 0, 0
    begin, size = contents
    if begin + size > len(data):
        raise IndexError(size)
    return begin, begin + size


def _u32(data: bytes, position: int) -> int:
    value: int = struct.unpack_from("<I", data, position)[0]
    return value


def _indirect(data: bytes, position: int) -> int:
    return position + _u32(data, position)


def _field(data: bytes, table: int, number: int) -> int | None:
    vtable = table - int(struct.unpack_from("<i", data, table)[0])
    if vtable < 0:
        raise IndexError(vtable)
    size = struct.unpack_from("<H", data, vtable)[0]
    slot = 4 + 2 * number
    if slot + 2 > size:
        return None
    offset = struct.unpack_from("<H", data, vtable + slot)[0]
    return table + offset if offset else None


def _vector(data: bytes, table: int, number: int) -> tuple[int, int] | None:
    position = _field(data, table, number)
    if position is None:
        return None
    vector = _indirect(data, position)
    return vector + 4, _u32(data, vector)


def _string(data: bytes, table: int, number: int) -> bytes:
    found = _vector(data, table, number)
    if found is None:
        return b""
    start, size = found
    return data[start : start + size]
