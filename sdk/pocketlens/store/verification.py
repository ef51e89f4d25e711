"""Reads a whole store and says everything that is wrong with it: `pocketlens verify`.

The state hash is computed again from the rows, list by list, not the way the writer did it; what
filters read (columns, attributes) is compared with what the rows say. Nothing is changed; that a
store which follows a server is damaged is noted, so that the next sync mends it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocketlens.errors import StoreCorrupt, StoreError
from pocketlens.formats import parts
from pocketlens.formats.state_hash import StateSum
from pocketlens.products import Product
from pocketlens.store import installs, rows, thumbnails
from pocketlens.store.checksums import checksum
from pocketlens.store.facts import StoreFacts
from pocketlens.store.reader import Reader

_BLOCK = 4096  # products in memory


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Attributes:
        directory: Of the store.
        facts: Of the store; None where it does not open.
        findings: One text a thing that is wrong; none means that the store is whole.
    """

    directory: Path
    facts: StoreFacts | None
    findings: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify(directory: Path) -> Verification:
    """Reads everything in the store of `directory`; 100,000 images take some seconds.

    Raises:
        StoreNotFound: There is no store.
        StoreTooNew: It is of a newer format.
    """
    try:
        reader = Reader.open(directory)
    except StoreCorrupt as exc:
        installs.doubt(directory)
        return Verification(directory, None, (str(exc),))
    with reader:
        found = Verification(directory, reader.facts, tuple(findings(reader)))
    if not found.is_whole:
        installs.doubt(directory)
    return found


def findings(reader: Reader) -> Iterator[str]:
    """Reads everything in the store of `reader`, and yields what is wrong with it."""
    yield from _found_by(reader, _check_bundle)
    yield from thumbnails.findings(reader.install, reader.facts.thumbnail_packs)
    yield from row_findings(reader)


def row_findings(reader: Reader) -> Iterator[str]:
    """The same, but for the bundle and thumbnails, which come again by themselves."""
    yield from _found_by(reader, _check_database, _check_codebook, _check_state, _check_attributes)


def _found_by(reader: Reader, *checks: Callable[[Reader], None]) -> Iterator[str]:
    for check in checks:
        try:
            check(reader)
        except StoreError as exc:
            yield str(exc)


def _check_database(reader: Reader) -> None:
    found = reader.integrity_problems()
    if found:
        raise StoreCorrupt(f"SQLite finds {len(found)} things wrong; the first: {found[0]}.")


def _check_bundle(reader: Reader) -> None:
    try:
        data = reader.bundle_path.read_bytes()
    except OSError as exc:
        raise StoreCorrupt(f"The bundle {reader.bundle_path} is missing: {exc.strerror}.") from exc
    if hashlib.sha256(data).digest() != reader.facts.bundle_sha256:
        raise StoreCorrupt(f"The bundle {reader.bundle_path} is not the one of this store.")


def _check_codebook(reader: Reader) -> None:
    reader.centroids()


def _check_state(reader: Reader) -> None:
    """Adds every part again; raises at the first row that is damaged."""
    facts, state = reader.facts, StateSum()
    images = sum(_add_list(reader, number, state) for number in range(facts.lists))
    products = sum(_add_products(reader, block, state) for block in _product_blocks(reader))
    if (images, products) != (facts.images, facts.products):
        raise StoreCorrupt(
            f"Expected {facts.images} images and {facts.products} products. "
            f"Received {images} and {products}."
        )
    if state.value != facts.state_sum or facts.digest(state.value) != facts.state_hash:
        raise StoreCorrupt("The store's rows do not add up to its state hash.")


def _add_list(reader: Reader, number: int, state: StateSum) -> int:
    keys, codes = reader.read_list(number)
    if not (reader.lists_of(keys) == number).all():
        raise StoreCorrupt(f"List {number} holds an image that belongs to another.")
    images = reader.images_only(keys.tolist())
    link_images, link_products = reader.links()
    starts = np.searchsorted(link_images, keys)
    stops = np.searchsorted(link_images, keys, side="right")
    for place, (key, image) in enumerate(images.items()):
        product_keys = link_products[starts[place] : stops[place]].tolist()
        code = codes[place].tobytes()
        state.add(
            (
                parts.encode_image(key, image.id, image.url, product_keys, code),
                parts.encode_placement(key, number),
            )
        )
    return len(keys)


def _product_blocks(reader: Reader) -> Iterator[list[int]]:
    keys = reader.columns().keys
    for start in range(0, len(keys), _BLOCK):
        yield keys[start : start + _BLOCK].tolist()


def _add_products(reader: Reader, keys: list[int], state: StateSum) -> int:
    columns = reader.columns()
    products = reader.products(keys)
    places = np.searchsorted(columns.keys, keys).tolist()
    for place, (key, product) in zip(places, products.items(), strict=True):
        offer = rows.offer_part(key, product)
        dense = (columns.prices[place], columns.stock[place])
        name = columns.category_names[columns.categories[place]]
        if dense != (offer.price_minor_units, offer.stock) or name != product.category:
            raise StoreCorrupt(f"What filters read of product {key} differs from its row.")
        state.add((parts.encode_product(rows.product_part(key, product)), parts.encode(offer)))
    return len(products)


def _check_attributes(reader: Reader) -> None:
    """Compares the sum of a checksum of every (name, value, product) of both sides."""
    indexed = sum(
        _triple(name, value, key)
        for name, value, keys in reader.attributes()
        for key in keys.tolist()
    )
    said = sum(
        _triples(key, product)
        for block in _product_blocks(reader)
        for key, product in reader.products(block).items()
    )
    if indexed != said:
        raise StoreCorrupt("What filters read of attributes differs from the products' rows.")


def _triples(key: int, product: Product) -> int:
    return sum(_triple(name, value, key) for name, value in product.attributes.items())


def _triple(name: str, value: str, key: int) -> int:
    """Above 2**32, so that sums of different counts differ."""
    return (1 << 32) + checksum(name.encode(), b"\0", value.encode(), b"\0%d" % key)
