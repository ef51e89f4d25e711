"""Items like one, from a catalogue: each image counts for itself, near-duplicates too.

What a search returns folds products that share a picture into one match, since a shopper wants to
see different things. An estimate wants every item that was sold; and so many identical pictures as
a catalogue may hold must not all be read for one match.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from pocketlens.estimates.prices import Neighbour
from pocketlens.query import codes
from pocketlens.query.filters import Filter, eligible_products

if TYPE_CHECKING:
    from pocketlens.product_columns import ProductColumns
    from pocketlens.products import Product
    from pocketlens.query.searcher import Searcher
    from pocketlens.store.reader import Reader

NEIGHBOURS = 40  # items that an estimate is made of
IMAGES = 3 * NEIGHBOURS  # looked at: an item may have several


class Items(Protocol):
    """Items of one version of a catalogue, as estimates ask for them. Threads: any number."""

    def nearest(
        self, vectors: npt.NDArray[np.float32], wanted: Filter
    ) -> list[tuple[Neighbour, ...]]:
        """At most `NEIGHBOURS` items that satisfy a filter for each of some vectors.

        Args:
            vectors: float32 (q, dim), unit rows.
            wanted: The filter.

        Returns:
            Nearest first, by their best images.
        """

    def columns(self) -> ProductColumns:
        """Every item, and which images show it."""

    def values_of(self, name: str) -> Iterable[tuple[str, npt.NDArray[np.uint32]]]:
        """Values of an attribute, and the keys of the products that have each."""

    def units_of(self, image_keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
        """Vectors of images, float32 (n, dim), unit rows."""

    def products(self, keys: Sequence[int]) -> Mapping[int, Product]:
        """Products by their keys."""


def items_shown(
    similarities: npt.NDArray[np.float32],
    shown: Iterable[Sequence[int]],
    is_allowed: Callable[[int], bool],
) -> dict[int, float]:
    """The first `NEIGHBOURS` products that images show, each with its best similarity.

    Args:
        similarities: float32 (n,), of images, falling.
        shown: Keys of the products that each of them shows.
        is_allowed: Whether a product is wanted.
    """
    nearest: dict[int, float] = {}
    for similarity, keys in zip(similarities.tolist(), shown, strict=True):
        for key in keys:
            if len(nearest) < NEIGHBOURS and is_allowed(key):
                nearest.setdefault(key, similarity)
    return nearest


class StoreItems:
    """Those of a store: an `Items`."""

    def __init__(self, reader: Reader, searcher: Searcher) -> None:
        """Takes an open reader, which outlives it, and what searches its rows."""
        self._reader, self._searcher = reader, searcher
        self.columns, self.products = reader.columns, reader.products

    def nearest(
        self, vectors: npt.NDArray[np.float32], wanted: Filter
    ) -> list[tuple[Neighbour, ...]]:
        """See `Items.nearest`.

        Raises:
            QueryError: A vector cannot be one.
            StoreCorrupt: Something that had to be read is damaged.
        """
        columns = self._reader.columns()
        allowed = np.zeros(int(columns.keys.max(initial=0)) + 1, np.bool_)
        allowed[columns.keys] = eligible_products(wanted, columns, self._reader.products_with)
        return [self._of(vector, wanted, allowed) for vector in vectors]

    def values_of(self, name: str) -> Iterable[tuple[str, npt.NDArray[np.uint32]]]:
        """See `Items.values_of`."""
        return ((value, keys) for each, value, keys in self._reader.attributes() if each == name)

    def units_of(self, image_keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
        """See `Items.units_of`."""
        return codes.units(self._reader.codes_of(image_keys), self._reader.facts.scale)

    def _of(
        self, vector: npt.NDArray[np.float32], wanted: Filter, allowed: npt.NDArray[np.bool_]
    ) -> tuple[Neighbour, ...]:
        columns = self._reader.columns()
        found = self._searcher.nearest_images(vector, IMAGES, wanted)
        starts = np.searchsorted(columns.link_image_keys, found.image_keys, "left").tolist()
        ends = np.searchsorted(columns.link_image_keys, found.image_keys, "right").tolist()
        shown = (
            columns.link_product_keys[start:end].tolist()
            for start, end in zip(starts, ends, strict=True)
        )
        nearest = items_shown(found.similarities, shown, lambda key: bool(allowed[key]))
        products = self._reader.products(list(nearest))
        return tuple(Neighbour(products[key], each) for key, each in nearest.items())
