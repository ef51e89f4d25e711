"""Revisions of fields: what a backend says of an item later is newer, whatever comes first.

known = revisions.of(PRODUCT, key)          # FieldRevisions; 0 where none was told
revisions.put(PRODUCT, key, replace(known, price=7))
revisions.put_attributes(key, {"colour": 7})  # those that were told one by one
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

MAX_REVISION = 2**62  # what SQLite can compare


@dataclass(frozen=True, slots=True)
class FieldRevisions:
    """The newest revision of each field of an item.

    Attributes:
        whole: Of what said all of it, or that it is not there.
        price, stock: Of a product.
    """

    whole: int = 0
    price: int = 0
    stock: int = 0


class Revisions:
    """The table of ingest.sql in one database; transactions are the caller's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def of(self, kind: int, key: int) -> FieldRevisions:
        """The revisions of an item; all 0 where none was told."""
        query = "SELECT whole, price, stock FROM revisions WHERE kind = ? AND key = ?"
        found = self._connection.execute(query, (kind, key)).fetchone()
        return FieldRevisions() if found is None else FieldRevisions(*found)

    def put(self, kind: int, key: int, revisions: FieldRevisions) -> None:
        """Keeps them, in the place of those before."""
        self._connection.execute(
            "INSERT OR REPLACE INTO revisions VALUES (?, ?, ?, ?, ?)",
            (kind, key, revisions.whole, revisions.price, revisions.stock),
        )

    def attributes(self, key: int) -> dict[str, int]:
        """The revisions of attributes of a product that were told one by one."""
        query = "SELECT name, revision FROM attribute_revisions WHERE key = ?"
        return dict(self._connection.execute(query, (key,)))

    def put_attributes(self, key: int, revisions: Mapping[str, int]) -> None:
        """Keeps revisions of attributes that were told one by one."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO attribute_revisions VALUES (?, ?, ?)",
            ((key, name, revision) for name, revision in revisions.items()),
        )

    def forget_attributes(self, key: int, until: int) -> None:
        """Forgets those up to a revision, of what told all of them."""
        self._connection.execute(
            "DELETE FROM attribute_revisions WHERE key = ? AND revision <= ?", (key, until)
        )
