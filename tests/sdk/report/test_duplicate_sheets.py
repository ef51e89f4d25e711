"""Sheets of duplicates: what belongs together stands together."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from tests.making.copies import jpeg, picture

from pocketlens.duplicates import Copy, Duplicates, Group
from pocketlens.products import Image as CatalogueImage
from pocketlens.report import duplicate_sheets
from pocketlens.report.contact_sheets import PLAIN, SIDE


def group(folder: Path, number: int, copies: int) -> Group:
    path = folder / f"{number}.jpg"
    path.write_bytes(jpeg(picture(number)))
    one = Copy(CatalogueImage(f"image-{number}"), (f"product-{number}",), path)
    return Group("near", (one,) * copies, 1)


def drawn(*near: Group) -> np.ndarray:
    found = Duplicates((), near, (), images=99, pictures=99, cosine=0.97, version=1)
    with Image.open(io.BytesIO(duplicate_sheets.png(found))) as sheet:
        return np.asarray(sheet)


def frames(sheet: np.ndarray) -> list[list[int]]:
    """The left edges of frames, row by row."""
    rows = []
    for line in (sheet == PLAIN).all(axis=-1):
        inside = np.diff(np.concatenate([[0], line, [0]]).astype(int))
        starts, ends = np.flatnonzero(inside == 1), np.flatnonzero(inside == -1)
        found = starts[ends - starts > SIDE].tolist()
        if found and (not rows or rows[-1] != found):
            rows.append(found)
    return rows


def test_copies_of_a_group_are_nearer_than_the_next_group(tmp_path: Path) -> None:
    (row,) = frames(drawn(group(tmp_path, 1, 2), group(tmp_path, 2, 3)))

    first, apart, second, third = np.diff(row).tolist()
    assert first == second == third < apart


def test_a_row_has_eight_pictures_at_most(tmp_path: Path) -> None:
    sheet = drawn(*(group(tmp_path, number, copies) for number, copies in enumerate((3, 5, 20, 2))))

    assert [len(row) for row in frames(sheet)] == [8, 8, 2]


def test_nothing_found_is_a_sheet_that_says_so() -> None:
    height, width, _ = drawn().shape

    assert width > 400
    assert height > 80
