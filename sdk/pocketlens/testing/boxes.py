"""Cartons and books: flat faces around a box, in perspective."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from pocketlens.testing.assortment import Article, Kind, Look
from pocketlens.testing.labels import INK, PAPER, label, pattern
from pocketlens.testing.poses import CACHED_LABELS, HEIGHT, Pose, quad_coefficients

# Width, height and depth.
_SIZES: dict[Kind, tuple[float, float, float]] = {
    "carton": (0.62, 1.0, 0.34),
    "book": (0.7, 1.0, 0.12),
}


def boxed(article: Article, pose: Pose) -> Image.Image:
    """A carton or a book in perspective, as an RGBA cut-out: front, one side, top."""
    width, height, depth = (share * HEIGHT * 0.86 for share in _SIZES[article.kind])
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    corners *= (width, height, depth)
    turned = corners @ _rotation(pose.yaw, pose.tilt).T
    points = turned[:, :2] * (900 / (900 - turned[:, 2:]))
    points -= points.min(axis=0) - 1
    columns, rows = (math.ceil(extent) + 2 for extent in points.max(axis=0))

    right = pose.yaw < 0
    faces = {  # corner numbers: x * 4 + y * 2 + z, clockwise from the top left
        "top": (0, 4, 5, 1),
        "side": (5, 4, 6, 7) if right else (0, 1, 3, 2),
        "front": (1, 5, 7, 3),
    }
    arts = _book(article.look) if article.kind == "book" else _carton(article.look)
    facing = {"top": 0.9, "side": math.sin(abs(pose.yaw)), "front": math.cos(pose.yaw)}
    turn = {"top": 0.3, "side": math.pi / 2 * (1 if right else -1) + pose.yaw, "front": pose.yaw}
    whole = Image.new("RGBA", (columns, rows))
    for name, numbers in faces.items():
        if facing[name] < 0.02:
            continue
        light = 0.62 + 0.42 * max(0.0, math.cos(turn[name] - pose.light))
        face = arts[name].point(lambda level, light=light: round(min(255, level * light)))
        _paste_quad(whole, face, [tuple(points[number]) for number in numbers])
    return whole


@lru_cache(maxsize=CACHED_LABELS)
def _carton(look: Look) -> dict[str, Image.Image]:
    """Flat art of the faces: small print on the side."""
    side = Image.fromarray(pattern(look, 80, 228))
    draw = ImageDraw.Draw(side)
    draw.rectangle((8, 60, 72, 190), fill=PAPER)
    for y in range(74, 180, 9):
        draw.line((14, y, 66 - (y * 7) % 23, y), fill=INK, width=2)
    draw.rectangle((0, 0, 80, 36), fill=look.accent)
    top = Image.new("RGB", (144, 60), look.second)
    return {"front": label(look, 144, 228), "side": side, "top": top}


@lru_cache(maxsize=CACHED_LABELS)
def _book(look: Look) -> dict[str, Image.Image]:
    """Flat art of the faces: a spine, and pages above."""
    side = Image.new("RGB", (28, 228), look.accent)
    top = Image.new("RGB", (144, 60), PAPER)
    draw = ImageDraw.Draw(top)
    for y in range(0, 60, 5):
        draw.line((0, y, 144, y), fill=(205, 200, 186), width=1)
    return {"front": label(look, 160, 228), "side": side, "top": top}


def _rotation(yaw: float, tilt: float) -> npt.NDArray[np.float64]:
    around = [[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]]
    down = [[1, 0, 0], [0, math.cos(tilt), math.sin(tilt)], [0, -math.sin(tilt), math.cos(tilt)]]
    return np.asarray(np.array(down) @ np.array(around), np.float64)


def _paste_quad(whole: Image.Image, face: Image.Image, corners: list[tuple[float, float]]) -> None:
    warped = face.convert("RGBA").transform(
        whole.size,
        Image.Transform.PERSPECTIVE,
        quad_coefficients(corners, face.size),
        Image.Resampling.BILINEAR,
    )
    whole.alpha_composite(warped)
