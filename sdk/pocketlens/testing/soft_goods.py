"""Pouches and shoes: seen from their broad side."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pocketlens.testing.assortment import Look
from pocketlens.testing.labels import PAPER, label, pattern
from pocketlens.testing.poses import CACHED_LABELS, Pose, cut_out


def pouch(look: Look, pose: Pose) -> Image.Image:
    """A bag of foil, as an RGBA cut-out: bulging, crimped at both ends."""
    width, height = 196, 262
    art = np.asarray(_pouch_front(look), np.float64)
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    edge = 1 - 0.05 * np.cos(np.pi * y) - 0.04 * np.abs(np.sin(3 * y + pose.yaw))
    crimp = np.abs(y) > 0.9
    inside = np.abs(x) < edge
    bulge = 1 - 0.16 * np.cos(np.pi * x / 2) * np.cos(np.pi * y / 2)
    u = (np.clip(x / edge * bulge + 0.25 * math.sin(pose.yaw), -1, 1) + 1) / 2
    v = (np.clip(y * bulge, -1, 1) + 1) / 2
    seen = art[(v * (art.shape[0] - 1)).astype(int), (u * (art.shape[1] - 1)).astype(int)]
    folds = 0.1 * np.sin(9 * x + 5 * y * y + 4 * pose.yaw) * (1 - np.exp(-3 * y * y))
    shade = 0.85 - 0.3 * x * math.sin(-pose.light) - 0.2 * y * np.abs(y) + folds
    shade = np.where(crimp, 0.8 + 0.15 * np.sin(150 * x), shade)
    return cut_out(
        seen * shade[..., None] + 26 * np.exp(-(((x + 0.4) / 0.08) ** 2))[..., None], inside
    )


@lru_cache(maxsize=CACHED_LABELS)
def _pouch_front(look: Look) -> Image.Image:
    front = label(look, 196, 262)
    draw = ImageDraw.Draw(front)
    for top in (0, 242):
        draw.rectangle((0, top, 196, top + 20), fill=look.second)
    return front


_UPPER = ((0.04, 0.3), (0.1, 0.22), (0.3, 0.2), (0.36, 0.27), (0.62, 0.5), (0.9, 0.58), (0.97, 0.7))
_UPPER_BELOW = ((0.97, 0.84), (0.03, 0.84))


def shoe(look: Look, pose: Pose) -> Image.Image:
    """A shoe from its side, toes to the right, as an RGBA cut-out."""
    flat = _shoe_side(look)
    width = round(flat.width * (0.72 + 0.28 * math.cos(pose.yaw * 1.2)))
    return flat.resize((width, flat.height), Image.Resampling.BILINEAR)


@lru_cache(maxsize=CACHED_LABELS)
def _shoe_side(look: Look) -> Image.Image:
    width, height = 288, 200

    def at(points: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
        return [(x * width, y * height) for x, y in points]

    upper = Image.new("L", (width, height))
    ImageDraw.Draw(upper).polygon(at(_UPPER + _UPPER_BELOW), fill=255)
    upper = upper.filter(ImageFilter.GaussianBlur(3)).point(lambda level: 255 * (level > 127))
    fabric = Image.fromarray(pattern(look, width, height))
    draw = ImageDraw.Draw(fabric)
    draw.polygon(at(((0, 0), (0.15, 0), (0.2, 1), (0, 1))), fill=look.accent)  # heel
    draw.polygon(at(((0.78, 0), (1, 0), (1, 1), (0.74, 1))), fill=look.accent)  # toe cap
    for step in range(5):  # laces
        x, y = (0.4 + 0.055 * step) * width, (0.3 + 0.048 * step) * height
        draw.line((x - 8, y + 22, x + 8, y - 4), fill=PAPER, width=6)
    art = label(look, 104, 104).crop((0, 4 if look.upper else 40, 104, 64 if look.upper else 100))
    whole = Image.new("RGBA", (width, height))
    whole.paste(fabric, mask=upper)
    whole.paste(
        art, (round(0.3 * width), round(0.52 * height)), art.convert("L").point(lambda _: 255)
    )
    sole = ImageDraw.Draw(whole)
    sole.rounded_rectangle(
        (0.01 * width, 0.82 * height, 0.99 * width, 0.96 * height), 12, fill=PAPER
    )
    sole.rectangle((0.03 * width, 0.88 * height, 0.97 * width, 0.91 * height), fill=look.second)
    return whole
