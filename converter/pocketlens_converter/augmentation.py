"""Augmentation: one small function an effect, each a square picture and a generator to a picture.

What a shopper's photo differs in from a catalogue picture: how near it was taken, which way the
thing is turned, what light fell on it, how sharp it is. Pillow does the work outside Python's
lock, so that a thread can prepare the next batch while a step is computed.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

GROUND = (255, 255, 255)


def zoom(
    picture: Image.Image,
    rng: np.random.Generator,
    *,
    size: int,
    smallest_area: float,
    stretch: float = 4 / 3,
) -> Image.Image:
    """A random part of `picture`, some `smallest_area` of it or more, scaled to `size` pixels.

    Its sides differ by `stretch` at most (one that would be too long is cut); a third is what
    "Going deeper with convolutions" (2014), section 6, has.
    """
    area = rng.uniform(smallest_area, 1.0)
    aspect = math.exp(rng.uniform(-math.log(stretch), math.log(stretch)))
    side = picture.width
    width = min(side, side * math.sqrt(area * aspect))
    height = min(side, side * math.sqrt(area / aspect))
    left, top = rng.uniform(0, side - width), rng.uniform(0, side - height)
    box = (left, top, left + width, top + height)
    return picture.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)


def flip(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Mirrored left to right, every second time."""
    if rng.random() < 0.5:
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return picture


def rotate(picture: Image.Image, rng: np.random.Generator, *, degrees: float) -> Image.Image:
    """Turned by up to `degrees` to either side, every second time; white where nothing was."""
    if rng.random() < 0.5:
        return picture
    angle = rng.uniform(-degrees, degrees)
    return picture.rotate(angle, Image.Resampling.BILINEAR, fillcolor=GROUND)


def light(picture: Image.Image, rng: np.random.Generator, *, strength: float) -> Image.Image:
    """Brightness, contrast and colourfulness, each times 1 +- `strength`."""
    for effect in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = effect(picture).enhance(rng.uniform(1 - strength, 1 + strength))
    return picture


def tint(picture: Image.Image, rng: np.random.Generator, *, strength: float) -> Image.Image:
    """Each channel times 1 +- `strength`: lamps and white balance."""
    levels = np.arange(256)
    gains = rng.uniform(1 - strength, 1 + strength, size=3)
    table = [np.minimum(levels * gain, 255).astype(np.uint8).tolist() for gain in gains]
    return picture.point([level for channel in table for level in channel])


def blur(picture: Image.Image, rng: np.random.Generator, *, radius: float) -> Image.Image:
    """Out of focus by up to `radius` pixels, every fifth time."""
    if rng.random() < 0.8:
        return picture
    return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, radius)))


def photo(
    picture: Image.Image, rng: np.random.Generator, size: int, strength: float = 1.0
) -> Image.Image:
    """A shopper's photo as it might also have been taken.

    Args:
        picture: RGB, square.
        rng: Where the chances come from.
        size: Pixels a side of what is returned.
        strength: Of everything but the mirroring, 0 to 1.4.
    """
    smallest, stretch = 1 - 0.7 * strength, (4 / 3) ** strength
    picture = zoom(picture, rng, size=size, smallest_area=smallest, stretch=stretch)
    picture = rotate(flip(picture, rng), rng, degrees=20 * strength)
    picture = tint(light(picture, rng, strength=0.3 * strength), rng, strength=0.08 * strength)
    return blur(picture, rng, radius=1.5 * strength)


def catalogue_picture(
    picture: Image.Image, rng: np.random.Generator, size: int, strength: float = 1.0
) -> Image.Image:
    """A catalogue picture, changed less: it is searched as it is, never from another side.

    Args:
        picture: RGB, square.
        rng: Where the chances come from.
        size: Pixels a side of what is returned.
        strength: Of everything but the mirroring, 0 to 1.4.
    """
    smallest, stretch = 1 - 0.4 * strength, (4 / 3) ** strength
    picture = zoom(picture, rng, size=size, smallest_area=smallest, stretch=stretch)
    picture = rotate(flip(picture, rng), rng, degrees=10 * strength)
    return light(picture, rng, strength=0.15 * strength)
