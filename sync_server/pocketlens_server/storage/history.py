"""A catalogue's values through its versions: what holds, what held, what waits to be published.

    history.put(PRODUCT, key, value)          # waits, for version head + 1
    history.publish(as_of)                    # now head
    history.begun_since(PRODUCT, base)        # what a delta from `base` must say,
    history.ended_since(PRODUCT, base)        # and what it must delete

A value that is put back before it was published leaves no trace; a rollback is made of changes that
wait, under the old keys. Everything happens inside the caller's transaction.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources

from pocketlens.formats import parts

PRODUCT, OFFER, IMAGE = parts.TAG_PRODUCT, parts.TAG_OFFER, parts.TAG_IMAGE
HOLDS = 1 << 62
_RECENT = 64  # versions: of what began in fewer, most holds still
_FIRST_PLACEMENT = 1000  # kinds above are placements, one kind a generation


def placement_kind(generation: int) -> int:
    """Kind of the placements of a generation, which is numbered from 1."""
    return _FIRST_PLACEMENT + generation


class History:
    """The tables of history.sql in one database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Takes a connection to a database that `create` made; transactions are the caller's."""
        self._connection = connection

    @staticmethod
    def create(connection: sqlite3.Connection) -> None:
        """Makes the tables in an empty database."""
        schema = resources.files("pocketlens_server.storage").joinpath("history.sql")
        connection.executescript(schema.read_text("utf-8"))

    @property
    def head(self) -> int:
        """The version that was published last; 0 before the first."""
        query = "SELECT coalesce(max(version), 0) FROM versions"
        return int(self._connection.execute(query).fetchone()[0])

    def key(self, kind: int, id_: str) -> int:
        """The key of an id, for ever; a new one for an id that never was."""
        found = self.known_key(kind, id_)
        if found is not None:
            return found
        query = "SELECT coalesce(max(key), 0) + 1 FROM keys WHERE kind = ?"
        (key,) = self._connection.execute(query, (kind,)).fetchone()
        self._connection.execute("INSERT INTO keys VALUES (?, ?, ?)", (kind, id_, key))
        return int(key)

    def known_key(self, kind: int, id_: str) -> int | None:
        """The key of an id; None for one that never was."""
        query = "SELECT key FROM keys WHERE kind = ? AND id = ?"
        found = self._connection.execute(query, (kind, id_)).fetchone()
        return None if found is None else int(found[0])

    def ids(self, kind: int) -> list[str]:
        """Ids under which something holds with all that waits, by key."""
        found = self._connection.execute(
            "SELECT id FROM keys JOIN history USING (kind, key) WHERE kind = ? AND valid_to = ?"
            " ORDER BY key",
            (kind, HOLDS),
        )
        return [id_ for (id_,) in found]

    def waiting(self, kind: int) -> int:
        """How many values begin or end with the next version."""
        coming = self.head + 1
        query = (
            "SELECT count(*) FROM (SELECT key FROM history WHERE kind = ? AND valid_from = ?"
            " UNION SELECT key FROM history WHERE kind = ? AND valid_to = ?)"
        )
        parameters = (kind, coming, kind, coming)
        return int(self._connection.execute(query, parameters).fetchone()[0])

    def value(self, kind: int, key: int, version: int | None = None) -> bytes | None:
        """The value at a version, or with all that waits; None where there is none."""
        at = HOLDS - 1 if version is None else version
        found = self._connection.execute(
            "SELECT value FROM history WHERE kind = ? AND key = ? AND valid_from <= ?"
            " AND valid_to > ?",
            (kind, key, at, at),
        ).fetchone()
        return None if found is None else bytes(found[0])

    def values(self, kind: int, version: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yields every key and value at a version, or with all that waits, by ascending key."""
        at = HOLDS - 1 if version is None else version
        yield from self._connection.execute(
            "SELECT key, value FROM history WHERE kind = ? AND valid_from <= ? AND valid_to > ?"
            " ORDER BY key",
            (kind, at, at),
        )

    def count(self, kind: int, version: int | None = None) -> int:
        """How many keys have a value at a version, or with all that waits."""
        at = HOLDS - 1 if version is None else version
        query = "SELECT count(*) FROM history WHERE kind = ? AND valid_from <= ? AND valid_to > ?"
        return int(self._connection.execute(query, (kind, at, at)).fetchone()[0])

    def keys(self, kind: int) -> set[int]:
        """Keys that have a value with all that waits."""
        query = "SELECT key FROM history WHERE kind = ? AND valid_to = ?"
        return {key for (key,) in self._connection.execute(query, (kind, HOLDS))}

    def put(self, kind: int, key: int, value: bytes) -> bool:
        """Lets a value hold from the next version on; says whether that changes anything."""
        if self.value(kind, key) == value:
            return False
        self._forget_waiting(kind, key)
        if self.value(kind, key) == value:  # as it was published
            return True
        coming = self.head + 1
        self._end(kind, key, coming)
        self._connection.execute(
            "INSERT INTO history VALUES (?, ?, ?, ?, ?)", (kind, key, coming, HOLDS, value)
        )
        return True

    def delete(self, kind: int, key: int) -> bool:
        """Lets nothing hold from the next version on; says whether that changes anything."""
        if self.value(kind, key) is None:
            return False
        self._forget_waiting(kind, key)
        self._end(kind, key, self.head + 1)
        return True

    def link(self, image_key: int, product_keys: Iterable[int]) -> None:
        """Remembers which products an image shows with all that waits."""
        self._connection.execute("DELETE FROM links WHERE image_key = ?", (image_key,))
        self._connection.executemany(
            "INSERT INTO links VALUES (?, ?)", ((key, image_key) for key in product_keys)
        )

    def relink(self, shown: Iterable[tuple[int, Iterable[int]]]) -> None:
        """Forgets all that `link` was told and takes every image and its products anew."""
        self._connection.execute("DELETE FROM links")
        self._connection.executemany(
            "INSERT INTO links VALUES (?, ?)",
            ((product, image) for image, products in shown for product in products),
        )

    def images_of(self, product_key: int) -> list[int]:
        """Keys of the images that show a product with all that waits, ascending."""
        found = self._connection.execute(
            "SELECT image_key FROM links WHERE product_key = ? ORDER BY image_key", (product_key,)
        )
        return [key for (key,) in found]

    def publish(self, as_of: datetime) -> int:
        """Makes a version of all that waits; its number."""
        version = self.head + 1
        self._connection.execute(
            "INSERT INTO versions VALUES (?, ?)",
            (version, (as_of - _EPOCH) // timedelta(microseconds=1)),
        )
        return version

    def as_of(self, version: int) -> datetime:
        """When a version was published.

        Raises:
            KeyError: It was not.
        """
        query = "SELECT as_of FROM versions WHERE version = ?"
        found = self._connection.execute(query, (version,)).fetchone()
        if found is None:
            raise KeyError(version)
        return _EPOCH + timedelta(microseconds=found[0])

    def begun_since(self, kind: int, base: int) -> Iterator[tuple[int, bytes]]:
        """Yields what began to hold after version `base` and holds now, by ascending key."""
        # Left alone, SQLite walks every version of every key, in the order that is asked for.
        index = "history_begun" if base > 0 and self.head - base <= _RECENT else "history_ended"
        yield from self._connection.execute(
            f"SELECT key, value FROM history INDEXED BY {index} WHERE kind = ?"  # noqa: S608 # ours
            " AND valid_from > ? AND valid_to = ? ORDER BY key",
            (kind, base, HOLDS),
        )

    def ended_since(self, kind: int, base: int) -> list[int]:
        """Keys of which a value ended after version `base` and none holds now, ascending."""
        found = self._connection.execute(
            "SELECT DISTINCT key FROM history AS ended WHERE kind = ? AND valid_to > ?"
            " AND valid_to < ? AND NOT EXISTS (SELECT 1 FROM history WHERE kind = ended.kind"
            " AND key = ended.key AND valid_to = ?) ORDER BY key",
            (kind, base, HOLDS, HOLDS),
        )
        return [key for (key,) in found]

    def restore(self, kind: int, version: int) -> int:
        """Lets the values of an earlier version hold again from the next on; how many change."""
        begun = [key for key, _ in self.begun_since(kind, version)]
        changed = 0
        for key in sorted([*begun, *self.ended_since(kind, version)]):
            value = self.value(kind, key, version)
            if value is None:
                changed += self.delete(kind, key)
            else:
                changed += self.put(kind, key, value)
        return changed

    def forget(self, kind: int) -> None:
        """Forgets every value of a kind, as if none had ever been."""
        self._connection.execute("DELETE FROM history WHERE kind = ?", (kind,))

    def ever(self, kind: int) -> Iterator[bytes]:
        """Yields every value that is known, those that ended too."""
        for (value,) in self._connection.execute(
            "SELECT value FROM history WHERE kind = ?", (kind,)
        ):
            yield value

    def forget_versions(self, oldest: int) -> None:
        """Forgets when versions before `oldest` were published."""
        self._connection.execute("DELETE FROM versions WHERE version < ?", (oldest,))

    def prune(self, kind: int, oldest: int) -> int:
        """Forgets values that ended at `oldest` or before: no delta has an older base afterwards.

        Returns:
            How many were forgotten.
        """
        done = self._connection.execute(
            "DELETE FROM history WHERE kind = ? AND valid_to <= ?", (kind, oldest)
        )
        return done.rowcount

    def _end(self, kind: int, key: int, version: int) -> None:
        self._connection.execute(
            "UPDATE history SET valid_to = ? WHERE kind = ? AND key = ? AND valid_to = ?",
            (version, kind, key, HOLDS),
        )

    def _forget_waiting(self, kind: int, key: int) -> None:
        """Takes back what waits: what was published holds again."""
        coming = self.head + 1
        self._connection.execute(
            "DELETE FROM history WHERE kind = ? AND key = ? AND valid_from = ?", (kind, key, coming)
        )
        self._connection.execute(
            "UPDATE history SET valid_to = ? WHERE kind = ? AND key = ? AND valid_to = ?",
            (HOLDS, kind, key, coming),
        )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
