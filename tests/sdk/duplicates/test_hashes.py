"""Perceptual hashes, and the pairs among them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ImageOps
from tests.making.copies import ALTERATIONS, picture

from pocketlens.duplicates import hashes
from pocketlens.errors import MissingExtraError

Hashes = npt.NDArray[np.uint8]


def flipped(rng: np.random.Generator, row: Hashes, bits: int) -> Hashes:
    found = np.unpackbits(row)
    found[rng.choice(len(found), bits, replace=False)] ^= 1
    return np.packbits(found)


def apart(one: bytes, other: bytes) -> int:
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


def test_pairs_are_within_the_bits_and_nearly_all_of_them() -> None:
    rng = np.random.default_rng(4)
    rows = rng.integers(0, 256, (1_000, hashes.HASH_BYTES), dtype=np.uint8)
    near = np.stack([flipped(rng, row, 20) for row in rows[:200]])
    far = np.stack([flipped(rng, row, 40) for row in rows[200:400]])

    ones, others = hashes.alike(np.concatenate([rows, near, far]), 32)

    found = set(zip(ones.tolist(), others.tolist(), strict=True))
    assert len(found) == len(ones)
    assert found <= {(row, 1_000 + row) for row in range(200)}
    assert len(found) >= 190


def test_many_of_one_hash_are_linked_by_as_many_pairs() -> None:
    rows = np.zeros((5_000, hashes.HASH_BYTES), np.uint8)
    rows[::1_000, 0] = 1  # five that differ by a bit

    ones, others = hashes.alike(rows, 32)

    assert len(ones) < 5_010
    assert set(ones.tolist()) | set(others.tolist()) == set(range(5_000))


def test_flood_of_nearly_one_hash_costs_a_bounded_number_of_pairs() -> None:
    rng = np.random.default_rng(5)
    one = rng.integers(0, 256, hashes.HASH_BYTES, dtype=np.uint8)
    rows = np.stack([flipped(rng, one, 3) for _ in range(3_000)])

    ones, _ = hashes.alike(rows, 32)

    assert len(ones) <= 3_000 * 8 * 16  # a window in each band; all pairs are 35 times as many


@pytest.mark.parametrize("few", [0, 1])
def test_few_hashes_have_no_pairs(few: int) -> None:
    ones, others = hashes.alike(np.zeros((few, hashes.HASH_BYTES), np.uint8), 32)

    assert len(ones) == len(others) == 0


def test_hash_keeps_most_bits_of_a_copy() -> None:
    whole, mirrored = hashes.hashed(picture(1))

    assert apart(whole, hashes.hashed(ALTERATIONS["saved_anew"](picture(1)))[0]) <= 32
    assert apart(whole, hashes.hashed(ALTERATIONS["halved"](picture(1)))[0]) <= 32
    assert mirrored == hashes.hashed(ImageOps.mirror(picture(1)))[0]
    assert apart(whole, hashes.hashed(picture(2))[0]) > 64


def test_missing_library_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)

    with pytest.raises(MissingExtraError, match=r"pip install pocketlens\[duplicates\]"):
        hashes.hashed(picture(1))
