"""Cans, bottles, jars and mugs: a label around a solid of revolution."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from pocketlens.testing.assortment import Article, Colour, Kind, Look
from pocketlens.testing.labels import INK, label
from pocketlens.testing.poses import CACHED_LABELS, HEIGHT, Pose, cut_out

_METAL: Colour = (196, 198, 202)


@dataclass(frozen=True, slots=True)
class _Outline:
    """A solid of revolution.

    Attributes:
        width: Largest diameter over height.
        points: (height from the top 0..1, radius 0..1), joined by smooth lines.
        label: Top and bottom of the label, as shares of the height.
    """

    width: float
    points: tuple[tuple[float, float], ...]
    label: tuple[float, float]


_OUTLINES: dict[Kind, _Outline] = {
    "can": _Outline(0.56, ((0, 0.84), (0.06, 1), (0.95, 1), (1, 0.88)), (0.07, 0.94)),
    "bottle": _Outline(
        0.4, ((0, 0.36), (0.27, 0.36), (0.42, 1), (0.97, 1), (1, 0.93)), (0.46, 0.92)
    ),
    "jar": _Outline(
        0.8, ((0, 0.9), (0.17, 0.9), (0.18, 0.84), (0.28, 1), (0.96, 1), (1, 0.92)), (0.32, 0.92)
    ),
    "mug": _Outline(0.86, ((0, 1), (0.9, 0.97), (1, 0.9)), (0.04, 0.94)),
}


def revolved(article: Article, pose: Pose) -> Image.Image:
    """A can, bottle, jar or mug, as an RGBA cut-out."""
    outline = _OUTLINES[article.kind]
    height = round(HEIGHT * (0.8 if article.kind in ("mug", "jar") else 0.94))
    radius = outline.width * height / 2
    skin = _skin(article.kind, article.look)
    tops, radii = zip(*outline.points, strict=True)

    sink, squash = math.sin(pose.tilt), math.cos(pose.tilt)
    rows = round(height * squash + 2 * radius * sink) + 2
    columns = round(2 * radius) + 2
    x, y = np.meshgrid(np.arange(columns) - columns / 2 + 0.5, np.arange(rows) - radius * sink)
    v = y / height
    for _ in range(2):  # a nearer point of a ring is seen lower: solved for the ring's height
        reach = radius * np.interp(v, tops, radii)
        depth = np.sqrt(np.clip(reach**2 - x**2, 0, None))
        v = (y - depth * sink) / squash / height
    inside = (np.abs(x) <= reach) & (v >= 0) & (v <= 1)
    angle = np.arcsin(np.clip(x / np.maximum(reach, 1), -1, 1))
    turn = ((angle + pose.yaw) / (2 * np.pi) + 0.5) % 1
    seen = skin[
        np.clip((v * skin.shape[0]).astype(int), 0, skin.shape[0] - 1),
        (turn * (skin.shape[1] - 1)).astype(int),
    ]
    shade = 0.5 + 0.55 * np.clip(np.cos(angle - pose.light), 0, 1)
    gleam = 60 * np.exp(-(((angle - pose.light * 0.8) / 0.12) ** 2))
    colours = seen * shade[..., None] + gleam[..., None]

    mouth = (x / (radius * radii[0])) ** 2 + (y / max(radius * radii[0] * sink, 1)) ** 2 <= 1
    colours[mouth] = _mouth_colour(article)
    body = cut_out(colours, inside | mouth)
    return _with_handle(body, article.look, pose) if article.kind == "mug" else body


def _mouth_colour(article: Article) -> Colour:
    """Of what is seen from above: a can's lid, a screw cap, the inside of a mug."""
    if article.kind == "can":
        return (205, 205, 205)
    red, green, blue = article.look.accent
    if article.kind == "mug":
        return round(red * 0.55 + 90), round(green * 0.55 + 90), round(blue * 0.55 + 90)
    return round(red * 0.9), round(green * 0.9), round(blue * 0.9)


@lru_cache(maxsize=CACHED_LABELS)
def _skin(kind: Kind, look: Look) -> npt.NDArray[np.uint8]:
    """What is around a solid of revolution, unrolled: the label front and back, 0..255."""
    outline = _OUTLINES[kind]
    width, height = round(np.pi * outline.width * HEIGHT), HEIGHT
    below = {"can": _METAL, "mug": look.ground}.get(kind, look.second)
    skin = Image.new("RGB", (width, height), below)
    draw = ImageDraw.Draw(skin)
    if kind in ("bottle", "jar"):
        draw.rectangle((0, 0, width, 0.17 * height), fill=look.accent)
        for x in range(0, width, 8):
            draw.line((x, 0, x, 0.17 * height), fill=INK, width=1)
    top, bottom = (round(share * height) for share in outline.label)
    art = label(look, width // 2, bottom - top)
    for turn in (-1, 0, 1):  # the front in the middle, the back around both ends
        skin.paste(art, (width // 4 + turn * (width // 2), top))
    return np.asarray(skin)


def _with_handle(body: Image.Image, look: Look, pose: Pose) -> Image.Image:
    """A mug with its handle, on the right and moving behind or before it as it turns."""
    reach = round(0.3 * body.width * math.cos(pose.yaw))
    whole = Image.new("RGBA", (body.width + max(reach, 0), body.height))
    draw = ImageDraw.Draw(whole)
    thick = round(0.09 * body.width)
    box = (
        body.width - reach,
        round(0.26 * body.height),
        body.width + reach - 2,
        round(0.8 * body.height),
    )
    if reach > thick:
        shade = tuple(round(0.8 * level) for level in look.ground)
        draw.ellipse(box, outline=shade, width=thick)
    whole.alpha_composite(body)
    return whole
