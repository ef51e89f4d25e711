"""How a cutout gets into a scene: scaled, seen from another side, lit, pasted, piled."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

# Scenes are put together at this size and resized once: what a cutout's own pixels are worth.
CANVAS = 256
VARIANTS = 6  # differently turned copies that a heap or a pile is made of
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


def pile(
    scene: Image.Image,
    product: Image.Image,
    count: int,
    rng: np.random.Generator,
    *,
    reach: float,
    crowding: float,
) -> None:
    """Pastes `count` copies of a product in a round pile, those behind first.

    They lie as the seeds of a sunflower do, so that any number of them fills a circle.
    Source: Vogel, "A better way to construct the sunflower head" (1979), equation 1.

    Args:
        scene: RGB, square; changed in place.
        product: RGBA.
        count: Copies.
        rng: Where the chances come from.
        reach: Radius of the pile as a share of half the scene.
        crowding: Length of a copy in distances between neighbours: above 1 they overlap.
    """
    radius = reach * scene.width / 2
    length = crowding * 2 * radius / math.sqrt(count)
    turn = float(rng.choice([20, 180]))  # laid in order, or thrown
    variants = [
        relit(
            warped(scaled(product, length * rng.uniform(0.85, 1.15)), rng, turn=turn, depth=0.2),
            rng,
            darkest=0.7,
        )
        for _ in range(min(count, VARIANTS))
    ]
    numbers = np.arange(count) + 0.5
    # Eight tenths: the outermost copies have a width of their own.
    distances = 0.8 * radius * np.sqrt(numbers / count)
    angles = GOLDEN_ANGLE * numbers + rng.uniform(0, 2 * math.pi)
    places = np.stack([distances * np.cos(angles), distances * np.sin(angles)], axis=1)
    places = (places + rng.normal(0, 0.1 * length, (count, 2))) / scene.width
    places += middle_of(rng, 0.1)
    for across, down in places[np.argsort(places[:, 1])].tolist():
        place(scene, variants[int(rng.integers(len(variants)))], (across, down))


def scaled(picture: Image.Image, longest: float) -> Image.Image:
    """`picture`, its longer side `longest` pixels."""
    factor = longest / max(picture.size)
    width, height = (max(2, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def warped(
    picture: Image.Image, rng: np.random.Generator, *, turn: float, depth: float
) -> Image.Image:
    """Seen from another side: turned by up to `turn` degrees, corners moved as in perspective.

    Args:
        picture: RGBA.
        rng: Where the chances come from.
        turn: Degrees, to either side.
        depth: How much nearer a corner can be than the others: 0.3 moves it by 30 % of a side.
    """
    width, height = picture.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    centre = np.array([width / 2, height / 2])
    squeeze = 1 - np.abs(rng.normal(0, depth / 2, 2)).clip(0, 0.6)
    moved = (corners - centre) * squeeze * (1 + rng.uniform(-depth, depth, (4, 1)) / 2)
    angle = math.radians(rng.uniform(-turn, turn))
    cos, sin = math.cos(angle), math.sin(angle)
    moved = moved @ np.array([(cos, sin), (-sin, cos)])
    moved -= moved.min(axis=0)
    right, bottom = np.ceil(moved.max(axis=0)).clip(2, 2 * CANVAS).astype(int).tolist()
    return picture.transform(
        (right, bottom),
        Image.Transform.PERSPECTIVE,
        homography(moved, corners),
        Image.Resampling.BILINEAR,
        fillcolor=(0, 0, 0, 0),
    )


def homography(
    points: npt.NDArray[np.float64], images: npt.NDArray[np.float64]
) -> tuple[float, ...]:
    """The perspective that maps four points to four others.

    Args:
        points: float64 (4, 2), no three on a line.
        images: The same, where each is mapped to.

    Returns:
        (a, b, c, d, e, f, g, h): x' = (ax + by + c) / (gx + hy + 1), y' likewise with d, e, f.
    """
    rows = []
    for (x, y), (across, down) in zip(points, images, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -across * x, -across * y])
        rows.append([0, 0, 0, x, y, 1, -down * x, -down * y])
    solved = np.linalg.solve(np.array(rows), images.ravel())
    return tuple(float(value) for value in solved)


def place(scene: Image.Image, product: Image.Image, middle: tuple[float, float]) -> None:
    """Pastes `product` with its middle at `middle`, shares of the scene."""
    left = round(middle[0] * scene.width - product.width / 2)
    top = round(middle[1] * scene.height - product.height / 2)
    scene.paste(product, (left, top), product)


def middle_of(rng: np.random.Generator, spread: float) -> tuple[float, float]:
    """A place near the middle of a scene, as shares of its sides."""
    across, down = 0.5 + rng.normal(0, spread / 1.5, 2).clip(-2 * spread, 2 * spread)
    return float(across), float(down)


def relit(product: Image.Image, rng: np.random.Generator, *, darkest: float = 0.75) -> Image.Image:
    """The product in a light of its own: its background was photographed in another."""
    gains = rng.uniform(darkest, 1.15) * rng.uniform(0.96, 1.04, 3)
    pixels = np.asarray(product, np.float32) * np.append(gains, 1.0).astype(np.float32)
    return Image.fromarray(np.minimum(pixels, 255).astype(np.uint8), "RGBA")
