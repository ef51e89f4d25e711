"""Where full-precision vectors are kept and searched: the seam that a vector database comes behind.

    store.apply(changes)                       # to another version, as a whole
    with store.view() as view:                 # one version, for as long as it is looked at
        nearest = view.search(queries, 20, wanted=Filter(in_stock=True))

`exact_store` is the default, in this process; `memory_store` is the same in a few lines, for tests.
Every implementation passes one suite (tests/sync_server/query/vector_store_suite.py).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pocketlens.product_columns import ProductColumns
from pocketlens.query.filters import Wanted


@dataclass(frozen=True, slots=True)
class ImageRows:
    """Images as they are from a version on.

    Attributes:
        keys: uint32 (n,), ascending, each once.
        vectors: float32 (n, dim), unit rows.
        product_keys: Of the products that each shows, ascending, one at least.
    """

    keys: npt.NDArray[np.uint32]
    vectors: npt.NDArray[np.float32]
    product_keys: Sequence[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class ProductRow:
    """What a filter may ask of a product.

    Attributes:
        key: Of the product.
        category: "" where there is none.
        price: In the currency's minor unit; None where unknown.
        currency: Three capital letters; "" where there is no price.
        stock: Pieces; None where unknown.
        attributes: Name to value.
    """

    key: int
    category: str = ""
    price: int | None = None
    currency: str = ""
    stock: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VersionChanges:
    """Final states of all that changed after `base`, up to `version`.

    Attributes:
        base: The version that a store must have; 0 replaces all that there is.
        version: That it has afterwards.
        deleted_images, deleted_products: uint32 keys; one that is not there is no error.
        images: New, or other than before.
        products: New, or other than before; an image may show only products that are there
            afterwards.
    """

    base: int
    version: int
    deleted_images: npt.NDArray[np.uint32]
    deleted_products: npt.NDArray[np.uint32]
    images: ImageRows
    products: Sequence[ProductRow]


@dataclass(frozen=True, slots=True)
class Nearest:
    """Images nearest one query.

    Attributes:
        keys: uint32 (n,), by falling similarity, equals by ascending key.
        similarities: float32 (n,): cosines, the same whatever other queries were asked with it.
        vectors: float32 (n, dim).
    """

    keys: npt.NDArray[np.uint32]
    similarities: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float32]


class View(Protocol):
    """One version of a store. Threads: any number may ask one view."""

    @property
    def version(self) -> int:
        """0 where nothing was put yet."""

    @property
    def images(self) -> int:
        """How many there are."""

    @property
    def products(self) -> int:
        """How many there are, those that no image shows too."""

    def search(
        self, queries: npt.NDArray[np.float32], count: int, *, wanted: Wanted | None = None
    ) -> list[Nearest]:
        """The images nearest each query, exactly.

        Args:
            queries: float32 (q, dim), unit rows.
            count: Of each, 1 or more; all there are where they are fewer.
            wanted: Only images of a product that satisfies it; applied before the cut.
        """

    def product_keys(self, image_keys: Sequence[int]) -> list[tuple[int, ...]]:
        """Products that each of the images shows, ascending; () for an image that is not there."""

    def images_of(self, product_key: int) -> npt.NDArray[np.uint32]:
        """Images that show a product, ascending."""

    def vectors(self, image_keys: Sequence[int]) -> npt.NDArray[np.float32]:
        """Vectors float32 (n, dim) of images.

        Raises:
            KeyError: One is not there.
        """

    def categories(self) -> tuple[str, ...]:
        """Of products that have one, most products first, equals by their text."""

    def columns(self) -> ProductColumns:
        """Every product, also those that no image shows, and which images show it."""

    def values_of(self, name: str) -> Iterable[tuple[str, npt.NDArray[np.uint32]]]:
        """Values of an attribute, each with the keys of the products that have it, ascending."""

    def satisfying(self, wanted: Wanted) -> npt.NDArray[np.uint32]:
        """Products that satisfy a filter and that some image shows: their keys, ascending."""


class VectorStore(Protocol):
    """Vectors of one catalogue by one model. Threads: one applies while any number looks."""

    @property
    def dim(self) -> int:
        """Numbers of a vector."""

    @property
    def version(self) -> int:
        """The newest that is whole; 0 where nothing was put yet."""

    def apply(self, changes: VersionChanges) -> None:
        """Moves to `changes.version`; views that are open stay what they were.

        Raises:
            ValueError: The store is not at `changes.base`, or a vector has another length.
        """

    def view(self) -> AbstractContextManager[View]:
        """The newest version, unchanged until the context is left."""

    def close(self) -> None:
        """Gives memory back; closing again is no error."""
