"""Contact sheets: rows of small pictures with a line or two below each, as one picture.

    data = png([("Near", [[Cell(first, "R-1"), Cell(second, "R-2")]])])

The first picture of a row stands a little apart: it is what the others are beside.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pocketlens.errors import PictureError
from pocketlens.query import pictures

SIDE, GAP, TEXT = 112, 10, 32  # pixels: of a picture, between pictures, of the lines below one
PLAIN = (110, 110, 110)
MAX_LETTERS = 19


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture on a sheet.

    Attributes:
        picture: Its file; one that cannot be read is named in its place.
        says: A line or two below it; lines are cut to 19 letters.
        colour: Of its frame and text.
    """

    picture: Path
    says: str
    colour: tuple[int, int, int] = PLAIN


def png(groups: Sequence[tuple[str, Sequence[Sequence[Cell]]]], *, columns: int = 1) -> bytes:
    """The sheet as a PNG.

    Args:
        groups: Headings, and the rows below each.
        columns: Into which the rows of a group are dealt, from top to bottom.
    """
    widest = max((len(row) for _, rows in groups for row in rows), default=1)
    width, line = widest * (SIDE + GAP) + 3 * GAP, SIDE + TEXT + GAP
    down = [-(-len(rows) // columns) for _, rows in groups]
    height = sum(TEXT + line * each for each in down) + GAP
    sheet = Image.new("RGB", (columns * width, height), "white")
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for (heading, rows), lines in zip(groups, down, strict=True):
        draw.text((GAP, top), heading, fill=(20, 20, 20), font=ImageFont.load_default(16))
        top += TEXT
        for number, row in enumerate(rows):
            left, level = number // lines * width, top + number % lines * line
            for place, cell in enumerate(row):
                _place(
                    sheet, cell, (left + (3 * GAP if place else GAP) + place * (SIDE + GAP), level)
                )
        top += line * lines
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _place(sheet: Image.Image, cell: Cell, corner: tuple[int, int]) -> None:
    left, top = corner
    says = "\n".join(_cut(line) for line in cell.says.splitlines())
    try:
        picture = pictures.upright(cell.picture, at_least=SIDE)
        picture.thumbnail((SIDE, SIDE))
        offset = ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2)
        sheet.paste(picture, (left + offset[0], top + offset[1]))
    except PictureError:
        says = f"(cannot be read)\n{says}"
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((left - 1, top - 1, left + SIDE, top + SIDE), outline=cell.colour, width=3)
    font = ImageFont.load_default(11)
    draw.multiline_text((left, top + SIDE + 3), says, fill=cell.colour, font=font, spacing=2)


def _cut(line: str) -> str:
    return line if len(line) <= MAX_LETTERS else f"{line[: MAX_LETTERS - 1]}…"
