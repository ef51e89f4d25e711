"""A catalogue's vectors by one model, which follow its versions row by row.

    gallery = Gallery(folder, source, ExactStore(dim))
    gallery.follow()                           # True where there was something new
    with gallery.store.view() as view: ...

What was put and is not published is never there; a version is there whole or not at all. Where
history no longer knows the version that a gallery has, or a server was restored to an older one,
everything is read anew.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pocketlens.formats import parts
from pocketlens.formats.parts import OfferPart, ProductPart
from pocketlens.products import Image, Price, Product
from pocketlens_server.folders import CatalogueFolder, Tables
from pocketlens_server.publishing.images import image_of
from pocketlens_server.query.vector_store import (
    ImageRows,
    ProductRow,
    VectorStore,
    VersionChanges,
)
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT

_Changed = tuple[int, bytes | None, bytes | None]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Vectors of one model. Threads: one follows while any number searches.

    Attributes:
        folder: Of the catalogue.
        bundle: Number of the bundle whose embeddings these are.
        store: Of the vectors.
    """

    folder: CatalogueFolder
    bundle: int
    store: VectorStore

    def follow(self) -> bool:
        """Moves the store to the newest version; says whether there was one.

        Raises:
            ServerError: The tables cannot be read.
        """
        with self.folder.reading() as tables:
            head, base = tables.history.head, self.store.version
            if head == base:
                return False
            if not 0 < base < head or not tables.history.is_known(base):
                base = 0
            changes = self._changes(tables, base, head)
        self.store.apply(changes)
        return True

    def _changes(self, tables: Tables, base: int, head: int) -> VersionChanges:
        gone: dict[int, list[int]] = {IMAGE: [], PRODUCT: []}
        changed_products, images = dict[int, bytes](), list[tuple[int, bytes]]()
        for key, _, after in _changed(tables, IMAGE, base, head):
            if after is None:
                gone[IMAGE].append(key)
            else:
                images.append((key, after))
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
        return VersionChanges(
            base=base,
            version=head,
            deleted_images=np.array(gone[IMAGE], np.uint32),
            deleted_products=np.array(gone[PRODUCT], np.uint32),
            images=self._image_rows(tables, images),
            products=[
                _product_row(value, offers.get(key)) for key, value in changed_products.items()
            ],
        )

    def _image_rows(self, tables: Tables, images: Sequence[tuple[int, bytes]]) -> ImageRows:
        found = [image_of(value) for _, value in images]
        pictures = [part.code for part in found]
        vectors: npt.NDArray[np.float32] = np.zeros((0, self.store.dim), np.float32)
        if pictures:
            vectors = tables.vectors.embeddings(self.bundle, pictures)
        keys = np.array([part.key for part in found], np.uint32)
        return ImageRows(keys, vectors, [part.product_keys for part in found])


def image(tables: Tables, key: int, version: int) -> Image:
    """An image as a version has it.

    Raises:
        KeyError: It has none of that key.
    """
    if (value := tables.history.value(IMAGE, key, version)) is None:
        raise KeyError(key)
    part = image_of(value)
    return Image(part.id, part.url)


def product(tables: Tables, key: int, version: int) -> Product:
    """A product as a version has it, with its offer.

    Raises:
        KeyError: It has none of that key.
    """
    if (value := tables.history.value(PRODUCT, key, version)) is None:
        raise KeyError(key)
    part, offer = _product_part(value), _offer_part(tables.history.value(OFFER, key, version))
    return Product(
        id=part.id,
        title=part.title,
        category=part.category,
        url=part.url,
        price=_price(offer),
        stock=None if offer is None or offer.stock < 0 else offer.stock,
        attributes=part.attributes,
    )


def _changed(tables: Tables, kind: int, base: int, head: int) -> Iterator[_Changed]:
    if base == 0:
        return ((key, None, value) for key, value in tables.history.values(kind, head))
    return tables.history.changed_between(kind, base, head)


def _product_row(value: bytes, offer: bytes | None) -> ProductRow:
    part, priced = _product_part(value), _offer_part(offer)
    price = _price(priced)
    return ProductRow(
        key=part.key,
        category=part.category,
        price=None if price is None else price.minor_units,
        currency="" if price is None else price.currency,
        stock=None if priced is None or priced.stock < 0 else priced.stock,
        attributes=part.attributes,
    )


def _price(offer: OfferPart | None) -> Price | None:
    if offer is None or offer.price_minor_units < 0:
        return None
    return Price(offer.price_minor_units, offer.currency)


def _product_part(value: bytes) -> ProductPart:
    part = parts.decode(value)
    if not isinstance(part, ProductPart):
        raise TypeError(f"Expected a product. Received {part!r}.")
    return part


def _offer_part(value: bytes | None) -> OfferPart | None:
    part = None if value is None else parts.decode(value)
    return part if isinstance(part, OfferPart) else None
