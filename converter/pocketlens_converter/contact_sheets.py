"""A contact sheet: photos, each beside the products that were found for it, as one picture."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.report import contact_sheets
from pocketlens.report.contact_sheets import SIDE, Cell

__all__ = ["SIDE", "Found", "Row", "png"]

RIGHT, WRONG = (27, 127, 77), (192, 57, 43)


@dataclass(frozen=True, slots=True)
class Found:
    """One product that was found.

    Attributes:
        picture: Of the catalogue.
        name: What to write below it.
        similarity: To the photo.
        is_right: Whether the photo shows it.
    """

    picture: Path
    name: str
    similarity: float
    is_right: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A photo and what was found for it, best first; `says` is a line or two below the photo."""

    photo: Path
    says: str
    found: tuple[Found, ...]


def png(groups: Sequence[tuple[str, Sequence[Row]]], *, columns: int = 1) -> bytes:
    """The sheet as a PNG.

    Args:
        groups: Headings, and the rows below each.
        columns: Into which the rows of a group are dealt, from top to bottom.
    """
    cells = [(heading, [list(_cells(row)) for row in rows]) for heading, rows in groups]
    return contact_sheets.png(cells, columns=columns)


def _cells(row: Row) -> Iterator[Cell]:
    yield Cell(row.photo, row.says, is_last=True)  # it stands apart from what was found for it
    for found in row.found:
        colour = RIGHT if found.is_right else WRONG
        yield Cell(found.picture, f"{found.name}\n{found.similarity:.3f}", colour)
