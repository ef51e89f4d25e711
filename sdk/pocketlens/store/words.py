"""The words of a store's products, over title, category and attributes: SQLite's FTS5.

    with Words(reader) as words:
        hits = words.hits("blue mug")
        hits.product_keys, hits.shares, hits.unknown

A store has no words of its own: they are made when they are first asked for, in memory, and kept in
DIR/cache/words. The file is an SQLite database behind its checksum, read whole and replaced whole:
what was cut off or has rotted is made again, and where nothing can be written it is made for each
process. It belongs to no version: whoever reads it compares the checksum of every product's row
with those that it was made of, and takes what changed since out of it and into it. So a sync knows
nothing of words, and a store in which nobody asks for one pays nothing.

Postings alone are kept, no texts: FTS5 in its contentless form, which cannot delete. A product that
changed comes again under a new number and its old one is passed over; once a quarter of all is
passed over, all is made anew.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import sqlite3
import threading
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import numpy.typing as npt

from pocketlens.closing import Closing
from pocketlens.durable_files import write_file
from pocketlens.errors import MissingExtraError, StoreError
from pocketlens.formats.parts import ProductPart
from pocketlens.store.checksums import checksum
from pocketlens.store.reader import Reader

logger = logging.getLogger(__name__)

FILE_NAME = "words"  # in the store's folder `cache`
MOST_WORDS = 32  # of a text; the end of a longer one is not looked at

_MOST_CHARACTERS = 10_000
_NO_WORD = dict.fromkeys([0, *map(ord, '"!#$%()*+,/:;<=>?@[\\]^`{|}~')], " ")  # stand between words
_FORMAT = 1
_BATCH = 4096  # products in memory
_MOST_PASSED_OVER = 0.25  # of numbers: they cost a question as much as the others
_KEPT_FROM = 0.05  # of products, changed since it was kept: a price patch changes none
_WEIGHTS = "4.0, 2.0, 1.0"  # of the columns: the title says what a thing is
_BEGINNING = 0.5  # what a word counts that only begins as the last one asked for does

_SCHEMA = f"""
PRAGMA user_version = {_FORMAT};
CREATE VIRTUAL TABLE words USING fts5(
    title, category, attributes, content = '', tokenize = 'unicode61 remove_diacritics 2');
