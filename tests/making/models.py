"""Tiny Keras models, shops of drawn pictures, and a real bundle of them, from a seed.

shop = draw_shop(tmp_path, products=8)          # shop.catalogue, shop.photos: CSVs with pictures
path = keras_file(tmp_path)                     # a model of 32 x 32 pictures
data = tiny_bundle()                            # converted once a session
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pocketlens_converter.silence import silenced, tensorflow

SIZE, DIM = 32, 16


@dataclass(frozen=True)
class DrawnShop:
    """Lists on disk, with their pictures."""

    catalogue: Path
    photos: Path


def draw_shop(folder: Path, *, products: int = 8, photos_each: int = 2, seed: int = 0) -> DrawnShop:
    """A catalogue picture a product, and photos of it: noisy, and lighter or darker."""
    rng = np.random.default_rng(seed)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    catalogue, photos = ["image,product_id,category"], ["image,product_id,category"]
    for product in range(products):
        drawn = drawing(product)
        line = f"p{product},kind {product % 2}"
        catalogue.append(f"{_saved(drawn, folder, f'pictures/c{product}.png')},{line}")
        for photo in range(photos_each):
            taken = np.clip(drawn * rng.uniform(0.8, 1.2) + rng.normal(0, 12, drawn.shape), 0, 255)
            name = f"pictures/p{product}_{photo}.png"
            photos.append(f"{_saved(taken.astype(np.uint8), folder, name)},{line}")
    shop = DrawnShop(folder / "catalogue.csv", folder / "photos.csv")
    shop.catalogue.write_text("\n".join(catalogue) + "\n")
    shop.photos.write_text("\n".join(photos) + "\n")
    return shop


def drawing(product: int, *, side: int = 48) -> npt.NDArray[np.uint8]:
    """The picture of a product: 3 x 3 fields of its own colours, uint8 (side, side, 3)."""
    colours = np.random.default_rng((7, product)).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return colours.repeat(side // 3, axis=0).repeat(side // 3, axis=1)


def drawings(count: int) -> npt.NDArray[np.uint8]:
    """Tensors of the first products: uint8 (count, 32, 32, 3)."""
    return np.stack([drawing(product)[:SIZE, :SIZE] for product in range(count)])


def tiny_model(
    *, seed: int = 0, scales: bool = True, side: int | None = SIZE, dim: int = DIM
) -> Any:
    """A Keras model with the layers of a real one: convolution, depthwise, batch norms, Dense.

    Its weights are spread unevenly, as training does it, so that rounding them has a price.
    """
    tensorflow()
    import keras

    with silenced():
        pictures = keras.Input((side, side, 3))
        features = pictures
        if scales:
            features = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(features)
        features = keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(features)
        features = keras.layers.BatchNormalization()(features)
        features = keras.layers.ReLU(6.0)(features)
        features = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(features)
        features = keras.layers.BatchNormalization()(features)
        features = keras.layers.ReLU(6.0)(features)
        features = keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(
            features
        )
        features = keras.layers.GlobalAveragePooling2D()(features)
        model = keras.Model(pictures, keras.layers.Dense(dim)(features), name="tiny")
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        if len(weight.shape) > 1:
            fan_in = float(np.prod(weight.shape[:-1])) if weight.shape[2:3] != (16,) else 9.0
            weight.assign(rng.standard_t(4, weight.shape) * np.sqrt(1 / fan_in))
        elif weight.name in ("bias", "beta"):
            weight.assign(rng.uniform(0, 0.3, weight.shape))
    return model


def keras_file(folder: Path, model: Any = None, *, name: str = "shop.keras") -> Path:
    """`model`, or the tiny one, saved in `folder`."""
    path = folder / name
    with silenced():
        (tiny_model() if model is None else model).save(path)
    return path


@functools.cache
def tiny_bundle() -> bytes:
    """A bundle of the tiny model, converted for the drawn shop with its photos."""
    from pocketlens_converter.conversion import convert

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shop = draw_shop(folder, products=24, photos_each=2)
        return convert(keras_file(folder), catalogue=shop.catalogue, queries=shop.photos).data


def _saved(pixels: npt.NDArray[np.uint8], folder: Path, name: str) -> str:
    Image.fromarray(pixels).save(folder / name)
    return name
