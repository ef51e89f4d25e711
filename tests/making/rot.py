"""Bits that flip in what a device keeps, and what it answers afterwards.

    rot = Rot(course, scratch)
    found = rot.of_file(rot.database, flips=200, rng=np.random.default_rng(9))
    found.wrong, found.signals

Flips are tried in children, a batch each: damage may end a process, and that must be seen.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import shutil
import sqlite3
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path

import numpy as np

from pocketlens import Lens
from pocketlens.errors import PocketLensError
from pocketlens.store import database, installs, trusted
from tests.making import golden
from tests.making.courses import Course
from tests.making.embeddings import unit

SEARCHES = 20
BATCH = 100  # flips a child


@dataclass
class Found:
    """What flips came to.

    Attributes:
        flips: That were tried.
        noticed: That ended in an error of PocketLens; all others changed no answer.
        signals: That ended a process.
        wrong: What else came of one: another answer, another error.
    """

    flips: int = 0
    noticed: int = 0
    signals: int = 0
    wrong: list[str] = field(default_factory=list)


class Rot:
    """Stores to be damaged: at version 2 in one file, at version 2 in a WAL over version 1."""

    def __init__(self, course: Course, scratch: Path) -> None:
        """Makes them of the first two steps of a course."""
        self._scratch, (_, self.delta, *_) = scratch, course.steps
        rng = np.random.default_rng(9)
        shape = (SEARCHES, self.delta.queries.shape[1])
        self._queries = unit(rng.standard_normal(shape, dtype=np.float32))
        self._answers = [self._searched(self.delta.before), self._searched(self.delta.after)]
        self.settled = shutil.copytree(self.delta.after, scratch / "settled")
        self.with_wal = shutil.copytree(self.delta.before, scratch / "read")
        with Lens.open(self.with_wal):  # who reads keeps the changes in the WAL
            self.delta.follow(self.with_wal)
            self.with_wal = shutil.copytree(self.with_wal, scratch / "with wal")

    # --- what may rot ----------------------------------------------------------------------------

    @property
    def database(self) -> Path:
        return installs.current(self.settled) / database.FILE_NAME

    @property
    def wal(self) -> Path:
        return installs.current(self.with_wal) / f"{database.FILE_NAME}-wal"

    @property
    def bundle(self) -> Path:
        (found,) = (self.settled / "files").iterdir()
        return found

    def codebook(self) -> range:
        """Places of the centroids in the database's file."""
        with closing(sqlite3.connect(self.database)) as connection:
            ((data,),) = connection.execute("SELECT centroids FROM codebook").fetchall()
        start = self.database.read_bytes().index(data)
        return range(start, start + len(data))

    # --- how it is tried -------------------------------------------------------------------------

    def of_file(
        self, path: Path, rng: np.random.Generator, *, flips: int, places: range | None = None
    ) -> Found:
        """Flips bits of one file, drawn from its bytes or those at `places`, and searches."""
        store = self.with_wal if path == self.wal else self.settled
        among = places or range(path.stat().st_size)
        drawn = rng.choice(8 * len(among), min(flips, 8 * len(among)), replace=False)
        bits = [8 * among.start + int(bit) for bit in drawn]

        def tried(bit: int) -> bool:
            with flipped(path, bit):
                return self._is_noticed(store)

        return _in_children(tried, bits)

    def of_metadata(self, *, every: int, synced_every: int) -> Found:
        """Flips a bit in every so many bytes of what is trusted; searches and syncs after some.

        A flip that is not noticed would have to leave what is trusted as it is.
        """
        path = self.database
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT name, data FROM trusted ORDER BY name").fetchall()
            whole = trusted.read(connection)
        places = [(name, place) for name, data in rows for place in range(0, len(data), every)]

        def tried(number: int) -> bool:
            name, place = places[number]
            rotten = bytearray(dict(rows)[name])
            rotten[place] ^= 1 << place % 8
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                update = "UPDATE trusted SET data = ? WHERE name = ?"
                connection.execute(update, (bytes(rotten), name))
                try:
                    believed = trusted.read(connection)
                    assert believed in (whole, trusted.NOTHING), f"{name}, {place} is believed"
                    if number % synced_every == 0:
                        assert not self._is_noticed(self.settled)
                        self._sync(shutil.copytree(self.settled, self._scratch / f"{number}"))
                finally:
                    connection.execute(update, (dict(rows)[name], name))
            return believed == trusted.NOTHING

        return _in_children(tried, range(len(places)))

    def of_pieces(self, *, every: int) -> Found:
        """Flips a bit in every so many bytes of a piece that was fetched, and syncs."""
        store = self._with_pieces()
        ((piece,)) = (store / installs.PIECES).iterdir()
        places = range(0, piece.stat().st_size, every)

        def tried(place: int) -> bool:
            copy = shutil.copytree(store, self._scratch / f"piece-{place}")
            with flipped(copy / installs.PIECES / piece.name, 8 * place + place % 8):
                return self._sync(copy)

        return _in_children(tried, places)

    def _with_pieces(self) -> Path:
        """A store whose sync was cut off when all was fetched."""
        store = shutil.copytree(self.delta.before, self._scratch / "with pieces")

        def cut_off(stage: str, *_: int) -> None:
            if stage == "writing":
                raise _CutOff

        with suppress(_CutOff):
            self.delta.follow(store, progress=cut_off)
        return store

    def _sync(self, store: Path) -> bool:
        """Whether the first of two syncs noticed something; the store is right afterwards."""
        is_noticed = False
        try:
            self.delta.follow(store)
        except PocketLensError:
            is_noticed = True
            self.delta.follow(store)
        assert (outcome := self.delta.outcome(store)) == "new", outcome
        shutil.rmtree(store)
        return is_noticed

    def _is_noticed(self, store: Path) -> bool:
        """Whether a search of a damaged store was refused.

        Raises:
            AssertionError: It was answered as by no version.
        """
        try:
            found = self._searched(store)
        except PocketLensError:
            return True
        assert found in self._answers, "a damaged store gave another answer"
        return False

    def _searched(self, store: Path) -> Sequence[golden.Answer]:
        return golden.answers(store, self._queries)


class _CutOff(BaseException):  # nobody catches it but who raised it
    """The end of a process, as far as a store can tell."""


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """A file with one bit flipped, for a while."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))
    try:
        yield
    finally:
        if path.exists():
            with path.open("r+b") as file:
                file.seek(bit // 8)
                file.write(bytes([byte]))


def _in_children(tried: Callable[[int], bool], flips: Iterable[int]) -> Found:
    """Tries flips, a batch in a child; where a signal ends one, the rest of it is left out."""
    todo, found = list(flips), Found()
    for start in range(0, len(todo), BATCH):
        batch = todo[start : start + BATCH]
        receiver, sender = Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            for flip in batch:
                try:
                    sender.send((tried(flip), ""))
                except BaseException:
                    sender.send((False, f"flip {flip}: {traceback.format_exc()}"))
            os._exit(0)
        sender.close()
        with receiver:
            for _ in batch:
                try:
                    is_noticed, wrong = receiver.recv()
                except EOFError:
                    break
                found.flips += 1
                found.noticed += is_noticed
                found.wrong += [wrong] if wrong else []
        _, status = os.waitpid(child, 0)
        found.signals += os.WIFSIGNALED(status)
    return found
