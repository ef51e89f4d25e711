"""Explanations and comparisons as pictures, PNG, for people.

Photo, the same with the heat over it, the catalogue's picture: what a shopper needs to see why.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from pocketlens.explaining import captions
from pocketlens.lettering import write
from pocketlens.query import pictures

if TYPE_CHECKING:
    from pocketlens.explaining.comparing import Comparison
    from pocketlens.explaining.explanation import Explanation
    from pocketlens.query.pictures import Picture

SIDE, GAP, LINE = 320, 16, 20  # pixels: of a panel, between panels, of a line of text
_INK, _PAPER, _QUIET = (28, 28, 32), (255, 255, 255), (236, 236, 238)
# Of heat, coolest first: light to dark, so that it reads in grey, too.
_RAMP = np.array([(255, 240, 150), (255, 190, 60), (250, 110, 30), (215, 25, 30)], np.float32)
_OPAQUE = 0.65  # of the hottest cell: the photo still shows through
_GREY = 0.6  # share of colour that the photo loses below the heat


def of_explanation(why: Explanation, catalogue_picture: Picture | None) -> bytes:
    """The drawing of an explanation; see `Explanation.png`."""
    photo = Image.fromarray(why.photo)
    if catalogue_picture is None:
        shown = _words(why.match.image.url or why.match.image.id)
    else:
        shown = pictures.upright(catalogue_picture, at_least=SIDE)
    panels = [
        ("The photo", photo),
        ("What makes it alike", _heated(why)),
        (why.match.product.name, shown),
    ]
    sheet = _sheet(panels, captions.of_explanation(why))
    if not why.is_faint:
        _legend(sheet, float(why.heat.max()))
    return _png(sheet)


def of_comparison(compared: Comparison) -> bytes:
    """The drawing of a comparison; see `Comparison.png`."""
    panels = [
        (f"The {which}, as the model sees it", Image.fromarray(seen.tensor))
        for which, seen in (("first", compared.first), ("second", compared.second))
    ]
    return _png(_sheet(panels, captions.of_comparison(compared)))


def _heated(why: Explanation) -> Image.Image:
    """The photo, paler, with the heat over it; without heat where that is faint."""
    photo = Image.fromarray(why.photo)
    pale = Image.blend(photo, photo.convert("L").convert("RGB"), _GREY)
    if why.is_faint:
        return pale
    strength = np.clip(why.heat / why.heat.max(), 0, 1).astype(np.float32)
    smooth = Image.fromarray(strength).resize(photo.size, Image.Resampling.BICUBIC)
    share = np.clip(np.asarray(smooth), 0, 1)
    colours = Image.fromarray(_coloured(share))
    return Image.composite(colours, pale, Image.fromarray((255 * _OPAQUE * share).astype(np.uint8)))


def _coloured(share: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Colours of heat, uint8 (..., 3), for shares of the greatest, 0 to 1."""
    steps = np.linspace(0, 1, len(_RAMP))
    levels = [np.interp(share, steps, _RAMP[:, channel]) for channel in range(3)]
    return np.stack(levels, axis=-1).round().astype(np.uint8)


def _sheet(panels: Sequence[tuple[str, Image.Image]], lines: Sequence[str]) -> Image.Image:
    """The headline, panels with their names below, and the other lines."""
    width = len(panels) * (SIDE + GAP) + GAP
    top = GAP + 2 * LINE
    below = top + SIDE + 3 * LINE
    height = below + LINE * (len(lines) - 1) + GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    write(draw, (GAP, GAP), lines[0], size=20, colour=_INK, width=width - 2 * GAP)
    for number, (name, image) in enumerate(panels):
        left = GAP + number * (SIDE + GAP)
        draw.rectangle((left, top, left + SIDE, top + SIDE), _QUIET)
        scale = SIDE / max(image.size)
        size = tuple(max(1, round(side * scale)) for side in image.size)
        fitted = image.resize((size[0], size[1]), Image.Resampling.BICUBIC)
        sheet.paste(fitted, (left + (SIDE - size[0]) // 2, top + (SIDE - size[1]) // 2))
        write(draw, (left, top + SIDE + 6), name, size=13, colour=_INK, width=SIDE)
    for number, line in enumerate(lines[1:]):
        place = GAP, below + LINE * number
        write(draw, place, line, size=14, colour=_INK, width=width - 2 * GAP)
    return sheet


def _legend(sheet: Image.Image, hottest: float) -> None:
    """The ramp with its ends, below the second panel."""
    draw = ImageDraw.Draw(sheet)
    left, top = SIDE + 2 * GAP, GAP + 2 * LINE + SIDE + LINE + 10
    length = SIDE // 3
    ramp = _coloured(np.linspace(0, 1, length, dtype=np.float32))[None].repeat(10, axis=0)
    sheet.paste(Image.fromarray(ramp), (left, top))
    place, says = (left + length + 8, top - 3), f"similarity lost: 0 to {hottest:.2f}"
    write(draw, place, says, size=13, colour=_INK, width=SIDE - length)


def _words(text: str) -> Image.Image:
    """A panel that says where the picture is, which is not at hand."""
    panel = Image.new("RGB", (SIDE, SIDE), _QUIET)
    draw = ImageDraw.Draw(panel)
    lines = ["The catalogue's picture", "is not on this device:", "", *_wrapped(text)]
    for number, line in enumerate(lines):
        place = GAP, SIDE // 3 + LINE * number
        write(draw, place, line, size=13, colour=_INK, width=SIDE - 2 * GAP)
    return panel


def _wrapped(text: str) -> list[str]:
    """An address in lines that fit a panel, at most three."""
    letters = 40
    return [text[start : start + letters] for start in range(0, len(text), letters)][:3]


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()
