"""CRC-32, one row or a column of rows."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import zlib

import numpy as np
import pytest

from pocketlens.store.checksums import checksum, checksums


def test_known_answer_of_the_crc32_catalogue() -> None:
    assert checksum(b"123456789") == 0xCBF43926


def test_pieces_are_one_behind_the_other() -> None:
    assert checksum(b"1234", b"", memoryview(b"56789")) == 0xCBF43926


@pytest.mark.parametrize(("rows", "size"), [(0, 24), (1, 1), (7, 24), (300, 3)])
def test_a_column_of_rows_gives_what_zlib_gives(rows: int, size: int) -> None:
    data = np.random.default_rng(0).integers(0, 256, (rows, size), np.uint8)

    assert checksums(data).tolist() == [zlib.crc32(row.tobytes()) for row in data]
