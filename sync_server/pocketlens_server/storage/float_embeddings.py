"""Embeddings of pictures by one float model: a file of its own, which can be made again.

    with FloatEmbeddings.opened(path) as floats:
        floats.put({picture_sha256: embedding})
        floats.missing(pictures)
        floats.of(pictures, dim)               # float32 (n, dim), in their order

Nothing that is published depends on it; what is lost is embedded again.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens_server.storage import database_errors

_AT_ONCE = 500  # pictures a query; the oldest SQLite takes 999
_BUSY_SECONDS = 60
_SCHEMA = """
CREATE TABLE IF NOT EXISTS embeddings (
    picture   BLOB PRIMARY KEY,    -- SHA-256
    embedding BLOB NOT NULL        -- f32 (dim), unit length
) WITHOUT ROWID
"""


class FloatEmbeddings:
    """One table in one file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """See `opened`."""
        self._connection = connection

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[FloatEmbeddings]:
        """The table of a file, which is made where there is none.

        Raises:
            ServerError: It cannot be used.
            StoreFull: The disk has no room.
        """
        try:
            with closing(
                sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            ) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(_SCHEMA)
                yield cls(connection)
        except sqlite3.Error as exc:
            raise database_errors.error_of(
                exc,
                path.parent,
                if_full=f"No room for embeddings in {path}. Free some space and try again.",
                otherwise=f"The embeddings {path} cannot be used: {exc}. Without that file they "
                "are made again.",
            ) from exc

    def missing(self, pictures: Iterable[bytes]) -> list[bytes]:
        """Those that are not embedded, each once, in their order."""
        wanted = list(dict.fromkeys(pictures))
        known = {picture for picture, _ in self._found(wanted, "1")}
        return [picture for picture in wanted if picture not in known]

    def put(self, embeddings: Mapping[bytes, npt.NDArray[np.float32]]) -> None:
        """Keeps embeddings float32 (dim,) by picture, at once."""
        rows = [(picture, each.astype("<f4").tobytes()) for picture, each in embeddings.items()]
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", rows)
        self._connection.execute("COMMIT")

    def of(self, pictures: Sequence[bytes], dim: int) -> npt.NDArray[np.float32]:
        """Embeddings float32 (n, dim) of pictures, in their order.

        Raises:
            KeyError: One is not embedded.
        """
        found = dict(self._found(list(dict.fromkeys(pictures)), "embedding"))
        data = b"".join(found[picture] for picture in pictures)
        return np.frombuffer(data, "<f4").reshape(len(pictures), dim)

    def forget(self, pictures: Iterable[bytes]) -> None:
        """Forgets embeddings of pictures."""
        rows = [(picture,) for picture in pictures]
        self._connection.execute("BEGIN")
        self._connection.executemany("DELETE FROM embeddings WHERE picture = ?", rows)
        self._connection.execute("COMMIT")

    def _found(self, pictures: Sequence[bytes], column: str) -> Iterator[tuple[bytes, bytes]]:
        for start in range(0, len(pictures), _AT_ONCE):
            some = pictures[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT picture, {column} FROM embeddings WHERE picture IN ({marks})"  # noqa: S608 # ours
            yield from self._connection.execute(query, some)
