"""Writes the store of one install from nothing: products, images, codes, codebook, facts.

    with StoreWriter(folder / FILE_NAME) as writer:
        writer.put_product(1, product)              # again: replaces
        writer.put_image(1, image)
        facts = writer.complete(contents, origin)   # everything else, hashed, flushed

Memory is bounded: rows wait in small batches, codes are read block by block. Whatever goes wrong
before `complete` returns leaves a file that nothing names; the caller removes its folder.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import islice, pairwise, repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.closing import Closing
from pocketlens.errors import CatalogError
from pocketlens.formats import parts
from pocketlens.formats.parts import ImagePart, OfferPart, ProductPart
from pocketlens.formats.state_hash import StateSum
from pocketlens.products import Image, Product
from pocketlens.store import database, rows
from pocketlens.store.facts import Origin, StoreFacts, to_rows
from pocketlens.store.postings import Postings

_BATCH = 4096  # rows that wait in memory, of each kind


@dataclass(frozen=True, slots=True)
class Contents:
    """What a store holds beside the texts of products and images.

    Attributes:
        image_keys: uint32 (n,), ascending: the images that were put.
        codes: int8 (n, dim), in their order. A memory map will do.
        lists: int32 (n,): the list of each image.
        centroids: float16 (k, dim).
        link_images, link_products: uint32 (m,): image m shows product m; in any order.
    """

    image_keys: npt.NDArray[np.uint32]
    codes: npt.NDArray[np.int8]
    lists: npt.NDArray[np.int32]
    centroids: npt.NDArray[np.float16]
    link_images: npt.NDArray[np.uint32]
    link_products: npt.NDArray[np.uint32]


class StoreWriter(Closing):
    """Writes one new store file; used by one thread, as a context manager."""

    def __init__(self, path: Path) -> None:
        """Makes the file `path`, which must not exist yet.

        Raises:
            StoreFull, StoreReadOnly: It cannot be written.
        """
        self._path = path
        self._connection = database.create(path)
        self._connection.execute("BEGIN")
        self._products: dict[int, Product] = {}
        self._images: dict[int, Image] = {}
        self._categories: dict[str, int] = {}
        self._category_names: list[str] = []

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def put_product(self, key: int, product: Product) -> None:
        """Writes a product, in the place of what was there under its key."""
        self._products[key] = product
        if len(self._products) >= _BATCH:
            self._flush()

    def put_image(self, key: int, image: Image) -> None:
        """Writes an image, in the place of what was there under its key."""
        self._images[key] = image
        if len(self._images) >= _BATCH:
            self._flush()

    def put_parts(
        self,
        products: Iterable[ProductPart] = (),
        offers: Iterable[OfferPart] = (),
        images: Iterable[ImagePart] = (),
    ) -> None:
        """Writes parts at once, each kind by itself; codes and products of images are left out.

        What is put so is not to be put by `put_product` or `put_image` too.
        """
        with database.errors(self._path):
            self._insert(
                "products",
                7,
                (rows.product_row(part, self._category(part.category)) for part in products),
            )
            self._insert("offers", 5, map(rows.offer_row, offers))
            self._insert(
                "images", 4, (rows.image_row(part.key, Image(part.id, part.url)) for part in images)
            )

    def product(self, key: int) -> Product:
        """A product that was put."""
        if key in self._products:
            return self._products[key]
        with database.errors(self._path):
            query = "SELECT * FROM products WHERE key = ?"
            product_row = self._connection.execute(query, (key,)).fetchone()
            query = "SELECT * FROM offers WHERE product_key = ?"
            offer_row = self._connection.execute(query, (key,)).fetchone()
        part = rows.read_product(product_row, self._category_names)
        return rows.product_of(part, rows.read_offer(offer_row))

    def image(self, key: int) -> Image:
        """An image that was put."""
        if key in self._images:
            return self._images[key]
        with database.errors(self._path):
            query = "SELECT * FROM images WHERE key = ?"
            return rows.read_image(self._connection.execute(query, (key,)).fetchone())

    def complete(self, contents: Contents, origin: Origin) -> StoreFacts:
        """Writes all the rest and makes the file durable; the writer is closed afterwards.

        Args:
            contents: Of every image that was put.
            origin: What the store says of where it came from.

        Returns:
            The store's facts, state hash among them.

        Raises:
            StoreFull: The disk has no room.
        """
        if len(contents.centroids) > rows.MAX_LISTS:
            raise CatalogError(
                f"Expected at most {rows.MAX_LISTS} lists. Received {len(contents.centroids)}."
            )
        self._flush()
        state = StateSum()
        with database.errors(self._path):
            self._write_lists(contents)
            self._write_images(contents, state)
            products, max_product_key, attribute_rows = self._write_products(state)
            facts = StoreFacts(
                **{each.name: getattr(origin, each.name) for each in fields(origin)},
                format=database.FORMAT,
                images=len(contents.image_keys),
                products=products,
                lists=len(contents.centroids),
                max_image_key=_last(contents.image_keys),
                max_product_key=max_product_key,
                categories=len(self._category_names),
                attribute_rows=attribute_rows,
                dim=contents.codes.shape[1],
                state_sum=state.value,
                state_hash=b"",
            )
            facts = replace(facts, state_hash=facts.digest(state.value))
            self._insert("facts", 3, to_rows(facts))
            self._connection.execute("COMMIT")
        database.finish(self._connection, self._path)
        return facts

    def _flush(self) -> None:
        products, offers = [], []
        for key, product in self._products.items():
            category = self._category(product.category)
            products.append(rows.product_row(rows.product_part(key, product), category))
            offers.append(rows.offer_row(rows.offer_part(key, product)))
        images = [rows.image_row(key, image) for key, image in self._images.items()]
        with database.errors(self._path):
            self._insert("products", 7, products)
            self._insert("offers", 5, offers)
            self._insert("images", 4, images)
        self._products.clear()
        self._images.clear()

    def _category(self, name: str) -> int:
        """The number of a category, a new one if it never was."""
        number = self._categories.setdefault(name, len(self._category_names))
        if number == len(self._category_names):
            self._category_names.append(name)
        return number

    def _insert(self, table: str, columns: int, new: Iterable[tuple[object, ...]]) -> None:
        marks = ",".join("?" * columns)
        statement = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"  # noqa: S608 # our names
        self._connection.executemany(statement, new)

    def _write_lists(self, contents: Contents) -> None:
        self._insert("codebook", 2, [(1, contents.centroids.astype("<f2").tobytes())])
        chunks = list_chunks(
            contents.image_keys, contents.codes, contents.lists, len(contents.centroids)
        )
        self._insert("list_chunks", 4, chunks)
        sizes = np.bincount(contents.lists, minlength=len(contents.centroids))
        self._insert("list_sizes", 3, map_chunks(sizes.astype("<u4")))
        lists = np.zeros(_last(contents.image_keys), "<u2")
        lists[contents.image_keys.astype(np.int64) - 1] = contents.lists
        self._insert("image_lists", 3, map_chunks(lists))

    def _write_images(self, contents: Contents, state: StateSum) -> None:
        counts, product_keys = _products_of_images(contents)
        ends = np.cumsum(counts, dtype=np.int64)
        self._insert("image_products", 4, _ragged_chunks(counts, ends, product_keys))
        codes, keys = np.asarray(contents.codes), product_keys.tolist()
        starts, stops = (ends - counts).tolist(), ends.tolist()
        images = self._connection.execute("SELECT key, id, url FROM images ORDER BY key")
        state.add(
            parts.encode_image(
                key, id_, url, keys[starts[key - 1] : stops[key - 1]], codes[row].tobytes()
            )
            for row, (key, id_, url) in enumerate(images)
        )
        lists = zip(contents.image_keys.tolist(), contents.lists.tolist(), strict=True)
        state.add(parts.encode_placement(key, number) for key, number in lists)

    def _write_products(self, state: StateSum) -> tuple[int, int, int]:
        """Adds the products' parts; their count, largest key, and count of rows of attributes."""
        names = self._category_names
        categories = [rows.category_row(number, name) for number, name in enumerate(names)]
        self._insert("categories", 3, categories)
        found = self._connection.execute("SELECT * FROM products ORDER BY key")
        numbers = array("I")  # of key 1, 2, ...; 0 where there is no product
        count = 0
        with Postings(self._path.with_suffix(".scratch")) as postings:
            for block in _product_blocks(found, names, numbers, postings):
                state.add(block)
                count += len(block)
            self._insert("attributes", 5, postings.rows())
        self._insert("product_categories", 3, map_chunks(np.array(numbers, "<u4")))
        offers = self._connection.execute("SELECT * FROM offers ORDER BY product_key")
        state.add(parts.encode(rows.read_offer(row)) for row in offers)
        (attribute_rows,) = self._connection.execute("SELECT count(*) FROM attributes").fetchone()
        return count, len(numbers), attribute_rows


