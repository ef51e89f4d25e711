"""A shop whose categories have a colour each, on a server on disk."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from pocketlens.progress import Progress
from pocketlens_server.catalogue.pushing import push
from pocketlens_server.catalogue.targets import LocalTarget
from tests.making.tiles import TileShop

COLOURS = {
    "mugs": (230, 60, 60),
    "auto": (60, 220, 60),
    "hats": (60, 60, 230),
    "": (235, 225, 40),
}


def painted(colour: tuple[float, ...], seed: int | None = None) -> bytes:
    """A picture of a colour, PNG; with a seed, each of its 16 fields is a little off."""
    off = (
        np.zeros((4, 4, 3))
        if seed is None
        else np.random.default_rng(seed).normal(0, 25, (4, 4, 3))
    )
    fields = np.clip(np.asarray(colour) + off, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(fields.repeat(24, 0).repeat(24, 1)).save(file, "PNG")
    return file.getvalue()


@dataclass
class ColourShop(TileShop):
    """Products of categories in turn, each of its colour.

    Attributes:
        more: What else one says of itself, by its number.
    """

    more: Callable[[int], dict[str, str]] = field(default=lambda number: {})

    def push(self, progress: Progress = lambda stage, done, total: None) -> None:
        with (self.folder / "list.csv").open("w", newline="") as file:
            names = ["image", "product_id", "category", "attr.size", *self.more(0)]
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            for number, pieces in self.stock.items():
                category = [*COLOURS][number % len(COLOURS)]
                path = self.folder / f"{number}.png"
                path.write_bytes(painted(COLOURS[category], number))
                row = {
                    "image": path.name,
                    "product_id": f"sku-{number}",
                    "category": category,
                    "attr.size": "S" if pieces else "M",
                }
                writer.writerow(row | self.more(number))
        target = LocalTarget(self.catalogue, clock=lambda: self.now)
        push(target, self.folder / "list.csv", replace=True, lost_share=1, progress=progress)


def between(*names: str) -> bytes:
    """A photo of what may be of any of some categories."""
    return painted(tuple(np.mean([COLOURS[name] for name in names], axis=0)))
