"""The tables of one store, by key or chunk by chunk: one connection that threads share.

One connection behind a lock, opened at once: per thread would open later, when the install may
be gone. Searches hardly read (lists are cached), so that threads do not wait for each other.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pocketlens.errors import StoreCorrupt, StoreError
from pocketlens.store import database, rows
from pocketlens.store.unlocked import Unlocked

Value = TypeVar("Value")

_AT_ONCE = 500  # keys a query; the oldest SQLite takes 999
_FETCHED = 4096  # rows in memory while a table is walked
LONG_LOG_BYTES = 4 << 20


class Tables:
    """Rows of a store's file, whole or not at all; a snapshot from the first read to `close`."""

    def __init__(self, path: Path, connection: database.Connection | None = None) -> None:
        """Opens the file.

        Args:
            path: Of it.
            connection: To it, in a transaction of the caller's, whose changes are seen and whose
                connection `close` leaves open; None opens one.

        Raises:
            StoreCorrupt, StoreTooNew: It is missing, damaged, or newer.
            StoreReadOnly: It cannot be read without writing beside it.
        """
        self._path, self._closed = path, False
        self._lock = threading.RLock()
        self._walks = 0
        self._is_borrowed = connection is not None
        self._unlocked: Unlocked | None = None
        if connection is not None:
            self._connection = connection
            return
        self._unlocked = Unlocked.of(path)
        self._connection = database.open_to_read(path, is_unlocked=self._unlocked is not None)
        self.query("BEGIN")

    def close(self) -> None:
        """Closes the file; closing again is no error."""
        with self._lock:
            self._closed = True
            if not self._is_borrowed:
                self._connection.close()

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        """All rows of a statement."""
        with self._reading():
            return self._connection.execute(statement, parameters).fetchall()

    def iterate(self, statement: str) -> Iterator[Any]:
        """Yields the rows of a statement, a bounded number in memory."""
        with self._reading():
            cursor = self._connection.execute(statement)
            self._walks += 1
        try:
            while True:
                with self._reading():
                    found = cursor.fetchmany(_FETCHED)
                if not found:
                    return
                yield from found
        finally:
            with self._lock:
                self._walks -= 1

    def let_log_be_emptied(self) -> None:
        """Copies the database's log back, if it is long, and reads the same rows without it.

        A log stays, and grows with every change, for as long as somebody reads from it.
        """
        if self._is_borrowed or self._unlocked is not None:
            return
        if database.log_size(self._path) < LONG_LOG_BYTES or not database.copy_log(self._path):
            return
        with self._lock, suppress(StoreError):
            fresh = database.open_to_read(self._path)
            try:
                with database.errors(self._path):
                    fresh.execute("BEGIN")
                    is_same = _facts(fresh) == _facts(self._connection)
                if is_same and not self._walks and not self._closed:
                    fresh, self._connection = self._connection, fresh
            finally:
                fresh.close()

    def by_key(
        self, table: str, column: str, keys: Sequence[int], read: Callable[[Any], Value]
    ) -> dict[int, Value]:
        """One row a key, each through `read`, in the order of `keys`.

        Raises:
            StoreCorrupt: A row is missing, or `read` says so.
        """
        found: dict[int, Value] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = [int(key) for key in keys[start : start + _AT_ONCE]]
            marks = ",".join("?" * len(some))
            statement = f"SELECT * FROM {table} WHERE {column} IN ({marks})"  # noqa: S608
            found.update((row[0], read(row)) for row in self.query(statement, some))
        missing = next((key for key in keys if key not in found), None)
        if missing is not None:
            raise self.corrupt(f"row {missing} of {table} is missing")
        return {int(key): found[key] for key in keys}

    def map(self, table: str, dtype: str, size: int) -> npt.NDArray[np.uint32]:
        """A whole map as uint32 (size,): entry i is that of key i + 1.

        Raises:
            StoreCorrupt: A chunk is damaged or missing.
        """
        blobs: list[bytes] = []
        for chunk, row in enumerate(self.iterate(f"SELECT * FROM {table} ORDER BY chunk")):  # noqa: S608
            blobs += rows.read_map(table, chunk, row)
        data = b"".join(blobs)
        if len(data) != size * np.dtype(dtype).itemsize:
            raise self.corrupt(f"a chunk of {table} is missing")
        return np.frombuffer(data, dtype).astype(np.uint32)

    def products_of_chunk(
        self, chunk: int
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """Counts and product keys of the images of one chunk.

        Raises:
            StoreCorrupt: It is damaged or missing.
        """
        found = self.query("SELECT * FROM image_products WHERE chunk = ?", (chunk,))
        if not found:
            raise self.corrupt(f"chunk {chunk} of image_products is missing")
        counts, product_keys = rows.read_map("image_products", chunk, found[0])
        return np.frombuffer(counts, "<u4"), np.frombuffer(product_keys, "<u4")

    def offers(self, count: int) -> rows.OfferColumns:
        """All offers at once; there are `count`.

        Raises:
            StoreCorrupt: One is damaged or missing.
        """
        table = np.empty((count, 5), np.int64)
        at = 0
        walk = self.iterate("SELECT * FROM offers ORDER BY product_key")
        with self._typed("offers"):
            while block := list(islice(walk, _FETCHED)):
                table[at : at + len(block)] = block
                at += len(block)
        if at != count:
            raise self.corrupt("an offer is missing")
        return rows.read_offers(table)

    def corrupt(self, what: str) -> StoreCorrupt:
        """The error that `what` is wrong in this file."""
        return StoreCorrupt(f"In the store's database {self._path} {what}. {database.MEND}")

    @contextmanager
    def _typed(self, what: str) -> Iterator[None]:
        try:
            yield
        except (TypeError, ValueError, OverflowError) as exc:
            raise self.corrupt(f"{what} are damaged") from exc

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, database.errors(self._path):
            if self._closed:
                raise StoreError("The store was closed. Open it again.")
            yield
            if self._unlocked is not None:
                self._unlocked.check()


def _facts(connection: database.Connection) -> list[Any]:
    """Its version and state hash among them."""
    return connection.execute("SELECT * FROM facts ORDER BY name").fetchall()
