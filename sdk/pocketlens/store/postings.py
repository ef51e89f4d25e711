"""The products of each attribute's value, sorted in a file beside the store.

There may be as many values as products, so that they are not held in memory.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from pocketlens.closing import Closing
from pocketlens.formats.parts import ProductPart
from pocketlens.store import database, rows

_BATCH = 4096  # triples that wait in memory


class Postings(Closing):
    """Takes products, gives rows of the table `attributes`; used by one thread, as a context."""

    def __init__(self, path: Path) -> None:
        """Makes the file `path` to sort in; it is gone when the context is left."""
        self._path = path
        self._pending: list[tuple[str, str, int]] = []
        self._connection = database.create_scratch(
            path,
            "CREATE TABLE attributes (name TEXT, value TEXT, product_key INTEGER,"
            " PRIMARY KEY (name, value, product_key)) WITHOUT ROWID",
        )

    def close(self) -> None:
        """Drops the file."""
        self._connection.close()
        self._path.unlink(missing_ok=True)

    def add(self, part: ProductPart) -> None:
        """Takes the attributes of a product."""
        self._pending += [(name, value, part.key) for name, value in part.attributes.items()]
        if len(self._pending) >= _BATCH:
            self._flush()

    def rows(self) -> Iterator[rows.AttributeRow]:
        """Rows of the table `attributes`, in the order of its primary key."""
        self._flush()
        query = "SELECT name, value, product_key FROM attributes ORDER BY name, value, product_key"
        for (name, value), group in groupby(self._connection.execute(query), itemgetter(0, 1)):
            keys = np.fromiter(map(itemgetter(2), group), "<u4")
            for chunk, start in enumerate(range(0, len(keys), rows.MAP_CHUNK)):
                blob = keys[start : start + rows.MAP_CHUNK].tobytes()
                yield rows.attribute_row(name, value, chunk, blob)

    def _flush(self) -> None:
        self._connection.executemany("INSERT INTO attributes VALUES (?, ?, ?)", self._pending)
        self._pending.clear()
