"""Products and images as answers show them, in one version of a catalogue.

    rows = Shown().of(folder, view.version, images=[3, 17], products=[5])
    rows.products[5].title, rows.images[3].url, rows.as_of

What many look for is read once a version. The rest of a whole batch comes as one row of SQLite: at
each row that it steps to, Python's lock is given away, and has to be waited for beside a busy loop.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from datetime import datetime

from pocketlens.formats import parts
from pocketlens.formats.parts import OfferPart, ProductPart
from pocketlens.products import Image, Price, Product
from pocketlens_server.folders import CatalogueFolder, Tables
from pocketlens_server.publishing.images import image_of
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT

_MOST_HELD = 16_384  # products and images together, some 1.5 kB each


@dataclass(frozen=True, slots=True)
class Rows:
    """Of one version.

    Attributes:
        version: Its number.
        as_of: When it was published, UTC.
        products: By key, with their offers.
        images: By key.
    """

    version: int
    as_of: datetime
    products: dict[int, Product] = field(default_factory=dict)
    images: dict[int, Image] = field(default_factory=dict)


class Shown:
    """Of one catalogue. Threads: any number; two may read the same at once."""

    def __init__(self) -> None:
        self._held: Rows | None = None

    def of(
        self, folder: CatalogueFolder, version: int, *, images: Set[int], products: Set[int]
    ) -> Rows:
        """What a version says of some images and products, and of others maybe.

        Raises:
            KeyError: It has not all of them, or nobody knows any more what it had.
            ServerError: The tables cannot be read.
        """
        held = self._held
        if held is not None and held.version == version:
            images, products = images - held.images.keys(), products - held.products.keys()
            if not images and not products:
                return held
        with folder.reading() as tables:
            if (
                held is None
                or held.version != version
                or len(held.images) + len(held.products) > _MOST_HELD
            ):
                held = Rows(version, tables.history.as_of(version))
                self._held = held
            held.images.update(_images(tables, images, version))
            held.products.update(_products(tables, products, version))
        return held


def product_part(value: bytes) -> ProductPart:
    """The product that a value of history is."""
    part = parts.decode(value)
    if not isinstance(part, ProductPart):
        raise TypeError(f"Expected a product. Received {part!r}.")
    return part


def price_and_stock(value: bytes | None) -> tuple[Price | None, int | None]:
    """What a value of history says of a product's offer; nothing where there is none."""
    part = None if value is None else parts.decode(value)
    if not isinstance(part, OfferPart):
        return None, None
    is_priced = part.price_minor_units >= 0
    price = Price(part.price_minor_units, part.currency) if is_priced else None
    return price, part.stock if part.stock >= 0 else None


def _images(tables: Tables, keys: Set[int], version: int) -> dict[int, Image]:
    found = {}
    for key, value in _values(tables, IMAGE, keys, version).items():
        part = image_of(value)
        found[key] = Image(part.id, part.url)
    return found


def _products(tables: Tables, keys: Set[int], version: int) -> dict[int, Product]:
    offers = tables.history.values_of(OFFER, keys, version)
    found = {}
    for key, value in _values(tables, PRODUCT, keys, version).items():
        part, (price, stock) = product_part(value), price_and_stock(offers.get(key))
        found[key] = Product(
            id=part.id,
            title=part.title,
            category=part.category,
            url=part.url,
            price=price,
            stock=stock,
            attributes=part.attributes,
        )
    return found


def _values(tables: Tables, kind: int, keys: Set[int], version: int) -> dict[int, bytes]:
    """Of each; KeyError where one has none."""
    found = tables.history.values_of(kind, keys, version)
    if len(found) < len(keys):
        raise KeyError(min(keys - found.keys()))
    return found
