"""Maps of keys in chunks: some chunks read, changed, and written again."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlens.errors import StoreCorrupt
from pocketlens.store import database, rows


class _Map:
    """Some chunks of a map, read when asked for, written when changed."""

    table: str

    def __init__(self, connection: database.Connection, known: int) -> None:
        self._connection, self._known = connection, known
        self._changed: set[int] = set()

    def _blobs(self, chunk: int) -> tuple[bytes, ...] | None:
        """None for a chunk beyond all keys."""
        if chunk * rows.MAP_CHUNK >= self._known:
            return None
        statement = f"SELECT * FROM {self.table} WHERE chunk = ?"  # noqa: S608 # our names
        found = self._connection.execute(statement, (chunk,)).fetchall()
        if not found:
            raise StoreCorrupt(f"Chunk {chunk} of {self.table} is missing. {database.MEND}")
        return rows.read_map(self.table, chunk, found[0])

    def _to_write(self, max_key: int) -> Iterator[tuple[int, int]]:
        """Chunks that changed or grew, with their sizes."""
        grown: Iterable[int] = ()
        if max_key > self._known:
            last = max(0, self._known - 1) // rows.MAP_CHUNK
            grown = range(last, (max_key - 1) // rows.MAP_CHUNK + 1)
        for chunk in sorted(self._changed.union(grown)):
            yield chunk, min(rows.MAP_CHUNK, max_key - chunk * rows.MAP_CHUNK)


class NumberMap(_Map):
    """A number for each key; 0 where there is nothing under a key."""

    dtype: str

    def __init__(self, connection: database.Connection, known: int) -> None:
        super().__init__(connection, known)
        self._chunks: dict[int, npt.NDArray[Any]] = {}

    def of(self, key: int) -> int:
        """The number of a key."""
        chunk, place = divmod(key - 1, rows.MAP_CHUNK)
        return int(self._chunk(chunk)[place])

    def put(self, key: int, number: int) -> None:
        """Changes the number of a key."""
        chunk, place = divmod(key - 1, rows.MAP_CHUNK)
        self._chunk(chunk)[place] = number
        self._changed.add(chunk)

    def write(self, max_key: int) -> None:
        """Writes what changed, and what is new up to the largest key."""
        database.put_rows(
            self._connection,
            self.table,
            (
                rows.map_row(chunk, self._chunk(chunk)[:size].tobytes())
                for chunk, size in self._to_write(max_key)
            ),
        )

    def _chunk(self, chunk: int) -> npt.NDArray[Any]:
        if chunk not in self._chunks:
            numbers = np.zeros(rows.MAP_CHUNK, self.dtype)
            blobs = self._blobs(chunk)
            if blobs is not None:
                found = np.frombuffer(blobs[0], self.dtype)
                numbers[: len(found)] = found
            self._chunks[chunk] = numbers
        return self._chunks[chunk]


class SizeMap(NumberMap):
    """The codes in each list; list l has key l + 1."""

    table, dtype = "list_sizes", "<u4"


class ListMap(NumberMap):
    """The list of each image."""

    table, dtype = "image_lists", "<u2"


class CategoryMap(NumberMap):
    """The category of each product."""

    table, dtype = "product_categories", "<u4"


class Links(_Map):
    """The products of each image."""

    table = "image_products"

    def __init__(self, connection: database.Connection, known: int) -> None:
        super().__init__(connection, known)
        self._chunks: dict[int, list[tuple[int, ...]]] = {}

    def of(self, key: int) -> tuple[int, ...]:
        """Ascending product keys; none where there is no image."""
        chunk, place = divmod(key - 1, rows.MAP_CHUNK)
        return self._chunk(chunk)[place]

    def put(self, key: int, product_keys: tuple[int, ...]) -> None:
        """Changes the products of an image; none where it goes."""
        chunk, place = divmod(key - 1, rows.MAP_CHUNK)
        self._chunk(chunk)[place] = product_keys
        self._changed.add(chunk)

    def write(self, max_key: int) -> None:
        """Writes what changed, and what is new up to the largest key."""
        database.put_rows(
            self._connection, self.table, (self._row(*each) for each in self._to_write(max_key))
        )

    def _row(self, chunk: int, size: int) -> tuple[int | bytes, ...]:
        products = self._chunk(chunk)[:size]
        counts = np.array([len(each) for each in products], "<u4")
        keys = np.array([key for each in products for key in each], "<u4")
        return rows.map_row(chunk, counts.tobytes(), keys.tobytes())

    def _chunk(self, chunk: int) -> list[tuple[int, ...]]:
        if chunk not in self._chunks:
            products: list[tuple[int, ...]] = [()] * rows.MAP_CHUNK
            blobs = self._blobs(chunk)
            if blobs is not None:
                counts, keys = (np.frombuffer(blob, "<u4") for blob in blobs)
                flat = keys.tolist()
                stops = np.cumsum(counts, dtype=np.int64).tolist()
                products[: len(counts)] = [tuple(flat[a:b]) for a, b in pairwise([0, *stops])]
            self._chunks[chunk] = products
        return self._chunks[chunk]
