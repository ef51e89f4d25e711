"""Lines of text in drawings: letters that can be drawn, no more than fit.

write(draw, (16, 16), "Crème brûlée", size=14, colour=(28, 28, 32), width=320)

Pillow's own font has the letters of English and little else. A line that has others is drawn by the
first font of the system that has them all; where there is none, without accents, and with "?" for
what is left.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from unicodedata import normalize

from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Found by these names in the folders of Linux, macOS and Windows; those of most alphabets first.
SYSTEM_FONTS = (
    *("DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf", "NotoSans-Regular.ttf"),
    *("LiberationSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "PingFang.ttc", "msyh.ttc"),
)
_MOST_LETTERS = 400  # of a line: more fit into no drawing
_NO_LETTER = "\uffff"  # drawn as every font draws what it lacks


def write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    *,
    size: int,
    colour: tuple[int, int, int],
    width: int,
    fonts: Sequence[str] = SYSTEM_FONTS,
) -> None:
    """Writes one line, and "…" for what of it does not fit.

    Args:
        draw: Of the drawing.
        place: Left and top, in pixels.
        text: Of any length and letters; line ends count as spaces.
        size: Of the font, in pixels.
        colour: RGB.
        width: Pixels that there are.
        fonts: Files of the system's fonts, for what Pillow's own lacks.
    """
    line = " ".join(text.split())[:_MOST_LETTERS]
    font = _font_for(line, size, fonts)
    line = _spelled(line, font)
    if draw.textlength(line, font) > width:
        shorter = range(len(line) + 1)
        fitting = bisect_right(
            shorter, width, key=lambda letters: ceil(draw.textlength(line[:letters] + "…", font))
        )
        line = line[: max(fitting - 1, 0)] + "…"
    draw.text(place, line, colour, font)


def _font_for(line: str, size: int, fonts: Sequence[str]) -> Font:
    """The first that has all letters; Pillow's own if none has."""
    own = ImageFont.load_default(size)
    if _has(own, line):
        return own
    for name in fonts:
        with suppress(OSError):  # the system does not have it
            font = ImageFont.truetype(name, size)
            if _has(font, line):
                return font
    return own


def _spelled(line: str, font: Font) -> str:
    """The same in letters that the font has."""
    return "".join(
        letter
        if _has(font, letter)
        else "".join(each for each in normalize("NFKD", letter) if _has(font, each)) or "?"
        for letter in line
    )


def _has(font: Font, letters: str) -> bool:
    missing = bytes(font.getmask(_NO_LETTER))
    return all(bytes(font.getmask(letter)) != missing for letter in set(letters))
