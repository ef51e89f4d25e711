"""Photos beside the catalogue pictures they were matched with, as one picture."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIDE, GAP, TEXT = 132, 10, 34  # pixels: of a picture, between pictures, of the lines below one
GREEN, RED, GREY = (30, 140, 60), (190, 40, 40), (150, 150, 150)


@dataclass(frozen=True)
class Row:
    """One photo and its matches.

    Attributes:
        photo: The picture searched with.
        says: Two short lines below it.
        matches: Catalogue picture, two short lines, and whether it is the right product.
    """

    photo: Path
    says: str
    matches: tuple[tuple[Path, str, bool], ...]


def draw(rows: Sequence[Row], *, columns: int = 2) -> Image.Image:
    """All rows, in `columns` side by side; the photo first, then its matches from the best on."""
    widest = max(len(row.matches) for row in rows)
    width, height = (1 + widest) * (SIDE + GAP) + 3 * GAP, SIDE + TEXT + GAP
    down = -(-len(rows) // columns)
    sheet = Image.new("RGB", (columns * width + GAP, down * height + GAP), "white")
    for number, row in enumerate(rows):
        left, top = GAP + number // down * width, GAP + number % down * height
        _place(sheet, row.photo, row.says, (left, top), GREY)
        for rank, (picture, says, is_right) in enumerate(row.matches):
            corner = (left + 2 * GAP + (1 + rank) * (SIDE + GAP), top)
            _place(sheet, picture, says, corner, GREEN if is_right else RED)
    return sheet


def _place(
    sheet: Image.Image,
    path: Path,
    says: str,
    corner: tuple[int, int],
    colour: tuple[int, int, int],
) -> None:
    with Image.open(path) as picture:
        sheet.paste(picture.convert("RGB").resize((SIDE, SIDE)), corner)
    left, top = corner
    drawing = ImageDraw.Draw(sheet)
    drawing.rectangle((left - 1, top - 1, left + SIDE, top + SIDE), outline=colour, width=3)
    font = ImageFont.load_default(12)
    drawing.multiline_text((left, top + SIDE + 3), says, fill=colour, font=font, spacing=2)
