"""Rows of a store in memory: what a search reads, without a database."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pocketlens.product_columns import ProductColumns
from pocketlens.query import codes
from pocketlens.query.codebook import Codebook


@dataclass
class MemoryRows:
    """Image key i has embedding i - 1; `shows` gives its products, by default one each."""

    embeddings: npt.NDArray[np.float32]
    codebook: Codebook
    shows: Mapping[int, Sequence[int]] | None = None
    categories: Sequence[str] = ()
    stock: Sequence[int] = ()
    version: int = 1
    lists_read: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        n = len(self.embeddings)
        self.scale = codes.scale_of(np.abs(self.embeddings).max(axis=0))
        self.codes = codes.encode(self.embeddings, self.scale)
        self.keys = np.arange(1, n + 1, dtype=np.uint32)
        self.lists = self.codebook.assign(self.embeddings)
        shows = self.shows if self.shows is not None else {key: [key] for key in range(1, n + 1)}
        pairs = sorted((image, product) for image, many in shows.items() for product in many)
        self.pairs = np.array(pairs, np.uint32).reshape(-1, 2)

    def read_list(self, number: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int8]]:
        self.lists_read.append(number)
        members = np.flatnonzero(self.lists == number)
        return self.keys[members], self.codes[members]

    def codes_of(self, image_keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.int8]:
        return self.codes[image_keys - 1]

    def lists_of(self, image_keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        return self.lists[image_keys - 1]

    def links(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        return self.pairs[:, 0].copy(), self.pairs[:, 1].copy()

    def columns(self) -> ProductColumns:
        keys = np.unique(self.pairs[:, 1])
        names = tuple(dict.fromkeys(["", *self.categories]))
        categories = [names.index(name) for name in self.categories] or [0] * len(keys)
        links = self.links()
        return ProductColumns(
            keys=keys,
            categories=np.array(categories, np.int32),
            category_names=names,
            prices=np.full(len(keys), -1, np.int64),
            currencies=np.zeros(len(keys), np.int32),
            stock=np.array(self.stock or [-1] * len(keys), np.int64),
            link_image_keys=links[0],
            link_product_keys=links[1],
        )

    def attribute_keys(self, name: str, value: str) -> npt.NDArray[np.uint32]:
        """Every product has the attribute `parity`: "odd" or "even", of its key."""
        keys = self.columns().keys
        return keys[keys % 2 == (value == "odd")] if name == "parity" else keys[:0]
