"""Validation photos, searched in the catalogue while a model is trained."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from pocketlens import image_lists
from pocketlens.errors import PictureError, TrainingError
from pocketlens_converter import models
from pocketlens_converter.training_pictures import Pixels, letterboxed


class Examiner:
    """Searches photos in a catalogue: recall@1 by product."""

    def __init__(self, catalogue: Path, photos: Path, size: int) -> None:
        """Reads both lists; photos of other products are left out.

        Raises:
            ImageListError: A list cannot be understood.
            TrainingError: No photo shows a product of the catalogue.
        """
        self._gallery, self._products = _read(catalogue, size)
        squares, products = _read(photos, size)
        known = {each for of_picture in self._products for each in of_picture}
        kept = [row for row, of_picture in enumerate(products) if known & of_picture]
        if not kept:
            raise TrainingError(
                f"Expected photos of products of {catalogue} in {photos}. Received none."
            )
        self._photos = squares[kept]
        self._expected = [products[row] for row in kept]

    def recall(self, model: keras.Model) -> float:
        """recall@1 of the photos by `model`, whose input is of the size that was given."""
        gallery = models.embed(model, self._gallery)
        nearest = (models.embed(model, self._photos) @ gallery.T).argmax(axis=1)
        hits = [
            bool(self._products[found] & expected)
            for found, expected in zip(nearest, self._expected, strict=True)
        ]
        return float(np.mean(hits))


def _read(path: Path, size: int) -> tuple[Pixels, list[set[str]]]:
    squares: list[Pixels] = []
    products: list[set[str]] = []
    for entry in image_lists.read(path).entries:
        try:
            squares.append(letterboxed(entry.path, size))
        except PictureError:
            continue  # reported where it is learned from or evaluated
        products.append(set(entry.product_ids))
    if not squares:
        raise TrainingError(f"Expected pictures that can be read in {path}. Received none.")
    return np.stack(squares), products
