"""Reads the store of one install: facts, codebook, lists, images, products, columns for filters.

    with Reader.open(Path("shop/")) as reader:
        keys, codes = reader.read_list(0)

Everything is checked against its checksum before it is handed out: a damaged store raises
`StoreCorrupt`, it does not answer. Thread-safe: one connection behind a lock, opened at once, so
that a reader goes on when its install is replaced and removed. It sees one snapshot until it is
closed. It never writes, and opens from a read-only folder.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from pocketlens.closing import Closing
from pocketlens.errors import StoreCorrupt, StoreNotFound
from pocketlens.formats.parts import ProductPart
from pocketlens.product_columns import ProductColumns
from pocketlens.products import Image, Product
from pocketlens.store import database, installs, rows
from pocketlens.store.facts import StoreFacts, from_rows
from pocketlens.store.tables import Tables
from pocketlens.store.thumbnails import Thumbnails

_IDS_AT_ONCE = 500  # the oldest SQLite takes 999


def facts_of(install: Path) -> StoreFacts:
    """What an install says of itself now; a reader that is open stays at its own.

    Raises:
        StoreCorrupt: The database is damaged or missing.
    """
    tables = Tables(install / database.FILE_NAME)
    try:
        return from_rows(tables.query("SELECT * FROM facts"))
    finally:
        tables.close()


class Reader(Closing):
    """One consistent view of a store."""

    def __init__(
        self, directory: Path, install: Path, connection: database.Connection | None = None
    ) -> None:
        """Opens `install`, a folder inside the store `directory`: see `open`.

        Args:
            directory: Of the store.
            install: Its folder.
            connection: In a transaction of the caller's, to read what it changed; None opens one.
        """
        self.directory, self.install = directory, install
        self._lock = threading.RLock()
        self._tables = Tables(install / database.FILE_NAME, connection)
        try:
            self.facts: StoreFacts = from_rows(self._tables.query("SELECT * FROM facts"))
        except BaseException:
            self.close()
            raise
        self.thumbnails = Thumbnails(install, self.facts.thumbnail_packs)
        self._sizes: npt.NDArray[np.uint32] | None = None
        self._lists: npt.NDArray[np.uint32] | None = None
        self._columns: ProductColumns | None = None
        self._links: tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]] | None = None
        self._categories: tuple[str, ...] | None = None
        self._attributes_checked = False

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Opens the install that `directory`/CURRENT names.

        Raises:
            StoreNotFound: There is no store.
            StoreCorrupt: A file of it is damaged or missing.
            StoreTooNew: It was written by a newer PocketLens.
        """
        install = installs.current(directory)
        try:
            return cls(directory, install)
        except (StoreCorrupt, StoreNotFound):
            if installs.current(directory) == install:
                raise
        return cls.open(directory)  # another took its place in between, and it was removed

    def close(self) -> None:
        """Closes the database; closing again is no error.

        Files of thumbnails stay open for as long as somebody holds `thumbnails`.
        """
        self._tables.close()
        self.thumbnails = _NO_THUMBNAILS

    def let_log_be_emptied(self) -> None:
        """See `Tables`; what is read stays the same."""
        self._tables.let_log_be_emptied()

    @property
    def bundle_path(self) -> Path:
        """The bundle that the codes were made with; to be hashed when it is loaded."""
        return installs.bundle_path(self.directory, self.facts.bundle_sha256)

    @property
    def codebook_cache(self) -> Path | None:
        """Where an index over the centroids may be kept; None in a store not to be written to."""
        folder = self.directory / "cache"
        if not os.access(folder, os.W_OK):
            return None
        return folder / f"codebook-{self.facts.codebook_sha256.hex()}.ann"

    def centroids(self) -> npt.NDArray[np.float16]:
        """float16 (lists, dim), as hashed.

        Raises:
            StoreCorrupt: They are missing, cut or changed.
        """
        found = self._tables.query("SELECT centroids FROM codebook WHERE number = 1")
        shape = (self.facts.lists, self.facts.dim)
        data = found[0][0] if found else b""
        head = struct.pack("<II", *shape)
        if not isinstance(data, bytes) or _sha256(head + data) != self.facts.codebook_sha256:
            raise self._tables.corrupt("the codebook is damaged")
        return np.frombuffer(data, "<f2").reshape(shape)

    def read_list(self, number: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int8]]:
        """Image keys, uint32 (n,) ascending, and codes, int8 (n, dim), of list 0 to lists - 1.

        Raises:
            StoreCorrupt: A chunk of it is damaged or missing.
        """
        with self._lock:
            if self._sizes is None:
                self._sizes = self._tables.map("list_sizes", "<u4", self.facts.lists)
        place = number << rows.PLACE_BITS
        found = self._tables.query(
            "SELECT * FROM list_chunks WHERE place >= ? AND place < ? ORDER BY place",
            (place, (number + 1) << rows.PLACE_BITS),
        )
        size = int(self._sizes[number]) if number < len(self._sizes) else 0
        return rows.read_chunks(place, found, size, self.facts.dim)

    def lists_of(self, image_keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """The list of each image, uint32 (n,); the whole map is read once, 2 bytes an image."""
        with self._lock:
            if self._lists is None:
                self._lists = self._tables.map("image_lists", "<u2", self.facts.max_image_key)
        return self._lists[image_keys.astype(np.int64) - 1]

    def codes_of(self, image_keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.int8]:
        """Codes int8 (n, dim) of images, in the order asked for; reads the lists they are in.

        Raises:
            StoreCorrupt: A list is damaged, or an image is not where the map says.
        """
        codes = np.empty((len(image_keys), self.facts.dim), np.int8)
        lists = self.lists_of(image_keys)
        for number in np.unique(lists).tolist():
            asked = np.flatnonzero(lists == number)
            keys, list_codes = self.read_list(number)
            places = np.searchsorted(keys, image_keys[asked])
            if not np.array_equal(keys[np.minimum(places, len(keys) - 1)], image_keys[asked]):
                raise self._tables.corrupt(f"list {number} lacks an image")
            codes[asked] = list_codes[places]
        return codes

    def images(self, keys: Sequence[int]) -> dict[int, tuple[Image, tuple[int, ...]]]:
        """Images by key, each with the keys of its products, ascending.

        Raises:
            StoreCorrupt: A row is damaged or missing.
        """
        images = self.images_only(keys)
        of_images = self._products_of(keys)
        return {key: (image, of_images[key]) for key, image in images.items()}

    def images_only(self, keys: Sequence[int]) -> dict[int, Image]:
        """Images by key, without their products.

        Raises:
            StoreCorrupt: A row is damaged or missing.
        """
        return self._tables.by_key("images", "key", keys, rows.read_image)

    def products(self, keys: Sequence[int]) -> dict[int, Product]:
        """Products by key.

        Raises:
            StoreCorrupt: A row is damaged or missing.
        """
        parts = self.product_parts(keys)
        offers = self._tables.by_key("offers", "product_key", keys, rows.read_offer)
        return {part.key: rows.product_of(part, offers[part.key]) for part in parts}

    def product_parts(self, keys: Sequence[int]) -> list[ProductPart]:
        """Products without their offers, in the order of their keys as asked for.

        Raises:
            StoreCorrupt: A row is damaged or missing.
        """
        names = self.categories()
        found = self._tables.by_key(
            "products", "key", keys, lambda row: rows.read_product(row, names)
        )
        return list(found.values())

    def product_checksums(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """Key and checksum, uint32 (n,) each, of every row of `products`; the rows are not checked.

        What was made of a row with the same two was made of the same row.
        """
        found = self._tables.query("SELECT key, checksum FROM products ORDER BY key")
        table = np.array(found, np.int64).reshape(-1, 2).astype(np.uint32)
        return table[:, 0].copy(), table[:, 1].copy()

    def product_keys(self, ids: Sequence[str]) -> dict[str, int]:
        """Keys of products by their ids, of those that there are.

        There is no index of ids, since searches need none: every row is looked at.
        """
        return self._keys_of("products", ids)

    def image_keys(self, ids: Sequence[str]) -> dict[str, int]:
        """Keys of images, as `product_keys` those of products."""
        return self._keys_of("images", ids)

    def _keys_of(self, table: Literal["products", "images"], ids: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        ids = [each for each in ids if each.encode(errors="ignore").decode() == each]  # as UTF-8
        for start in range(0, len(ids), _IDS_AT_ONCE):
            some = ids[start : start + _IDS_AT_ONCE]
            marks = ",".join("?" * len(some))
            statement = f"SELECT id, key FROM {table} WHERE id IN ({marks})"  # noqa: S608
            found.update(self._tables.query(statement, some))
        return found

    def links(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """All pairs of image key and product key, uint32 (m,) each, ascending; read once, kept."""
        with self._lock:
            if self._links is None:
                chunks = [self._tables.products_of_chunk(chunk) for chunk in self._map_chunks()]
                nothing = np.zeros(0, np.uint32)  # a catalogue may be empty
                counts = np.concatenate([nothing, *(each for each, _ in chunks)])
                images = np.repeat(np.arange(1, len(counts) + 1, dtype=np.uint32), counts)
                self._links = images, np.concatenate([nothing, *(each for _, each in chunks)])
            return self._links

    def categories(self) -> tuple[str, ...]:
        """Names of categories by their number; read once, kept."""
        with self._lock:
            if self._categories is None:
                found = self._tables.query("SELECT * FROM categories ORDER BY number")
                if len(found) != self.facts.categories:
                    raise self._tables.corrupt("a category is missing")
                self._categories = tuple(rows.read_category(n, row) for n, row in enumerate(found))
            return self._categories

    def columns(self) -> ProductColumns:
        """Columns of all products for filters; read once, kept: 28 bytes a product and 8 a link.

        Raises:
            StoreCorrupt: A row is damaged or missing.
        """
        with self._lock:
            if self._columns is None:
                names = self.categories()
                numbers = self._tables.map("product_categories", "<u4", self.facts.max_product_key)
                offers = self._tables.offers(self.facts.products)
                if len(offers.keys) and (
                    offers.keys[-1] > len(numbers) or numbers[offers.keys - 1].max() >= len(names)
                ):
                    raise self._tables.corrupt("the category of a product is missing")
                self._columns = ProductColumns(
                    keys=offers.keys.astype(np.uint32),
                    categories=numbers[offers.keys - 1].astype(np.int32),
                    category_names=names,
                    prices=offers.price.copy(),  # out of the table of all columns
                    currencies=offers.currency.astype(np.int32),
                    stock=offers.stock.copy(),
                    link_image_keys=self.links()[0],
                    link_product_keys=self.links()[1],
                )
            return self._columns

    def products_with(self, name: str, value: str) -> npt.NDArray[np.uint32]:
        """Keys, uint32 ascending, of the products whose attribute `name` is `value`.

        The first call checks every row of the table once: that no row was found is an answer only
        then.

        Raises:
            StoreCorrupt: A row is damaged.
        """
        with self._lock:
            if not self._attributes_checked:
                for _ in self.attributes():
                    pass
                self._attributes_checked = True
        query = "SELECT product_keys FROM attributes WHERE name = ? AND value = ? ORDER BY chunk"
        return np.frombuffer(
            b"".join([row[0] for row in self._tables.query(query, (name, value))]), "<u4"
        )

    def attributes(self) -> Iterator[tuple[str, str, npt.NDArray[np.uint32]]]:
        """Yields every row of the table `attributes`, checked, in the order of its key."""
        before: tuple[bytes, bytes, int] = (b"", b"", -1)
        count = 0
        walk = self._tables.iterate("SELECT * FROM attributes ORDER BY name, value, chunk")
        for row in walk:
            rows.check_attribute(row)
            name, value, chunk, keys, _ = row
            here = (name.encode(), value.encode(), chunk)
            if here <= before:
                raise self._tables.corrupt("attributes are out of order")
            before, count = here, count + 1
            yield name, value, np.frombuffer(keys, "<u4")
        if count != self.facts.attribute_rows:
            raise self._tables.corrupt("an attribute is missing")

    def integrity_problems(self) -> list[str]:
        """What SQLite itself finds wrong with the file: one text each."""
        found = [str(row[0]) for row in self._tables.query("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    def _map_chunks(self) -> range:
        return range(-(-self.facts.max_image_key // rows.MAP_CHUNK))

    def _products_of(self, image_keys: Iterable[int]) -> dict[int, tuple[int, ...]]:
        """Product keys of images: only the chunks that hold them are read, if any must be."""
        found: dict[int, tuple[int, ...]] = {}
        if self._links is not None:
            wanted = np.array(list(image_keys), np.uint32)
            starts, stops = (np.searchsorted(self._links[0], wanted, side) for side in _SIDES)
            return {
                key: tuple(self._links[1][start:stop].tolist())
                for key, start, stop in zip(wanted.tolist(), starts, stops, strict=True)
            }
        by_chunk: dict[int, list[int]] = {}
        for key in image_keys:
            by_chunk.setdefault((int(key) - 1) // rows.MAP_CHUNK, []).append(int(key))
        for chunk, keys in by_chunk.items():
            counts, product_keys = self._tables.products_of_chunk(chunk)
            ends = np.cumsum(counts, dtype=np.int64)
            for key in keys:
                place = key - 1 - chunk * rows.MAP_CHUNK
                if place >= len(counts):
                    raise self._tables.corrupt(f"image {key} is missing")
                mine = product_keys[ends[place] - counts[place] : ends[place]]
                found[key] = tuple(mine.tolist())
        return found


_NO_THUMBNAILS = Thumbnails(Path(), ())
_SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