CREATE TABLE documents (       -- one row: each number of `words`, from 1 on
    product_keys BLOB NOT NULL,  -- u32 (n,); 0 where it is passed over
    checksums    BLOB NOT NULL,  -- u32 (n,), of the row of the table `products`
    state_hash   BLOB NOT NULL   -- of the store that it was last compared with
);
"""

_U32 = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Hits:
    """Products that have any of the words that were asked for.

    Attributes:
        asked: The words, as they were asked for, each once.
        unknown: Those of them that no product has.
        product_keys: uint32 (n,), ascending.
        shares: float32 (n,), above 0 to 1: how much each has of the words that any has, rare
            words counting for more (by BM25's inverse document frequency). A word that only begins
            as the last one asked for counts half.
    """

    asked: tuple[str, ...]
    unknown: tuple[str, ...]
    product_keys: npt.NDArray[np.uint32]
    shares: npt.NDArray[np.float32]


class Words(Closing):
    """The words of what one reader sees. Thread-safe."""

    def __init__(self, reader: Reader) -> None:
        """Reads what is kept, or makes it: 100,000 products take some seconds.

        Raises:
            MissingExtraError: This Python's SQLite has no FTS5.
            StoreCorrupt: A row of a product is damaged.
        """
        self._reader = reader
        self._file = reader.directory / "cache" / FILE_NAME
        self._lock = threading.Lock()
        self._connection, self._documents = _connected(), _NONE
        try:
            try:
                self._read()
                self._follow()
            except (_Unusable, OSError, sqlite3.Error) as exc:
                logger.info("words.making file=%s reason=%s", self._file, exc)
                self._connection.close()
                self._connection, self._documents = _connected(), _NONE
                self._make()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Frees the memory; closing again is no error."""
        with self._lock:
            self._connection.close()

    def hits(self, text: str) -> Hits:
        """The products that have any word of a text; whatever a text holds, it is no error.

        Words are what stands between white space and punctuation, whatever their case and accents;
        what has neither letter nor digit is none. "t-shirt" is two words one behind the other. The
        last word may be the beginning of one.
        """
        words, unknown, known_rarity = words_of(text), [], 0.0
        shares = np.zeros(int(self._documents.product_keys.max(initial=0)) + 1, np.float32)
        for word in words:
            having = self._having(f'"{word}"')
            rest = having[:0]
            if word == words[-1]:
                rest = self._having(f'"{word}" * NOT "{word}"')
            if not len(having) + len(rest):
                unknown.append(word)
                continue
            rarity = self._rarity(len(having) + len(rest))
            known_rarity += rarity
            shares[having] += np.float32(rarity)
            shares[rest] += np.float32(_BEGINNING * rarity)
        keys = np.flatnonzero(shares).astype(np.uint32)
        return Hits(
            words, tuple(unknown), keys, np.minimum(shares[keys] / np.float32(known_rarity or 1), 1)
        )

    def scores(self, hits: Hits) -> npt.NDArray[np.float32]:
        """BM25 over the columns of each product of `hits`, float32 (n,); higher is better.

        It takes five times as long as finding them.
        """
        scores = np.zeros(int(hits.product_keys.max(initial=0)) + 1, np.float32)
        if len(hits.product_keys):
            every = [*(f'"{word}"' for word in hits.asked), f'"{hits.asked[-1]}" *']
            statement = f"SELECT rowid, -bm25(words, {_WEIGHTS}) FROM words WHERE words MATCH ?"  # noqa: S608 # our numbers
            with self._lock:
                rows = self._connection.execute(statement, (" OR ".join(every),)).fetchall()
            table = np.array(rows, np.float64)
            keys = self._documents.product_keys[table[:, 0].astype(np.int64) - 1]
            scores[keys[keys > 0]] = table[keys > 0, 1]
        return scores[hits.product_keys]

    def _having(self, expression: str) -> _U32:
        """Keys of the products that an expression of FTS5 matches, in any order."""
        statement = "SELECT rowid FROM words WHERE words MATCH ?"
        with self._lock:
            rows = self._connection.execute(statement, (expression,)).fetchall()
        numbers = np.fromiter((number for (number,) in rows), np.int64, len(rows))
        keys = self._documents.product_keys[numbers - 1]
        return keys[keys > 0]

    def _rarity(self, having: int) -> float:
        """BM25's inverse document frequency, above 0 also of a word that every product has.

        Source: Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009; with a 1 more
        inside the logarithm.
        """
        products = len(self._documents.product_keys)
        return float(np.log1p((products - having + 0.5) / (having + 0.5)))

    # --- made, kept, followed --------------------------------------------------------------------

    def _read(self) -> None:
        """Reads the file."""
        if not hasattr(self._connection, "deserialize"):
            raise _Unusable("SQLite without deserialize")
        data = self._file.read_bytes()
        if len(data) <= 4 or int.from_bytes(data[:4], "little") != checksum(memoryview(data)[4:]):
            raise _Unusable("checksum")
        self._connection.deserialize(data[4:])
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found != _FORMAT:
            raise _Unusable(f"format {found}")
        self._documents = _Documents.read(self._connection)
        self._having("opened")  # whatever else this SQLite finds wrong with it, it finds here

    def _make(self) -> None:
        """Makes everything, and keeps it."""
        began = perf_counter()
        try:
            self._connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as exc:
            if "no such module" not in str(exc):
                raise
            raise MissingExtraError(
                f"Words need FTS5, which SQLite {sqlite3.sqlite_version} of this Python was built "
                "without. Use a Python whose SQLite has it, as that of python.org; pictures alone "
                "are searched without."
            ) from exc
        self._add(*self._reader.product_checksums())
        with self._connection:
            self._connection.execute("INSERT INTO words (words) VALUES ('optimize')")
        self._keep()
        spent_ms = (perf_counter() - began) * 1e3
        logger.info("words.made products=%d ms=%.0f", self._reader.facts.products, spent_ms)

    def _follow(self) -> None:
        """Takes in what changed since the file was made.

        Raises:
            _Unusable: So much did that it is better made anew.
        """
        documents = self._documents
        if documents.state_hash == self._reader.facts.state_hash:
            return
        keys, checks = self._reader.product_checksums()
        here, there = documents.identities, _identities(keys, checks)
        gone = np.flatnonzero(~np.isin(here, there))
        new = np.flatnonzero(~np.isin(there, here))
        if len(gone) > _MOST_PASSED_OVER * (len(here) + len(new)):
            raise _Unusable("changed")
        changed = np.count_nonzero(documents.product_keys[gone]) + len(new)
        documents.product_keys[gone] = 0
        self._add(keys[new], checks[new])
        if changed > _KEPT_FROM * len(keys):
            self._keep()

    def _add(self, keys: _U32, checks: _U32) -> None:
        """Takes products in."""
        before = self._documents
        first = len(before.product_keys) + 1
        with self._connection:
            for start in range(0, len(keys), _BATCH):
                some = self._reader.product_parts(keys[start : start + _BATCH].tolist())
                self._connection.executemany(
                    "INSERT INTO words (rowid, title, category, attributes) VALUES (?, ?, ?, ?)",
                    ((number, *_texts(part)) for number, part in enumerate(some, first + start)),
                )
        self._documents = _Documents(
            np.concatenate([before.product_keys, keys]),
            np.concatenate([before.checksums, checks]),
            self._reader.facts.state_hash,
        )

    def _keep(self) -> None:
        """Replaces the file; where that cannot be, whoever comes next makes its own."""
        with self._connection:
            self._documents.write(self._connection)
        if not hasattr(self._connection, "serialize"):
            return
        data = self._connection.serialize()
        try:
            write_file(self._file, checksum(data).to_bytes(4, "little") + data)
        except (StoreError, OSError) as exc:
            logger.info("words.not_kept file=%s reason=%s", self._file, exc)


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text as people write it, each once, at most `MOST_WORDS` (PURE).

    None holds a quotation mark or a zero, which SQLite would read as its own.
    """
    plain = text[:_MOST_CHARACTERS].translate(_NO_WORD).encode("utf-8", "replace").decode()
    once: dict[str, str] = {}
    for word in plain.split():
        if any(map(str.isalnum, word)):
            once.setdefault(word.casefold(), word)
    return tuple(once.values())[:MOST_WORDS]


class _Unusable(Exception):
    """What is kept does not serve."""


@dataclass(frozen=True, slots=True)
class _Documents:
    """The row of the table `documents`."""

    product_keys: _U32
    checksums: _U32
    state_hash: bytes

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> _Documents:
        row = connection.execute("SELECT * FROM documents").fetchone()
        if row is None:
            raise _Unusable("no documents")
        keys, checks, state_hash = row
        return cls(np.frombuffer(keys, "<u4").copy(), np.frombuffer(checks, "<u4"), state_hash)

    def write(self, connection: sqlite3.Connection) -> None:
        row = self.product_keys.tobytes(), self.checksums.tobytes(), self.state_hash
        connection.execute("DELETE FROM documents")
        connection.execute("INSERT INTO documents VALUES (?, ?, ?)", row)

    @property
    def identities(self) -> npt.NDArray[np.uint64]:
        """Key and checksum as one number each."""
        return _identities(self.product_keys, self.checksums)


_NONE = _Documents(np.zeros(0, np.uint32), np.zeros(0, np.uint32), b"")


def _identities(keys: _U32, checks: _U32) -> npt.NDArray[np.uint64]:
    return keys.astype(np.uint64) << np.uint64(32) | checks


def _connected() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", check_same_thread=False)


def _texts(part: ProductPart) -> tuple[str, str, str]:
    """Of a product, as the columns of `words`: names of attributes say as much as their values."""
    attributes = " ".join(f"{name} {value}" for name, value in part.attributes.items())
    return part.title, part.category, attributes
