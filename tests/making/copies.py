"""Pictures, and what becomes of them when they are copied: each a JPEG, from a seed.

shop = write_shop(tmp_path, {"a": picture(1), "b": ALTERATIONS["cropped"](picture(1))})
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pocketlens import index
from tests.making.colour_bundle import colour_bundle

SIDE = 160


@dataclass(frozen=True)
class CopyShop:
    """A store, and the list with the pictures that it was made of."""

    store: Path
    list: Path


def picture(seed: int) -> Image.Image:
    """A soft pattern of colours on white: RGB, unlike those of other seeds."""
    rng = np.random.default_rng((31, seed))
    colours = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    soft = Image.fromarray(colours).resize((SIDE - 40, SIDE - 40), Image.Resampling.BICUBIC)
    whole = Image.new("RGB", (SIDE, SIDE), "white")
    whole.paste(soft, (20, 20))
    return whole


def jpeg(image: Image.Image, quality: int = 85) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _recoloured(image: Image.Image) -> Image.Image:
    """The same shapes in other colours: a look-alike."""
    red, green, blue = image.split()
    return Image.merge("RGB", (blue, red, green))


def _stickered(image: Image.Image) -> Image.Image:
    """The same thing with another label: a look-alike."""
    other = image.copy()
    label = ImageOps.invert(image).resize((36, 36))
    other.paste(label, (70, 60))
    return other


ALTERATIONS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "saved_anew": lambda image: Image.open(io.BytesIO(jpeg(image, 40))).convert("RGB"),
    "halved": lambda image: image.resize((SIDE // 2, SIDE // 2)),
    "doubled": lambda image: image.resize((SIDE * 2, SIDE * 2)),
    "cropped": lambda image: image.crop((6, 10, SIDE - 10, SIDE - 6)),
    "mirrored": ImageOps.mirror,
    "darker": lambda image: image.point(lambda level: round(level * 0.93)),
}
LOOK_ALIKES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "recoloured": _recoloured,
    "stickered": _stickered,
}


def write_shop(folder: Path, pictures: Mapping[str, bytes]) -> CopyShop:
    """A product a picture, each named after its image; the store is made by a real bundle."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["image,product_id,image_id"]
    for name, data in pictures.items():
        (folder / f"{name}.jpg").write_bytes(data)
        lines.append(f"{name}.jpg,product-{name},{name}")
    shop = CopyShop(folder / "store", folder / "list.csv")
    shop.list.write_text("\n".join(lines) + "\n")
    model = folder / "colours.tflite"
    model.write_bytes(colour_bundle())
    index(shop.list, model=model, out=shop.store)
    return shop
