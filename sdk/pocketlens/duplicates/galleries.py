"""The codes of a store as one table, each code once.

    gallery = read(reader)
    gallery.units(gallery.row_of[place])       # what the model sees in the image keys[place]

Images of one code are one row, so that a picture that is there 100,000 times costs as much as one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from pocketlens.progress import Progress
from pocketlens.query import codes
from pocketlens.store.reader import Reader

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Gallery:
    """The codes of a catalogue, each once.

    Attributes:
        keys: uint32 (images,), of the images, ascending.
        row_of: int64 (images,), the row of each image's code.
        firsts: int64 (rows,), the first image of each row.
        codes: int8 (rows, dim), by list.
        starts: int64 (lists + 1,): rows of list i are starts[i] to starts[i + 1].
        centroids: float32 (lists, dim).
        scale: float32 (dim,), of the codes.
    """

    keys: npt.NDArray[np.uint32]
    row_of: Numbers
    firsts: Numbers
    codes: npt.NDArray[np.int8]
    starts: Numbers
    centroids: Floats
    scale: Floats

    @classmethod
    def of(
        cls,
        keys: npt.NDArray[np.uint32],
        image_codes: npt.NDArray[np.int8],
        lists: npt.NDArray[np.int64],
        centroids: npt.NDArray[np.float16],
        scale: Floats,
    ) -> Self:
        """Joins images of one code.

        Args:
            keys: uint32 (images,), ascending.
            image_codes: int8 (images, dim).
            lists: int64 (images,), the list of each.
            centroids: float16 (lists, dim).
            scale: float32 (dim,).
        """
        whole = np.ascontiguousarray(image_codes).view(f"V{image_codes.shape[1]}").ravel()
        _, firsts, row_of = np.unique(whole, return_index=True, return_inverse=True)
        order = np.argsort(lists[firsts], kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        firsts = firsts[order]
        starts = np.searchsorted(lists[firsts], np.arange(len(centroids) + 1))
        return cls(
            keys,
            place[row_of.reshape(-1)],
            firsts,
            image_codes[firsts],
            starts.astype(np.int64),
            centroids.astype(np.float32),
            scale,
        )

    def units(self, rows: Numbers | slice) -> Floats:
        """Embeddings that codes stand for, unit rows: float32 (n, dim)."""
        found = codes.decode(self.codes[rows], self.scale)
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.float32(1e-12))
        return found


def read(reader: Reader, progress: Progress = lambda stage, done, total: None) -> Gallery:
    """All codes of a store: dim + 12 bytes an image.

    Args:
        reader: Of the store.
        progress: Called with "reading".

    Raises:
        StoreCorrupt: A list is damaged.
    """
    facts = reader.facts
    keys, image_codes, lists = [], [np.empty((0, facts.dim), np.int8)], []
    for number in range(facts.lists):
        list_keys, list_codes = reader.read_list(number)
        keys.append(list_keys)
        image_codes.append(list_codes)
        lists.append(np.full(len(list_keys), number, np.int64))
        progress("reading", number + 1, facts.lists)
    found = np.concatenate(keys)
    order = np.argsort(found)
    return Gallery.of(
        found[order],
        np.concatenate(image_codes)[order],
        np.concatenate(lists)[order],
        reader.centroids(),
        facts.scale,
    )
