"""What the tables of a catalogue hold, as plain dicts by the ids of backends.

contents_of(folder).products["mug"].stock
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass

from pocketlens.formats import parts
from pocketlens.formats.parts import ImagePart, OfferPart, ProductPart
from pocketlens.products import Price, Product
from pocketlens_server.folders import CatalogueFolder, Tables
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT
from pocketlens_server.storage.waiting_images import WaitingImage


@dataclass(frozen=True)
class Shown:
    """What an image shows."""

    url: str
    picture: bytes
    products: frozenset[str]


@dataclass(frozen=True)
class Contents:
    """All that a catalogue holds and remembers of its backends; images that wait with their job."""

    products: Mapping[str, Product]
    images: Mapping[str, Shown]
    waiting: Mapping[str, tuple[int, Shown]]
    dead: Mapping[str, tuple[int, Shown]]
    requests: Mapping[str, str]
    jobs: Mapping[int, tuple[str, Mapping[str, int]]]


def contents_of(folder: CatalogueFolder) -> Contents:
    """What the tables of a folder hold, in the words of the model."""
    with folder.reading() as tables:
        waiting = {
            each.image.id: (each.job, Shown(each.image.url, picture, _ids(tables, each)))
            for picture in tables.waiting.pictures(limit=-1)
            for each in tables.waiting.showing(picture)
        }
        dead = {
            each.image.id: (
                each.job,
                Shown(each.image.url, each.picture, frozenset(each.product_ids)),
            )
            for each in tables.dead_letters.listed(limit=-1)
        }
        jobs = {
            job.number: (
                job.state.value,
                {name: value for name, value in asdict(job.counters).items() if value},
            )
            for job in tables.jobs.newest(limit=-1)
        }
        products, images = products_of(tables), images_of(tables)
    return Contents(products, images, waiting, dead, dict(requests_of(folder)), jobs)


def requests_of(folder: CatalogueFolder) -> list[tuple[str, str]]:
    """Ids and results of the requests that are remembered, in the order of their answers."""
    with closing(sqlite3.connect(folder.database)) as connection:
        query = "SELECT id, result FROM requests ORDER BY number"
        return connection.execute(query).fetchall()


def products_of(tables: Tables, version: int | None = None) -> dict[str, Product]:
    """Products at a version, or with all that waits."""
    offers = {key: parts.decode(data) for key, data in tables.history.values(OFFER, version)}
    found: dict[str, Product] = {}
    for key, data in tables.history.values(PRODUCT, version):
        part, offer = parts.decode(data), offers.pop(key)
        assert isinstance(part, ProductPart)
        assert isinstance(offer, OfferPart)
        has_price = offer.price_minor_units != parts.UNKNOWN
        found[part.id] = Product(
            part.id,
            part.title,
            part.category,
            part.url,
            Price(offer.price_minor_units, offer.currency) if has_price else None,
            None if offer.stock == parts.UNKNOWN else offer.stock,
            part.attributes,
        )
    assert not offers
    return found


def images_of(tables: Tables, version: int | None = None) -> dict[str, Shown]:
    """Images at a version, or with all that waits."""
    found: dict[str, Shown] = {}
    for _, data in tables.history.values(IMAGE, version):
        part = parts.decode(data)
        assert isinstance(part, ImagePart)
        found[part.id] = Shown(part.url, part.code, _ids(tables, part))
    return found


def _ids(tables: Tables, image: ImagePart | WaitingImage) -> frozenset[str]:
    return frozenset(tables.history.id(PRODUCT, key) for key in image.product_keys)
