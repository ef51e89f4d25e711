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
from datetime import datetime
from typing import NamedTuple

from pocketlens.formats import parts
from pocketlens_server.storage import times

PRODUCT, OFFER, IMAGE = parts.TAG_PRODUCT, parts.TAG_OFFER, parts.TAG_IMAGE
HOLDS = 1 << 62
_RECENT = 64  # versions: of what began in fewer, most holds still
_FIRST_PLACEMENT = 1000  # kinds above are placements, one kind a generation


def placement_kind(generation: int) -> int:
    """Kind of the placements of a generation, which is numbered from 1."""
    return _FIRST_PLACEMENT + generation


class History:
    """The tables of history.sql in one database; transactions are the caller's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

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

    def id(self, kind: int, key: int) -> str:
        """The id that a key was given for.

        Raises:
            KeyError: It was given for none.
        """
        query = "SELECT id FROM keys WHERE kind = ? AND key = ?"
        found = self._connection.execute(query, (kind, key)).fetchone()
        if found is None:
            raise KeyError(key)
        return str(found[0])

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
        found = self._begun(kind, key, at)
        return found.value if found is not None and found.valid_to > at else None

    def values_of(self, kind: int, keys: Iterable[int], version: int) -> dict[int, bytes]:
        """The values of some keys at a version, by key, without those that have none.

        They come as one row: at each that it steps to, SQLite gives Python's lock away.
        """
        wanted = ",".join(f"({int(key)})" for key in keys)
        if not wanted:
            return {}
        (text,) = self._connection.execute(
            f"WITH wanted(key) AS (VALUES {wanted})"  # noqa: S608 # numbers
            " SELECT group_concat(history.key || ':' || hex(value), ' ') FROM wanted JOIN history"
            " ON kind = ?1 AND history.key = wanted.key AND valid_from ="
            " (SELECT max(valid_from) FROM history"
            " WHERE kind = ?1 AND key = wanted.key AND valid_from <= ?2)"
            " WHERE valid_to > ?2",
            (kind, version),
        ).fetchone()
        pairs = (word.split(":") for word in (text or "").split())
        return {int(key): bytes.fromhex(value) for key, value in pairs}

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

    def is_coming(self, kind: int, key: int) -> bool:
        """Whether the value of a key, or that it has none, comes with the next version only."""
        newest, coming = self._begun(kind, key), self.head + 1
        return newest is not None and coming in (newest.valid_from, newest.valid_to)

    def put(self, kind: int, key: int, value: bytes) -> bool:
        """Lets a value hold from the next version on; says whether that changes anything."""
        newest = self._begun(kind, key)
        if newest is not None and newest.valid_to == HOLDS and newest.value == value:
            return False
        coming = self.head + 1
        waits = newest is not None and newest.valid_from == coming
        published = self._begun(kind, key, coming - 1) if waits else newest
        if published is not None and published.valid_to >= coming and published.value == value:
            if waits:
                self._forget_waiting(kind, key, coming)
            self._end(kind, key, published, HOLDS)
            return True
        if published is not None and published.valid_to == HOLDS:
            self._end(kind, key, published, coming)
        self._connection.execute(
            "INSERT INTO history VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET value = excluded.value",
            (kind, key, coming, HOLDS, value),
        )
        return True

    def delete(self, kind: int, key: int) -> bool:
        """Lets nothing hold from the next version on; says whether that changes anything."""
        newest = self._begun(kind, key)
        if newest is None or newest.valid_to != HOLDS:
            return False
        coming = self.head + 1
        if newest.valid_from == coming:  # what was published ends then already
            self._forget_waiting(kind, key, coming)
        else:
            self._end(kind, key, newest, coming)
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

    def publish(self, as_of: datetime, *, above: int = 0) -> int:
        """Makes a version of all that waits; its number.

        Args:
            as_of: When.
            above: The version that it is above at least, beyond `head` too: the numbers between
                were those of versions that are lost.
        """
        coming = self.head + 1
        version = max(coming, above + 1)
        if version > coming:
            for column in ("valid_from", "valid_to"):
                self._connection.execute(
                    f"UPDATE history SET {column} = ? WHERE {column} = ?",  # noqa: S608 # ours
                    (version, coming),
                )
        self._connection.execute(
            "INSERT INTO versions VALUES (?, ?)",
            (version, times.microseconds(as_of)),
        )
        return version

    def newest_until(self, version: int) -> int:
        """The newest version up to one that was published and is known; 0 where none is."""
        query = "SELECT coalesce(max(version), 0) FROM versions WHERE version <= ?"
        return int(self._connection.execute(query, (version,)).fetchone()[0])

    def as_of(self, version: int) -> datetime:
        """When a version was published.

        Raises:
            KeyError: It was not.
        """
        query = "SELECT as_of FROM versions WHERE version = ?"
        found = self._connection.execute(query, (version,)).fetchone()
        if found is None:
            raise KeyError(version)
        return times.at(found[0])

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

    def is_known(self, version: int) -> bool:
        """Whether a version was published, and what held at it is still known."""
        if version > HOLDS:  # more than SQLite can compare; a message may name it
            return False
        query = "SELECT 1 FROM versions WHERE version = ?"
        return self._connection.execute(query, (version,)).fetchone() is not None

    def changed_between(
        self, kind: int, base: int, head: int | None
    ) -> Iterator[tuple[int, bytes | None, bytes | None]]:
        """Yields keys of which the value at two versions differs, with both, by ascending key.

        Args:
            kind: Of the values.
            base: The older version; 0 for before the first.
            head: The newer one; None for all that waits.
        """
        last = HOLDS - 1 if head is None else head
        found = self._connection.execute(
            "SELECT DISTINCT key FROM history WHERE kind = ?1 AND"
            " ((valid_from > ?2 AND valid_from <= ?3) OR (valid_to > ?2 AND valid_to <= ?3))"
            " ORDER BY key",
            (kind, base, last),
        )
        for (key,) in found.fetchall():
            old, new = self.value(kind, key, base), self.value(kind, key, head)
            if old != new:
                yield key, old, new

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

    def ever_since(self, kind: int, base: int) -> Iterator[bytes]:
        """Yields every value that began to hold after version `base`, those that ended too."""
        for (value,) in self._connection.execute(
            "SELECT value FROM history WHERE kind = ? AND valid_from > ?", (kind, base)
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

    def _begun(self, kind: int, key: int, version: int = HOLDS) -> _Value | None:
        """The value of a key that began last, up to a version; it may have ended."""
        found = self._connection.execute(
            "SELECT valid_from, valid_to, value FROM history WHERE kind = ? AND key = ?"
            " AND valid_from <= ? ORDER BY valid_from DESC LIMIT 1",
            (kind, key, version),
        ).fetchone()
        return None if found is None else _Value(*found)

    def _end(self, kind: int, key: int, value: _Value, version: int) -> None:
        self._connection.execute(
            "UPDATE history SET valid_to = ? WHERE kind = ? AND key = ? AND valid_from = ?",
            (version, kind, key, value.valid_from),
        )

    def _forget_waiting(self, kind: int, key: int, coming: int) -> None:
        self._connection.execute(
            "DELETE FROM history WHERE kind = ? AND key = ? AND valid_from = ?", (kind, key, coming)
        )


class _Value(NamedTuple):
    """A value, and the versions in which it holds; those of one key follow each other."""

    valid_from: int
    valid_to: int
    value: bytes
