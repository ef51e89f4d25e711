"""Queries for products of which there is no photo: a cutout in a scene, as a shopper would see it.

    scenes = Scenes(read_backgrounds(folder, 288).pictures)
    picture = scenes.query(cutout, others, rng, size)

A scene is one of three that shoppers stand before: the product alone (held, or lying somewhere),
a shelf of its like, or a heap of many. The cutout is warped in perspective, turned, scaled and
partly covered; then the whole is lit, blurred and compressed as a phone would do it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from pocketlens_converter import augmentation
from pocketlens_converter.synthesis.camera import taken
from pocketlens_converter.synthesis.cutouts import Cutout

# Scenes are put together at this size and resized once: what a cutout's own pixels are worth.
CANVAS = 256
HEAP_VARIANTS = 6  # differently turned copies that a heap is made of
QUARTER_TURNS = (
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_270,
)
SKIN = ((224, 172, 140), (198, 134, 96), (141, 85, 54), (92, 58, 40), (240, 200, 176))


class Scenes:
    """Makes queries; safe to use from several threads, each with a generator of its own."""

    def __init__(self, backgrounds: Sequence[Image.Image] = ()) -> None:
        """Keeps the backgrounds: RGB pictures of places in which no product is."""
        self.backgrounds = tuple(backgrounds)

    def drawn(self, count: int, rng: np.random.Generator) -> list[int]:
        """Numbers of `count` backgrounds, or of all where there are fewer."""
        return [int(each) for each in rng.permutation(len(self.backgrounds))[:count]]

    def query(
        self, cutout: Cutout, others: Sequence[Cutout], rng: np.random.Generator, size: int
    ) -> Image.Image:
        """A photo of the product that might have been taken.

        Args:
            cutout: The product.
            others: Other products, which may stand around it.
            rng: Where the chances come from.
            size: Pixels a side of what is returned.
        """
        kind = rng.random()
        if cutout.ground == "lifestyle" or kind < 0.45:
            scene = self._alone(cutout, others, rng)
        elif kind < 0.6:
            scene = self._shelf(cutout, others, rng)
        else:
            scene = self._heap(cutout, others, rng)
        scene = scene.resize((size, size), Image.Resampling.BILINEAR)
        return taken(scene, rng)

    def _alone(
        self, cutout: Cutout, others: Sequence[Cutout], rng: np.random.Generator
    ) -> Image.Image:
        scene = self._ground(others, rng)
        longest = CANVAS * rng.uniform(0.4, 1.15)
        product = _warped(_scaled(cutout.picture, longest), rng, turn=40, depth=0.3)
        _place(scene, _relit(product, rng), _middle(rng, 0.15))
        if rng.random() < 0.4:
            _cover(scene, rng)
        return scene

    def _shelf(
        self, cutout: Cutout, others: Sequence[Cutout], rng: np.random.Generator
    ) -> Image.Image:
        """Facings of the product side by side, others left and right of them or above."""
        scene = self._ground(others, rng)
        height = CANVAS * rng.uniform(0.45, 1.0)
        product = _relit(_warped(_scaled(cutout.picture, height), rng, turn=10, depth=0.25), rng)
        count = int(rng.integers(2, 5))
        step = product.width * rng.uniform(0.8, 1.1)
        across, down = _middle(rng, 0.15)
        for number in range(count):
            offset = (number - (count - 1) / 2) * step / CANVAS
            _place(scene, product, (across + offset, down))
        return scene

    def _heap(
        self, cutout: Cutout, others: Sequence[Cutout], rng: np.random.Generator
    ) -> Image.Image:
        """Many copies, each turned its own way, over all of the picture or most of it."""
        scene = self._ground(others, rng)
        if rng.random() < 0.6:  # a full crate: what shows between its things is their own shadow
            scene = Image.new("RGB", (CANVAS, CANVAS), _shadow(cutout.picture, rng))
        side = CANVAS * rng.uniform(0.12, 0.55)
        turn = float(rng.choice([30, 180]))
        variants = [
            _relit(
                _warped(_scaled(cutout.picture, side), rng, turn=turn, depth=0.25),
                rng,
                darkest=0.5,
            )
            for _ in range(HEAP_VARIANTS)
        ]
        spacing = rng.uniform(0.5, 0.8) * side / CANVAS
        reach = rng.uniform(0.7, 1.3)
        rows = max(2, math.ceil(reach / spacing))
        middle = _middle(rng, 0.1) if reach < 1 else (0.5, 0.5)
        for row in range(rows + 1):
            for column in range(rows + 1):
                across, down = rng.normal(0, 0.25 * spacing, 2)
                place = (
                    middle[0] + (column - rows / 2) * spacing + across,
                    middle[1] + (row - rows / 2) * spacing + down,
                )
                _place(scene, variants[int(rng.integers(HEAP_VARIANTS))], place)
        if rng.random() < 0.25:  # one of them in front, held or on top
            front = _warped(_scaled(cutout.picture, 1.6 * side), rng, turn=180, depth=0.3)
            _place(scene, _relit(front, rng), _middle(rng, 0.2))
        return scene

    def _ground(self, others: Sequence[Cutout], rng: np.random.Generator) -> Image.Image:
        """What is behind: a real background, a shelf of other products, or a plain colour."""
        kind = rng.random()
        if self.backgrounds and kind < 0.55:
            return self._background(rng)
        if others and kind < 0.85:
            return self._other_products(others, rng)
        return _plain(rng)

    def _background(self, rng: np.random.Generator) -> Image.Image:
        picture = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        picture = augmentation.zoom(picture, rng, size=CANVAS, smallest_area=0.1)
        picture = augmentation.flip(picture, rng)
        if rng.random() < 0.5:
            picture = picture.transpose(QUARTER_TURNS[int(rng.integers(len(QUARTER_TURNS)))])
        return picture

    def _other_products(self, others: Sequence[Cutout], rng: np.random.Generator) -> Image.Image:
        """Rows of others, a few kinds of them, a little out of focus."""
        scene = self._background(rng) if self.backgrounds else _plain(rng)
        side = CANVAS * rng.uniform(0.25, 0.5)
        chosen = [others[int(rng.integers(len(others)))] for _ in range(3)]
        products = [_relit(_scaled(each.picture, side), rng) for each in chosen]
        for row in range(math.ceil(CANVAS / side) + 1):
            product = products[int(rng.integers(len(products)))]
            across = rng.uniform(-0.1, 0.1)
            while across < 1.1:
                if rng.random() < 0.3:
                    product = products[int(rng.integers(len(products)))]
                _place(scene, product, (across, row * side / CANVAS))
                across += max(0.1, product.width / CANVAS)
        return scene.filter(ImageFilter.GaussianBlur(rng.uniform(0, 2.5)))


def _plain(rng: np.random.Generator) -> Image.Image:
    red, green, blue = rng.integers(20, 256, 3).tolist()
    return Image.new("RGB", (CANVAS, CANVAS), (red, green, blue))


def _scaled(picture: Image.Image, longest: float) -> Image.Image:
    factor = longest / max(picture.size)
    width, height = (max(2, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _warped(
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
    solved = np.linalg.lstsq(np.array(rows), images.ravel(), rcond=None)[0]
    return tuple(float(value) for value in solved)


def _place(scene: Image.Image, product: Image.Image, middle: tuple[float, float]) -> None:
    """Pastes `product` with its middle at `middle`, shares of the scene."""
    left = round(middle[0] * scene.width - product.width / 2)
    top = round(middle[1] * scene.height - product.height / 2)
    scene.paste(product, (left, top), product)


def _middle(rng: np.random.Generator, spread: float) -> tuple[float, float]:
    across, down = 0.5 + rng.normal(0, spread / 1.5, 2).clip(-2 * spread, 2 * spread)
    return float(across), float(down)


def _relit(product: Image.Image, rng: np.random.Generator, *, darkest: float = 0.75) -> Image.Image:
    """The product in a light of its own: its background was photographed in another."""
    gains = rng.uniform(darkest, 1.15) * rng.uniform(0.96, 1.04, 3)
    levels = np.arange(256)
    table = [np.minimum(levels * gain, 255).astype(np.uint8) for gain in gains] + [levels]
    return product.point([int(level) for channel in table for level in channel])


def _shadow(product: Image.Image, rng: np.random.Generator) -> tuple[int, int, int]:
    """A dark colour of the product's own."""
    pixels = np.asarray(product.resize((16, 16)))
    solid = pixels[pixels[:, :, 3] > 200][:, :3]
    mean = solid.mean(axis=0) if len(solid) else np.full(3, 128.0)
    red, green, blue = (mean * rng.uniform(0.1, 0.45)).astype(int).tolist()
    return red, green, blue


def _cover(scene: Image.Image, rng: np.random.Generator) -> None:
    """A hand, roughly: some fingers of one skin from a side of the picture to near its middle."""
    skin = np.array(SKIN[int(rng.integers(len(SKIN)))]) * rng.uniform(0.6, 1.1)
    draw = ImageDraw.Draw(scene)
    direction = rng.uniform(0, 2 * math.pi)
    outward = np.array([math.cos(direction), math.sin(direction)])
    across = np.array([-outward[1], outward[0]])
    thickness = scene.width * rng.uniform(0.06, 0.13)
    reach = scene.width * rng.uniform(0.15, 0.35)
    middle = scene.width / 2
    for finger in range(int(rng.integers(1, 5))):
        shade = tuple(int(level) for level in (skin * rng.uniform(0.85, 1.1)).clip(0, 255))
        side = (finger - 1.5) * thickness * 1.05
        tip = middle + outward * (reach + rng.normal(0, 6)) + across * side
        root = middle + outward * scene.width + across * (side * 1.1)
        draw.line([tuple(tip), tuple(root)], fill=shade, width=round(thickness))
        radius = thickness / 2
        draw.ellipse([*(tip - radius), *(tip + radius)], fill=shade)
