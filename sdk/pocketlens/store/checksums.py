"""CRC-32 of rows, one by one or a whole column of rows at once.

SQLite does not notice rot, so that every row carries the checksum of what it says. CRC-32 finds
every burst of up to 32 bits; it is no protection against somebody who wants to deceive.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt


def checksum(*pieces: bytes | memoryview) -> int:
    """CRC-32 (zlib's) of the pieces, one behind the other."""
    value = 0
    for piece in pieces:
        value = zlib.crc32(piece, value)
    return value


def checksums(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """CRC-32 of each row of uint8 (n, size), as `checksum` gives it: a million in 0.3 s."""
    values = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in rows.T:
        values = _TABLE[(values ^ column) & 0xFF] ^ (values >> np.uint32(8))
    return values ^ np.uint32(0xFFFFFFFF)


def _table() -> npt.NDArray[np.uint32]:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, np.uint32(0xEDB88320) ^ (values >> 1), values >> 1)
    return values.astype(np.uint32)


_TABLE = _table()
