"""The images of a store, and their pictures where a list names them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens import image_lists
from pocketlens.duplicates.found import Copy
from pocketlens.errors import ImageListError
from pocketlens.image_lists import Entry, Problem
from pocketlens.store.reader import Reader

Numbers = npt.NDArray[np.int64]

_IMAGES_AT_ONCE = 4096


class Catalogue:
    """Images by their place among the keys of a store.

    Attributes:
        entries: Pictures of the store's images, in the order of the list.
        places: int64 (entries,), of the image of each.
        problems: Of the list, and in what it and the store differ.
    """

    def __init__(
        self, reader: Reader, keys: npt.NDArray[np.uint32], image_list: Path | None
    ) -> None:
        """Finds the pictures of images by their ids.

        Args:
            reader: Of the store.
            keys: uint32 (n,), of its images, ascending.
            image_list: CSV or folder; None where there are no pictures.

        Raises:
            ImageListError: The list is wrong, or has no image of the store.
        """
        self._reader, self._keys = reader, keys
        self.entries: tuple[Entry, ...] = ()
        self.problems: tuple[Problem, ...] = ()
        self.places = np.zeros(0, np.int64)
        self._paths: dict[int, Path] = {}
        if image_list is not None:
            self._take(image_lists.read(image_list))

    def _take(self, listed: image_lists.ImageList) -> None:
        place_of: dict[str, int] = {}
        for start in range(0, len(self._keys), _IMAGES_AT_ONCE):
            some = self._keys[start : start + _IMAGES_AT_ONCE].tolist()
            images = self._reader.images_only(some).values()
            place_of.update((image.id, start + row) for row, image in enumerate(images))
        self.entries = tuple(each for each in listed.entries if each.image.id in place_of)
        if not self.entries:
            raise ImageListError(
                "Expected pictures of the store's images. Received none whose id it knows. Give "
                "the list that it was made of.",
                path=listed.path,
            )
        self.places = np.array([place_of[each.image.id] for each in self.entries], np.int64)
        self._paths = {
            place: entry.path
            for place, entry in zip(self.places.tolist(), self.entries, strict=True)
        }
        unknown = len(listed.entries) - len(self.entries)
        unseen = len(self._keys) - len(self._paths)
        differences = (
            (unknown, "pictures of no image of the store, left out"),
            (unseen, "images without a picture in the list, known by their codes alone"),
        )
        self.problems = (
            *listed.problems,
            *(Problem(None, None, f"{what}: {count:,}") for count, what in differences if count),
        )

    def copies(self, places: Sequence[int]) -> tuple[Copy, ...]:
        """Images with their products and pictures, in the order asked for.

        Raises:
            StoreCorrupt: A row is damaged or missing.
        """
        keys = self._keys[list(places)].tolist()
        images = self._reader.images(keys)
        product_keys = sorted({key for _, shown in images.values() for key in shown})
        ids = {key: product.id for key, product in self._reader.products(product_keys).items()}
        return tuple(
            Copy(image, tuple(ids[each] for each in shown), self._paths.get(place))
            for place, (image, shown) in zip(places, (images[key] for key in keys), strict=True)
        )
