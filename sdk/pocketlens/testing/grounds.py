"""What lies behind and below a product in a photo: wood, cloth, gravel, tiles, a shelf, clutter.

Every ground is drawn from a generator, uint8 RGB, and holds nothing of the shop.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

_Array = npt.NDArray[np.float64]


def ground(rng: np.random.Generator, side: int) -> Image.Image:
    """One of the grounds, `side` x `side` pixels."""
    return _GROUNDS[int(rng.integers(len(_GROUNDS)))](rng, side)


def noise(rng: np.random.Generator, side: int, cells: tuple[int, int]) -> _Array:
    """Smooth noise, -1..1, (side, side), with so many cells across and down."""
    across, down = cells
    grid = rng.integers(0, 256, (down, across), dtype=np.uint8)
    smooth = Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(smooth, np.float64) / 127.5 - 1


def _wood(rng: np.random.Generator, side: int) -> Image.Image:
    grain = np.sin(14 * noise(rng, side, (3, 5)) + 6 * noise(rng, side, (2, 24)))
    fine = noise(rng, side, (6, side // 2))
    planks = np.ones((side, side))
    planks[:: max(side // int(rng.integers(2, 6)), 1)] = 0.55
    tone = _tone(rng, hue=(0.05, 0.11), saturation=(0.25, 0.65), value=(0.3, 0.85))
    return _picture(tone * ((1 + 0.12 * grain + 0.1 * fine) * planks)[..., None], rng)


def _cloth(rng: np.random.Generator, side: int) -> Image.Image:
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    weave = 0.06 * (np.sin(across * 2.1) + np.sin(down * 2.1))
    folds = 0.22 * noise(rng, side, (4, 4)) + 0.1 * noise(rng, side, (9, 3))
    tone = _tone(rng, hue=(0, 1), saturation=(0.05, 0.6), value=(0.3, 0.95))
    shown = tone * (1 + weave + folds)[..., None]
    if rng.random() < 0.4:  # a checked table-cloth
        step = int(rng.integers(14, 40))
        other = _tone(rng, hue=(0, 1), saturation=(0.1, 0.6), value=(0.4, 0.95))
        checks = ((across // step + down // step) % 2)[..., None]
        shown = shown * (1 - 0.5 * checks) + other * 0.5 * checks
    return _picture(shown, rng)


def _gravel(rng: np.random.Generator, side: int) -> Image.Image:
    coarse = noise(rng, side, (int(rng.integers(20, 44)),) * 2)
    stones = np.sign(coarse) * np.sqrt(np.abs(coarse)) + 0.5 * noise(rng, side, (70, 70))
    tone = _tone(rng, hue=(0, 1), saturation=(0.0, 0.25), value=(0.35, 0.75))
    return _picture(tone * (1 + 0.35 * stones)[..., None], rng)


def _tiles(rng: np.random.Generator, side: int) -> Image.Image:
    step = int(rng.integers(30, 90))
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    joints = ((across + int(rng.integers(step))) % step < 3) | (
        (down + int(rng.integers(step))) % step < 3
    )
    marble = np.exp(-8 * np.abs(noise(rng, side, (4, 4)) + 0.4 * noise(rng, side, (11, 11))))
    tone = _tone(rng, hue=(0, 1), saturation=(0.0, 0.3), value=(0.55, 0.95))
    return _picture(tone * (1 - 0.25 * marble - 0.3 * joints)[..., None], rng)


def _shelf(rng: np.random.Generator, side: int) -> Image.Image:
    wall = _tone(rng, hue=(0, 1), saturation=(0.0, 0.35), value=(0.35, 0.95))
    shown = wall * (1 + 0.08 * noise(rng, side, (3, 3)))[..., None]
    picture = _picture(shown, rng)
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(3, 8))):  # things that stand further back
        left, top = rng.integers(-20, side, 2)
        size = rng.integers(20, 80, 2)
        box = (int(left), int(top), int(left + size[0]), int(top + size[1]))
        draw.rounded_rectangle(box, int(rng.integers(0, 12)), fill=_any_colour(rng))
    picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.5, 5))))
    board = int(rng.uniform(0.62, 0.9) * side)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, board, side, side), fill=_any_colour(rng, saturation=0.3))
    tag = int(rng.integers(0, side))
    draw.rectangle((tag, board + 8, tag + 44, board + 26), fill=(240, 238, 225))
    return picture


def _clutter(rng: np.random.Generator, side: int) -> Image.Image:
    first, last = (_tone(rng, hue=(0, 1), saturation=(0, 0.5), value=(0.2, 0.95)) for _ in range(2))
    slope = np.linspace(0, 1, side)[:, None, None]
    picture = _picture(np.broadcast_to(first * (1 - slope) + last * slope, (side, side, 3)), rng)
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(5, 16))):
        x, y, reach = (int(v) for v in rng.integers((0, 0, 8), (side, side, side // 4)))
        colour = _any_colour(rng)
        if rng.random() < 0.5:
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
        else:
            sides, turn = int(rng.integers(3, 7)), float(rng.uniform(0, 360))
            draw.regular_polygon((x, y, reach), sides, rotation=turn, fill=colour)
    return picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 6))))


_GROUNDS: tuple[Callable[[np.random.Generator, int], Image.Image], ...] = (
    _wood,
    _cloth,
    _gravel,
    _tiles,
    _shelf,
    _clutter,
)


def _tone(
    rng: np.random.Generator,
    *,
    hue: tuple[float, float],
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> _Array:
    """A colour, 0..255, drawn between the ends given."""
    drawn = colorsys.hsv_to_rgb(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))
    return 255 * np.array(drawn)


def _any_colour(rng: np.random.Generator, saturation: float = 0.8) -> tuple[int, int, int]:
    red, green, blue = _tone(rng, hue=(0, 1), saturation=(0.05, saturation), value=(0.2, 0.95))
    return int(red), int(green), int(blue)


def _picture(levels: _Array, rng: np.random.Generator) -> Image.Image:
    """Levels to a picture, turned by a multiple of a right angle."""
    turned = np.rot90(levels, int(rng.integers(4)))
    return Image.fromarray(np.clip(turned, 0, 255).astype(np.uint8))
