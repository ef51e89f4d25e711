"""A catalogue's vectors by one model, which follow its versions row by row.

    gallery = Gallery(folder, BundleVectors(number), ExactStore(dim))
    gallery.follow()                           # True where there was something new
    with gallery.store.view() as view: ...

What was put and is not published is never there; a version is there whole or not at all. Where
history no longer knows the version that a gallery has, or a server was restored to an older one,
everything is read anew.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pocketlens.progress import Progress
from pocketlens_server.catalogue import float_siblings
from pocketlens_server.catalogue.float_siblings import Sibling
from pocketlens_server.catalogue.missing import unreadable_pictures
from pocketlens_server.folders import CatalogueFolder, Tables
from pocketlens_server.models.photo_models import PhotoModel
from pocketlens_server.publishing.images import image_of
from pocketlens_server.query.shown import Shown, price_and_stock, product_part
from pocketlens_server.query.vector_store import (
    ImageRows,
    ProductRow,
    VectorStore,
    VersionChanges,
)
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT

_ROWS = 4096  # read at once: all together would be in memory three times
_Changed = tuple[int, bytes | None, bytes | None]
_Shown = tuple[int, bytes, tuple[int, ...]]  # key, SHA-256 of the picture, keys of products


class VectorSource(Protocol):
    """Embeddings of pictures by one model."""

    def prepare(self, pictures: Iterable[bytes]) -> None:
        """Makes those that are missing, which may take long; outside of every transaction."""

    def vectors(self, tables: Tables, pictures: Sequence[bytes]) -> npt.NDArray[np.float32]:
        """Embeddings float32 (n, dim), in the order of the pictures."""


@dataclass(frozen=True, slots=True)
class BundleVectors:
    """Those by the bundle that phones run, which every picture has before it is published.

    Attributes:
        bundle: Its number.
    """

    bundle: int

    def prepare(self, pictures: Iterable[bytes]) -> None:
        """See `VectorSource.prepare`; they are there."""

    def vectors(self, tables: Tables, pictures: Sequence[bytes]) -> npt.NDArray[np.float32]:
        """See `VectorSource.vectors`."""
        return tables.vectors.embeddings(self.bundle, pictures)


@dataclass(frozen=True, slots=True)
class FloatVectors:
    """Those by the float model, made when a version comes; the version waits for them.

    Attributes:
        folder: Of the catalogue.
        sibling: The model's files.
        model: Opens it once, and then gives it again.
        progress: Called as pictures are embedded; what it raises ends that.
    """

    folder: CatalogueFolder
    sibling: Sibling
    model: Callable[[], PhotoModel]
    progress: Progress

    def prepare(self, pictures: Iterable[bytes]) -> None:
        """See `VectorSource.prepare`."""
        # From the other end than `model add --float`, which a server meets in the middle.
        backwards = reversed(list(pictures))
        unreadable = float_siblings.embed_all(
            self.sibling, self.folder, backwards, self.model(), progress=self.progress
        )
        if unreadable:
            raise unreadable_pictures(self.folder, unreadable)

    def vectors(self, tables: Tables, pictures: Sequence[bytes]) -> npt.NDArray[np.float32]:
        """See `VectorSource.vectors`."""
        return float_siblings.vectors_of(self.sibling, list(pictures), self.model().spec.dim)


@dataclass(frozen=True, slots=True)
class Gallery:
    """Vectors of one model. Threads: one follows while any number searches.

    Attributes:
        folder: Of the catalogue.
        source: Where embeddings of pictures come from.
        store: Of the vectors.
        shown: What answers show of products and images.
    """

    folder: CatalogueFolder
    source: VectorSource
    store: VectorStore
    shown: Shown = field(default_factory=Shown)

    def follow(self) -> bool:
        """Moves the store to the newest version; says whether there was one.

        Raises:
            ServerError: The tables cannot be read, or a picture cannot be embedded.
        """
        with self.folder.reading() as tables:
            head, base = tables.history.head, self.store.version
            if head == base:
                return False
            if not 0 < base < head or not tables.history.is_known(base):
                base = 0
            changes, images = self._changes(tables, base, head)
        self.source.prepare(picture for _, picture, _ in images)
        with self.folder.reading() as tables:
            rows = self._image_rows(tables, images)
        self.store.apply(replace(changes, images=rows))
        return True

    def _changes(self, tables: Tables, base: int, head: int) -> tuple[VersionChanges, list[_Shown]]:
        """What changed, and the images, whose vectors are not there yet."""
        gone: dict[int, list[int]] = {IMAGE: [], PRODUCT: []}
        changed_products, images = dict[int, bytes](), list[_Shown]()
        for key, _, after in _changed(tables, IMAGE, base, head):
            if after is None:
                gone[IMAGE].append(key)
            else:
                part = image_of(after)
                images.append((key, part.code, part.product_keys))
        for key, _, after in _changed(tables, PRODUCT, base, head):
            if after is None:
                gone[PRODUCT].append(key)
            else:
                changed_products[key] = after
        offers = {
            key: after for key, _, after in _changed(tables, OFFER, base, head) if after is not None
        }
        history = tables.history
        for key in offers.keys() - changed_products.keys():
            if (value := history.value(PRODUCT, key, head)) is not None:
                changed_products[key] = value
        for key in changed_products.keys() - offers.keys():
            if (value := history.value(OFFER, key, head)) is not None:
                offers[key] = value
        changes = VersionChanges(
            base=base,
            version=head,
            deleted_images=np.array(gone[IMAGE], np.uint32),
            deleted_products=np.array(gone[PRODUCT], np.uint32),
            images=self._image_rows(tables, []),
            products=[
                _product_row(value, offers.get(key)) for key, value in changed_products.items()
            ],
        )
        return changes, images

    def _image_rows(self, tables: Tables, images: Sequence[_Shown]) -> ImageRows:
        vectors = np.empty((len(images), self.store.dim), np.float32)
        for start in range(0, len(images), _ROWS):
            pictures = [picture for _, picture, _ in images[start : start + _ROWS]]
            vectors[start : start + _ROWS] = self.source.vectors(tables, pictures)
        keys = np.array([key for key, _, _ in images], np.uint32)
        return ImageRows(keys, vectors, [products for _, _, products in images])


def _changed(tables: Tables, kind: int, base: int, head: int) -> Iterator[_Changed]:
    if base == 0:
        return ((key, None, value) for key, value in tables.history.values(kind, head))
    return tables.history.changed_between(kind, base, head)


def _product_row(value: bytes, offer: bytes | None) -> ProductRow:
    part, (price, stock) = product_part(value), price_and_stock(offer)
    return ProductRow(
        key=part.key,
        category=part.category,
        price=None if price is None else price.minor_units,
        currency="" if price is None else price.currency,
        stock=stock,
        attributes=part.attributes,
    )
