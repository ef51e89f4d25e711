"""Validation photos, searched in the catalogue while a model is trained."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from pocketlens import image_lists
from pocketlens.errors import PictureError, TrainingError
from pocketlens.image_lists import Entry
from pocketlens_converter import models
from pocketlens_converter.training_pictures import letterboxed

PICTURES_AT_ONCE = 256  # held in memory; lists may be longer than it is large


class Examiner:
    """Searches photos in a catalogue: recall@1 by product.

    Attributes:
        problems: Pictures of either list that cannot be read, and why.
    """

    def __init__(self, catalogue: Path, photos: Path, size: int) -> None:
        """Opens every picture of both lists once; photos of other products are left out.

        Raises:
            ImageListError: A list cannot be understood.
            TrainingError: No photo shows a product of the catalogue.
        """
        self.problems: list[str] = []
        self._size = size
        self._gallery = self._readable(catalogue)
        known = {product for entry in self._gallery for product in entry.product_ids}
        self._photos = [each for each in self._readable(photos) if known & set(each.product_ids)]
        if not self._photos:
            raise TrainingError(
                f"Expected photos of products of {catalogue} in {photos}. Received none."
            )

    def recall(self, model: keras.Model) -> float:
        """recall@1 of the photos by `model`, whose input is of the size that was given."""
        gallery = self._embedded(model, self._gallery)
        nearest = (self._embedded(model, self._photos) @ gallery.T).argmax(axis=1).tolist()
        hits = [
            bool(set(self._gallery[found].product_ids) & set(photo.product_ids))
            for found, photo in zip(nearest, self._photos, strict=True)
        ]
        return float(np.mean(hits))

    def _readable(self, path: Path) -> list[Entry]:
        readable: list[Entry] = []
        listed = image_lists.read(path)
        self.problems += [f"{path}: {problem}" for problem in listed.problems]
        for entry in listed.entries:
            try:
                letterboxed(entry.path, self._size)
            except PictureError as exc:
                self.problems.append(f"{path}, line {entry.line}: {exc} Left out.")
                continue
            readable.append(entry)
        if not readable:
            raise TrainingError(f"Expected pictures that can be read in {path}. Received none.")
        return readable

    def _embedded(self, model: keras.Model, entries: Sequence[Entry]) -> npt.NDArray[np.float32]:
        rows = []
        for start in range(0, len(entries), PICTURES_AT_ONCE):
            part = entries[start : start + PICTURES_AT_ONCE]
            squares = np.stack([letterboxed(entry.path, self._size) for entry in part])
            rows.append(models.embed(model, squares))
        return np.concatenate(rows)
