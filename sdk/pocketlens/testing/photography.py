"""An article to pictures: clean ones for the catalogue, and photos as a shopper takes them.

A photo differs from the catalogue in angle, ground, light, focus, distance and compression, and
something may be in the way. Both come out as JPEG bytes, determined by the generator given.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pocketlens.testing.assortment import Article
from pocketlens.testing.bodies import cutout
from pocketlens.testing.grounds import ground
from pocketlens.testing.poses import Pose, quad_coefficients

SIDE = 224  # pixels of every picture


def catalogue_picture(article: Article, view: int) -> bytes:
    """A picture on white; view 0 is the front, further views are turned and seen from above."""
    pose = Pose() if view == 0 else Pose(yaw=0.55 * (-1) ** view, tilt=0.38, light=0.4)
    body = cutout(article, pose)
    body.thumbnail((SIDE - 24, SIDE - 24), Image.Resampling.LANCZOS)
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    picture.paste(body, ((SIDE - body.width) // 2, (SIDE - body.height) // 2), body)
    return _jpeg(picture, 92)


def photo(article: Article, rng: np.random.Generator) -> bytes:
    """A shopper's photo."""
    pose = Pose(
        yaw=float(rng.uniform(-0.6, 0.6)),
        tilt=float(rng.uniform(0.02, 0.5)),
        light=float(rng.uniform(-1, 1)),
    )
    body = _placed(cutout(article, pose), rng)
    scene = ground(rng, SIDE)
    _cast_shadow(scene, body, rng)
    scene.paste(body, mask=body)
    if rng.random() < 0.35:
        _put_in_the_way(scene, body, rng)
    return _jpeg(_focused(_lit(scene, rng), rng), int(rng.integers(45, 93)))


def _placed(body: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The body on an empty picture, as a tilted phone at some distance sees it."""
    reach = float(rng.uniform(0.5, 0.95)) * SIDE
    scale = reach / max(body.size)
    roll = float(np.clip(rng.normal(0, 0.2), -0.5, 0.5))
    lean = rng.uniform(-0.25, 0.25, 2)  # of the phone's plane against the body's
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array(body.size) * scale / 2
    turn = np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    corners = corners @ turn.T
    corners /= 1 + (corners @ lean)[:, None] / SIDE
    room = np.clip(SIDE / 2 - np.abs(corners).max(axis=0), 4, None)
    corners += SIDE / 2 + rng.uniform(-1, 1, 2) * room
    return body.transform(
        (SIDE, SIDE),
        Image.Transform.PERSPECTIVE,
        quad_coefficients([(x, y) for x, y in corners], body.size),
        Image.Resampling.BICUBIC,
    )


def _cast_shadow(scene: Image.Image, body: Image.Image, rng: np.random.Generator) -> None:
    away = (int(rng.integers(-14, 15)), int(rng.integers(2, 14)))
    dark = float(rng.uniform(0.2, 0.6))
    small = body.getchannel("A").resize((SIDE // 2, SIDE // 2))
    soft = small.filter(ImageFilter.GaussianBlur(float(rng.uniform(2, 5)))).resize((SIDE, SIDE))
    mask = Image.new("L", scene.size)
    mask.paste(soft.point(lambda level: round(dark * level)), away)
    scene.paste((12, 10, 14), mask=mask)


def _put_in_the_way(scene: Image.Image, body: Image.Image, rng: np.random.Generator) -> None:
    """A finger or a corner of something over at most a fifth of the body."""
    box = body.getbbox()
    if box is None:
        return
    left, top, right, bottom = box
    draw = ImageDraw.Draw(scene)
    thick = 0.2 * min(right - left, bottom - top)
    if rng.random() < 0.5:  # a thumb from a side
        tone = np.array((226, 172, 140)) * rng.uniform(0.4, 1.05)
        y = float(rng.uniform(top, bottom))
        inward = float(rng.uniform(0.2, 1.2)) * thick
        ends = (0, left + inward) if rng.random() < 0.5 else (right - inward, SIDE)
        colour = tuple(int(level) for level in np.clip(tone, 0, 255))
        draw.rounded_rectangle((ends[0], y - thick / 2, ends[1], y + thick / 2), thick / 2, colour)
    else:  # something before a lower corner
        colour = tuple(int(level) for level in rng.integers(20, 230, 3))
        x = left if rng.random() < 0.5 else right
        draw.ellipse((x - 1.6 * thick, bottom - thick, x + 1.6 * thick, bottom + 2 * thick), colour)


def _lit(scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Exposure, colour of the light, a slope of light, sometimes an edge of shadow; noise."""
    levels = np.asarray(scene, np.float32)
    across, down = np.meshgrid(
        np.linspace(-1, 1, SIDE, dtype=np.float32), np.linspace(-1, 1, SIDE, dtype=np.float32)
    )
    warmth = rng.normal(0, 0.09)
    colour = np.array([1 + warmth, 1 + rng.normal(0, 0.03), 1 - warmth], np.float32)
    slope = rng.uniform(-0.2, 0.2, 2).astype(np.float32)
    light = (1 + slope[0] * across + slope[1] * down) * np.float32(rng.uniform(0.6, 1.25))
    if rng.random() < 0.3:
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
        beyond = np.cos(angle) * across + np.sin(angle) * down > offset
        light = light * np.where(beyond, np.float32(rng.uniform(0.5, 0.85)), np.float32(1))
    grain = rng.standard_normal((SIDE, SIDE, 1), np.float32) * np.float32(rng.uniform(0, 7))
    return Image.fromarray(
        np.clip(levels * light[..., None] * colour + grain, 0, 255).astype(np.uint8)
    )


def _focused(scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    chance = rng.random()
    if chance < 0.45:
        return scene
    if chance < 0.8:
        return scene.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.6))))
    shaken = np.zeros((5, 5))  # a hand that moved
    shaken[2, :] = 1
    kernel = shaken if rng.random() < 0.5 else shaken.T
    return scene.filter(ImageFilter.Kernel((5, 5), kernel.ravel().tolist()))


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()
