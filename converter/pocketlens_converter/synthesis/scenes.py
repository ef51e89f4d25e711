"""Queries for products of which there is no photo: a cutout in a scene, as a shopper would see it.

    scenes = Scenes(read_backgrounds(folder, 288).pictures)
    picture = scenes.query(cutout, others, rng, size)

A scene is one of four that shoppers stand before: the product alone (held, or lying somewhere), a
shelf of its like, a pile of some, or a heap of many. The cutout is warped in perspective, turned,
scaled and partly covered; then the whole is lit, blurred and compressed as a phone would do it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pocketlens_converter import augmentation
from pocketlens_converter.synthesis.camera import taken
from pocketlens_converter.synthesis.cutouts import Cutout
from pocketlens_converter.synthesis.placing import (
    CANVAS,
    VARIANTS,
    middle_of,
    pile,
    place,
    relit,
    scaled,
    warped,
)

# How often each kind of scene is drawn (benchmarks/synthesis.py compares them). Boxes and bottles
# are held or stand side by side; what has another shape may also lie in numbers.
OF_BOXES = {"alone": 0.6, "shelf": 0.4}
OF_OTHERS = {"alone": 0.35, "shelf": 0.1, "pile": 0.45, "heap": 0.1}
OF_PICTURES = {"alone": 1.0}  # that cannot be cut out
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
        shares = OF_BOXES if cutout.is_box else OF_OTHERS
        if cutout.ground == "lifestyle":
            shares = OF_PICTURES
        kind = str(rng.choice(list(shares), p=list(shares.values())))
        return self.query_of(kind, cutout, others, rng, size)

    def query_of(
        self,
        kind: str,
        cutout: Cutout,
        others: Sequence[Cutout],
        rng: np.random.Generator,
        size: int,
    ) -> Image.Image:
        """A photo of a scene of `kind`, one of `OF_OTHERS`; the rest as of `query`."""
        make = {
            "alone": self._alone,
            "shelf": self._shelf,
            "pile": self._pile,
            "heap": self._heap,
        }[kind]
        scene = make(cutout, others, rng)
        return taken(scene.resize((size, size), Image.Resampling.BILINEAR), rng)

    def _alone(
        self, cutout: Cutout, others: Sequence[Cutout], rng: np.random.Generator
    ) -> Image.Image:
        scene = self._ground(others, rng)
        longest = CANVAS * rng.uniform(0.4, 1.15)
        product = warped(scaled(cutout.picture, longest), rng, turn=40, depth=0.3)
        place(scene, relit(product, rng), middle_of(rng, 0.15))
        if rng.random() < 0.4:
            _cover(scene, rng)
        return scene

    def _shelf(
        self, cutout: Cutout, others: Sequence[Cutout], rng: np.random.Generator
    ) -> Image.Image:
        """Facings of the product side by side, others left and right of them or above."""
        scene = self._ground(others, rng)
        height = CANVAS * rng.uniform(0.45, 1.0)
        product = relit(warped(scaled(cutout.picture, height), rng, turn=10, depth=0.25), rng)
        count = int(rng.integers(2, 5))
        step = product.width * rng.uniform(0.8, 1.1)
        across, down = middle_of(rng, 0.15)
        for number in range(count):
            offset = (number - (count - 1) / 2) * step / CANVAS
            place(scene, product, (across + offset, down))
        return scene

    def _pile(
        self, cutout: Cutout, others: Sequence[Cutout], rng: np.random.Generator
    ) -> Image.Image:
        """Two to seven, or up to twenty, of which most can be seen whole.

        To a pretrained network a drawn pile is nearer to photos of heaps than a drawn heap is: of
        many copies it sees the pattern.
        """
        count = int(rng.integers(2, 8) if rng.random() < 0.7 else rng.integers(8, 20))
        is_on_white = rng.random() < 0.15
        scene = _white() if is_on_white else self._ground(others, rng)
        reach, crowding = rng.uniform(0.7, 1.15), rng.uniform(0.9, 1.5)
        pile(scene, cutout.picture, count, rng, reach=reach, crowding=crowding)
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
            relit(
                warped(scaled(cutout.picture, side), rng, turn=turn, depth=0.25),
                rng,
                darkest=0.5,
            )
            for _ in range(VARIANTS)
        ]
        spacing = rng.uniform(0.5, 0.8) * side / CANVAS
        reach = rng.uniform(0.7, 1.3)
        rows = max(2, math.ceil(reach / spacing))
        middle = middle_of(rng, 0.1) if reach < 1 else (0.5, 0.5)
        for row in range(rows + 1):
            for column in range(rows + 1):
                across, down = rng.normal(0, 0.25 * spacing, 2)
                spot = (
                    middle[0] + (column - rows / 2) * spacing + across,
                    middle[1] + (row - rows / 2) * spacing + down,
                )
                place(scene, variants[int(rng.integers(VARIANTS))], spot)
        if rng.random() < 0.25:  # one of them in front, held or on top
            front = warped(scaled(cutout.picture, 1.6 * side), rng, turn=180, depth=0.3)
            place(scene, relit(front, rng), middle_of(rng, 0.2))
        return scene

    def _ground(self, others: Sequence[Cutout], rng: np.random.Generator) -> Image.Image:
        """What is behind: a shelf of other products or a real background.

        A plain colour only where there is neither: to the network it is far from any photo.
        """
        if self.backgrounds and (not others or rng.random() < 0.4):
            return self._background(rng)
        return self._other_products(others, rng) if others else _plain(rng)

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
        products = [relit(scaled(each.picture, side), rng) for each in chosen]
        for row in range(math.ceil(CANVAS / side) + 1):
            product = products[int(rng.integers(len(products)))]
            across = rng.uniform(-0.1, 0.1)
            while across < 1.1:
                if rng.random() < 0.3:
                    product = products[int(rng.integers(len(products)))]
                place(scene, product, (across, row * side / CANVAS))
                across += max(0.1, product.width / CANVAS)
        return scene.filter(ImageFilter.GaussianBlur(rng.uniform(0, 2.5)))


def several(cutout: Cutout, rng: np.random.Generator, size: int) -> Image.Image:
    """Two to six of the product on white: how many are shown does not tell products apart.

    Catalogues show some products in numbers, and photos of heaps would all be taken for those.

    Args:
        cutout: The product.
        rng: Where the chances come from.
        size: Pixels a side.
    """
    scene = _white()
    count = int(rng.integers(2, 7))
    pile(scene, cutout.picture, count, rng, reach=0.9, crowding=rng.uniform(0.8, 1.1))
    return scene.resize((size, size), Image.Resampling.BILINEAR)


def _white() -> Image.Image:
    return Image.new("RGB", (CANVAS, CANVAS), augmentation.GROUND)


def _plain(rng: np.random.Generator) -> Image.Image:
    red, green, blue = rng.integers(20, 256, 3).tolist()
    return Image.new("RGB", (CANVAS, CANVAS), (red, green, blue))


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
