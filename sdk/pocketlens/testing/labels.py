"""A look to flat label art: pattern, logo, emblem, words. Pure drawing, the same every time."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from pocketlens.testing.assortment import Colour, Look

INK: Colour = (28, 26, 30)
PAPER: Colour = (250, 248, 240)

_Field = npt.NDArray[np.float64]


def label(look: Look, width: int, height: int) -> Image.Image:
    """The art of a label: an RGB picture of `width` x `height` pixels."""
    art = Image.fromarray(pattern(look, width, height))
    draw = ImageDraw.Draw(art)
    band = 0.62 if look.upper else 0.08
    badge = 0.06 if look.upper else 0.42
    _draw_band(draw, look, (0, round(band * height)), (width, round(0.3 * height)))
    side = min(0.72 * width, 0.5 * height)
    _draw_badge(draw, look, (round(width / 2), round(badge * height + side / 2)), side / 2)
    return art


def pattern(look: Look, width: int, height: int) -> npt.NDArray[np.uint8]:
    """The two-coloured pattern of a brand's line: uint8 (height, width, 3)."""
    across, down = np.meshgrid(np.arange(width) / width, np.arange(height) / width)
    mask = _PATTERNS[look.pattern](across / look.scale, down / look.scale)
    mixed = mask[..., None] * np.array(look.second) + (1 - mask[..., None]) * np.array(look.ground)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def emblem(name: str, centre: tuple[float, float], radius: float) -> list[tuple[float, float]]:
    """Corners of an emblem's outline, `radius` around `centre`, in pixels."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    reach = _EMBLEMS[name](angles)
    x, y = centre
    return [
        (x + radius * r * math.sin(a), y - radius * r * math.cos(a))
        for a, r in zip(angles, reach, strict=True)
    ]


def _draw_band(
    draw: ImageDraw.ImageDraw, look: Look, corner: tuple[int, int], size: tuple[int, int]
) -> None:
    (left, top), (width, height) = corner, size
    draw.rectangle((left, top, left + width, top + height), fill=look.accent)
    radius = 0.42 * height
    centre = (left + 0.24 * width, top + height / 2)
    draw.polygon(emblem(look.emblem, centre, radius), fill=PAPER)
    _write(draw, look.words[1], (left + 0.64 * width, top + height / 2), 0.5 * width)


def _draw_badge(
    draw: ImageDraw.ImageDraw, look: Look, centre: tuple[int, int], radius: float
) -> None:
    box = (centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)
    match look.badge:
        case "disc":
            draw.ellipse(box, fill=PAPER)
        case "square":
            draw.regular_polygon((*centre, radius), 4, fill=PAPER)
        case "diamond":
            draw.regular_polygon((*centre, radius), 4, rotation=45, fill=PAPER)
        case _:
            draw.regular_polygon((*centre, radius), 6, fill=PAPER)
    cell = 0.19 * radius
    x, y = centre[0] - 2.5 * cell, centre[1] - 3.1 * cell
    for row, cells in enumerate(look.glyph):
        for column, filled in enumerate(cells):
            if filled:
                left, top = x + column * cell, y + row * cell
                draw.rectangle((left, top, left + cell, top + cell), fill=look.ground)
    _write(draw, look.words[0], (centre[0], centre[1] + 3.2 * cell), 1.1 * radius, INK)


def _write(
    draw: ImageDraw.ImageDraw,
    word: str,
    centre: tuple[float, float],
    width: float,
    colour: Colour = PAPER,
) -> None:
    """Writes a word `width` pixels wide around `centre` in Pillow's own font."""
    size = 24.0
    size = max(6.0, min(size * width / draw.textlength(word, ImageFont.load_default(size)), 60))
    draw.text(centre, word, fill=colour, font=ImageFont.load_default(size), anchor="mm")


def _soft(wave: _Field) -> _Field:
    """A wave of -1..1 to 0..1 with narrow soft edges, against aliasing."""
    return np.clip(0.5 + 4 * wave, 0, 1)


def _stripes(x: _Field, y: _Field) -> _Field:
    return _soft(np.sin(2 * np.pi * x))


def _bars(x: _Field, y: _Field) -> _Field:
    return _soft(np.sin(2 * np.pi * y))


def _slant(x: _Field, y: _Field) -> _Field:
    return _soft(np.sin(1.4 * np.pi * (x + y)))


def _dots(x: _Field, y: _Field) -> _Field:
    return _soft(0.34 - np.hypot(x % 1 - 0.5, y % 1 - 0.5))


def _checks(x: _Field, y: _Field) -> _Field:
    return _soft(np.sin(np.pi * x) * np.sin(np.pi * y))


def _waves(x: _Field, y: _Field) -> _Field:
    return _soft(np.sin(2 * np.pi * (y + 0.35 * np.sin(np.pi * x))))


def _chevrons(x: _Field, y: _Field) -> _Field:
    return _soft(np.sin(2 * np.pi * (y + np.abs(x % 2 - 1))))


def _rings(x: _Field, y: _Field) -> _Field:
    return _soft(np.sin(2 * np.pi * np.hypot(x - x.mean(), y - y.mean())))


def _terrazzo(x: _Field, y: _Field) -> _Field:
    return _soft(
        np.sin(4.1 * x + 1.7 * np.sin(2.3 * y)) * np.sin(3.7 * y + 1.9 * np.sin(2.9 * x)) - 0.3
    )


def _plain(x: _Field, y: _Field) -> _Field:
    return np.clip(y / max(float(y.max()), 1e-9), 0, 1)


_PATTERNS = {
    "stripes": _stripes,
    "bars": _bars,
    "slant": _slant,
    "dots": _dots,
    "checks": _checks,
    "waves": _waves,
    "chevrons": _chevrons,
    "rings": _rings,
    "terrazzo": _terrazzo,
    "plain": _plain,
}

# Radius of an outline, 0 to 1, at each angle from the top, clockwise.
_EMBLEMS = {
    "sun": lambda a: 0.72 + 0.28 * np.sign(np.cos(9 * a)),
    "drop": lambda a: 0.6 + 0.4 * np.exp(-3 * (np.minimum(a, 2 * np.pi - a)) ** 2),
    "leaf": lambda a: 0.35 + 0.65 * np.cos(a) ** 4,
    "star": lambda a: 0.65 + 0.35 * np.cos(5 * a),
    "heart": lambda a: 0.75 - 0.35 * np.cos(a) ** 3 + 0.2 * np.abs(np.sin(a)),
    "bolt": lambda a: 0.55 + 0.45 * np.cos(2 * a + 0.8),
}