def _product_blocks(
    found: Iterable[rows.ProductRow],
    categories: list[str],
    numbers: array[int],
    postings: Postings,
) -> Iterator[list[bytes]]:
    """Canonical bytes of products, while their category numbers and attributes are collected."""
    left = iter(found)
    while some := list(islice(left, _BATCH)):
        block = []
        for row in some:
            part = rows.read_product(row, categories)
            numbers.extend(repeat(0, part.key - 1 - len(numbers)))
            numbers.append(row[3])
            if part.attributes:
                postings.add(part)
            block.append(parts.encode_product(part))
        yield block


def _last(keys: npt.NDArray[np.uint32]) -> int:
    return int(keys[-1]) if len(keys) else 0


def list_chunks(
    image_keys: npt.NDArray[np.uint32],
    codes: npt.NDArray[np.int8],
    lists: npt.NDArray[np.int32],
    count: int,
) -> Iterator[rows.ChunkRow]:
    """Yields every chunk of every list.

    Args:
        image_keys: uint32 (n,), in any order.
        codes: int8 (n, dim), of them; may be mapped from a file.
        lists: int32 (n,), of them.
        count: Of the lists.
    """
    order = np.lexsort((image_keys, lists)).astype(np.uint32)
    bounds = np.searchsorted(lists[order], np.arange(count + 1))
    for number, (start, stop) in enumerate(pairwise(bounds.tolist())):
        members = order[start:stop]
        for chunk in range(max(1, -(-len(members) // rows.CHUNK_CODES))):
            some = members[chunk * rows.CHUNK_CODES : (chunk + 1) * rows.CHUNK_CODES]
            place = (number << rows.PLACE_BITS) + chunk
            yield rows.chunk_row(place, image_keys[some], codes[some])


def map_chunks(values: npt.NDArray[np.unsignedinteger]) -> Iterator[tuple[int | bytes, ...]]:
    """Yields the rows of a map whose key 1, 2, ... has the values (n,)."""
    for chunk, start in enumerate(range(0, len(values), rows.MAP_CHUNK)):
        blob = values[start : start + rows.MAP_CHUNK].tobytes()
        yield rows.map_row(chunk, blob)


def _ragged_chunks(
    counts: npt.NDArray[np.uint32], ends: npt.NDArray[np.int64], values: npt.NDArray[np.uint32]
) -> Iterator[tuple[int | bytes, ...]]:
    for chunk, start in enumerate(range(0, len(counts), rows.MAP_CHUNK)):
        some = counts[start : start + rows.MAP_CHUNK]
        first = int(ends[start]) - int(counts[start])
        blobs = some.tobytes(), values[first : first + int(some.sum())].tobytes()
        yield rows.map_row(chunk, *blobs)


def _products_of_images(
    contents: Contents,
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Number of products of each image, and their keys image by image, ascending."""
    pairs = contents.link_images.astype(np.uint64) << np.uint64(32) | contents.link_products
    pairs = np.unique(pairs)
    counts = np.bincount(
        (pairs >> np.uint64(32)).astype(np.int64) - 1, minlength=_last(contents.image_keys)
    )
    return counts.astype("<u4"), (pairs & np.uint64(0xFFFFFFFF)).astype("<u4")
