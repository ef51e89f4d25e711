"""What filters read, categories and attributes: changes wait, then each row is edited once."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from pocketlens.errors import StoreCorrupt
from pocketlens.store import chunks, database, rows
from pocketlens.store.applying.maps import CategoryMap


class Categories:
    """Names of categories by their number, and the number of each product that changed."""

    def __init__(self, connection: database.Connection, count: int) -> None:
        self._connection = connection
        found = connection.execute("SELECT * FROM categories ORDER BY number").fetchall()
        if len(found) != count:
            raise StoreCorrupt(f"A category is missing. {database.MEND}")
        self.names = [rows.read_category(number, row) for number, row in enumerate(found)]
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self._known = count
        self._of_products: dict[int, int] = {}

    def number(self, product_key: int, name: str) -> int:
        """The number of a category, which is the product's from now on."""
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        self._of_products[product_key] = number
        return number

    def write(self, max_product_key: int, known_key: int) -> None:
        """Writes new names, and the numbers of products.

        Args:
            max_product_key: Largest product key from now on.
            known_key: Largest before.
        """
        new = range(self._known, len(self.names))
        database.put_rows(
            self._connection,
            "categories",
            (rows.category_row(number, self.names[number]) for number in new),
        )
        numbers = CategoryMap(self._connection, known_key)
        for key, number in self._of_products.items():
            numbers.put(key, number)
        numbers.write(max_product_key)


class Postings:
    """The products of each attribute's value: changes wait, then each value is edited once.

    Attributes:
        rows: Of the table.
    """

    def __init__(self, connection: database.Connection, count: int) -> None:
        self._connection, self.rows = connection, count
        self._removed: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._added: dict[tuple[str, str], set[int]] = defaultdict(set)

    def change(
        self,
        product_key: int,
        before: Iterable[tuple[str, str]],
        after: Iterable[tuple[str, str]],
    ) -> None:
        """Takes what a product had and what it has from now on."""
        old, new = set(before), set(after)
        for pair in old - new:
            self._removed[pair].add(product_key)
        for pair in new - old:
            self._added[pair].add(product_key)

    def write(self) -> None:
        """Writes the rows of every value that changed."""
        for name, value in sorted(self._removed.keys() | self._added.keys()):
            pair = name, value
            self._edit(name, value, self._removed[pair], self._added[pair])

    def _edit(self, name: str, value: str, removed: set[int], added: set[int]) -> None:
        found = self._connection.execute(
            "SELECT * FROM attributes WHERE name = ? AND value = ? ORDER BY chunk", (name, value)
        ).fetchall()
        for row in found:
            rows.check_attribute(row)
        old = [np.frombuffer(row[3], "<u4") for row in found]
        keys = np.concatenate(old) if old else np.zeros(0, "<u4")
        gone, come = (np.array(sorted(each), "<u4") for each in (removed - added, added - removed))
        kept = np.sort(np.concatenate([keys[~np.isin(keys, gone)], come]))
        sizes = np.array([len(each) for each in old], np.int64)
        new_sizes = chunks.resized(keys, sizes, gone, come, rows.MAP_CHUNK)
        new_sizes = new_sizes[: len(new_sizes) if len(kept) else 0]
        stops = np.cumsum(new_sizes).tolist()
        put = [
            rows.attribute_row(name, value, chunk, kept[start:stop].tobytes())
            for chunk, (start, stop) in enumerate(pairwise([0, *stops]))
            if chunk >= len(old) or not np.array_equal(kept[start:stop], old[chunk])
        ]
        database.put_rows(self._connection, "attributes", put)
        if len(stops) < len(found):
            self._connection.execute(
                "DELETE FROM attributes WHERE name = ? AND value = ? AND chunk >= ?",
                (name, value, len(stops)),
            )
        self.rows += len(stops) - len(found)
