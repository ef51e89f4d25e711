"""A contact sheet: photos, each beside the products that were found for it, as one picture."""

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
RIGHT, WRONG, PLAIN = (27, 127, 77), (192, 57, 43), (110, 110, 110)
MAX_LETTERS = 19


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
    widest = max((len(row.found) for _, rows in groups for row in rows), default=1)
    width, line = (1 + widest) * (SIDE + GAP) + 3 * GAP, SIDE + TEXT + GAP
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
            _place(sheet, row.photo, row.says, (left + GAP, level), PLAIN)
            for rank, found in enumerate(row.found):
                corner = (left + 3 * GAP + (1 + rank) * (SIDE + GAP), level)
                says = f"{_cut(found.name)}\n{found.similarity:.3f}"
                _place(sheet, found.picture, says, corner, RIGHT if found.is_right else WRONG)
        top += line * lines
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _place(
    sheet: Image.Image,
    path: Path,
    says: str,
    corner: tuple[int, int],
    colour: tuple[int, int, int],
) -> None:
    left, top = corner
    try:
        picture = pictures.upright(path, at_least=SIDE)
        picture.thumbnail((SIDE, SIDE))
        offset = ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2)
        sheet.paste(picture, (left + offset[0], top + offset[1]))
    except PictureError:
        says = f"(cannot be read)\n{says}"
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((left - 1, top - 1, left + SIDE, top + SIDE), outline=colour, width=3)
    font = ImageFont.load_default(11)
    draw.multiline_text((left, top + SIDE + 3), says, fill=colour, font=font, spacing=2)


def _cut(name: str) -> str:
    return name if len(name) <= MAX_LETTERS else f"{name[: MAX_LETTERS - 1]}…"
