"""Items like one, from a store: each image counts for itself, near-duplicates too.

What a search returns folds products that share a picture into one match, since a shopper wants to
see different things. An estimate wants every item that was sold; and so many identical pictures as
a catalogue may hold must not all be read for one match.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pocketlens.answering import searcher_of
from pocketlens.estimates.prices import Neighbour
from pocketlens.query.filters import Filter, eligible_products

if TYPE_CHECKING:
    from pocketlens.formats.bundle import Bundle
    from pocketlens.store.reader import Reader

NEIGHBOURS = 40  # items that an estimate is made of
_IMAGES = 3 * NEIGHBOURS  # looked at: an item may have several


class Neighbourhood:
    """What is near in one store. Thread-safe."""

    def __init__(self, reader: Reader, bundle: Bundle) -> None:
        """Takes an open reader, which outlives it, and the bundle of its codes."""
        self.reader = reader
        self._searcher = searcher_of(reader, bundle)

    def of(self, vector: npt.NDArray[np.float32], wanted: Filter) -> tuple[Neighbour, ...]:
        """At most `NEIGHBOURS` items that satisfy a filter, nearest first, by their best images.

        Args:
            vector: float32 (dim,), unit length.
            wanted: The filter.

        Raises:
            QueryError: The vector cannot be one.
            StoreCorrupt: Something that had to be read is damaged.
        """
        found = self._searcher.nearest_images(vector, _IMAGES, wanted)
        columns = self.reader.columns()
        allowed = np.zeros(int(columns.keys.max(initial=0)) + 1, np.bool_)
        allowed[columns.keys] = eligible_products(wanted, columns, self.reader.products_with)
        starts = np.searchsorted(columns.link_image_keys, found.image_keys, "left").tolist()
        ends = np.searchsorted(columns.link_image_keys, found.image_keys, "right").tolist()
        nearest: dict[int, float] = {}
        for start, end, similarity in zip(starts, ends, found.similarities.tolist(), strict=True):
            for key in columns.link_product_keys[start:end].tolist():
                if allowed[key] and len(nearest) < NEIGHBOURS:
                    nearest.setdefault(key, similarity)
        products = self.reader.products(list(nearest))
        return tuple(Neighbour(products[key], each) for key, each in nearest.items())
