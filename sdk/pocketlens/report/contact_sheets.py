"""Contact sheets: rows of small pictures with a line or two below each, as one picture.

    data = png([("Near", [[Cell(first, "R-1"), Cell(second, "R-2", is_last=True)]])])

More room follows the last cell of a group, so that a row may hold several.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from pocketlens.errors import PictureError
from pocketlens.lettering import write
from pocketlens.query import pictures

SIDE, GAP, TEXT = 112, 10, 32  # pixels: of a picture, between pictures, of the lines below one
PLAIN = (110, 110, 110)
_INK = (20, 20, 20)
_LEAST_WIDTH = 480  # pixels: a heading fits


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture on a sheet.

    Attributes:
        picture: Its file; one that cannot be read is named in its place.
        says: A line or two below it, as much as fits.
        colour: Of its frame and text.
        is_last: Of what belongs together.
    """

    picture: Path
    says: str
    colour: tuple[int, int, int] = PLAIN
    is_last: bool = False


def png(groups: Sequence[tuple[str, Sequence[Sequence[Cell]]]], *, columns: int = 1) -> bytes:
    """The sheet as a PNG.

    Args:
        groups: Headings, and the rows below each.
        columns: Into which the rows of a group are dealt, from top to bottom.
    """
    # Of the widest row, and the room between two columns.
    width = (
        max((_width(row[:-1]) + SIDE for _, rows in groups for row in rows), default=0) + 3 * GAP
    )
    line = SIDE + TEXT + GAP
    down = [-(-len(rows) // columns) for _, rows in groups]
    height = sum(TEXT + line * each for each in down) + GAP
    sheet = Image.new("RGB", (max(columns * width - GAP, _LEAST_WIDTH), height), "white")
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for (heading, rows), lines in zip(groups, down, strict=True):
        write(draw, (GAP, top), heading, size=16, colour=_INK, width=sheet.width - 2 * GAP)
        top += TEXT
        for number, row in enumerate(rows):
            left = GAP + number // lines * width
            for cell in row:
                _place(sheet, cell, (left, top + number % lines * line))
                left += _width([cell])
        top += line * lines
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _width(row: Sequence[Cell]) -> int:
    """Pixels of some cells side by side, with the room after each."""
    return sum(SIDE + (3 * GAP if cell.is_last else GAP) for cell in row)


def _place(sheet: Image.Image, cell: Cell, corner: tuple[int, int]) -> None:
    left, top = corner
    says = cell.says.splitlines()
    try:
        picture = pictures.upright(cell.picture, at_least=SIDE)
        picture.thumbnail((SIDE, SIDE))
        offset = ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2)
        sheet.paste(picture, (left + offset[0], top + offset[1]))
    except PictureError:
        says = ["(cannot be read)", *says]
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((left - 1, top - 1, left + SIDE, top + SIDE), outline=cell.colour, width=3)
    for number, line in enumerate(says[:2]):
        below = left, top + SIDE + 3 + number * TEXT // 2
        write(draw, below, line, size=11, colour=cell.colour, width=SIDE)
