"""Jobs: what a backend sends in one go, and how far it is.

job = jobs.open(JobKind.INGEST, caller="3fa9...", now=clock())
jobs.count(job, {Result.APPLIED: 12, "received": 12})
jobs.end(job, now=clock())
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pocketlens.errors import NotFound
from pocketlens_server.storage import times

KEPT = 10_000  # jobs that have ended
_NO_NUMBER = 1 << 62  # that SQLite can compare; a message may name a larger one


class JobKind(StrEnum):
    """What a job does."""

    INGEST = "ingest"
    FULL_FEED = "full_feed"
    MODEL = "model"


class JobState(StrEnum):
    """How far a job is: OPEN -> EMBEDDING -> DONE, and CANCELLED from either of the first two."""

    OPEN = "open"
    EMBEDDING = "embedding"
    DONE = "done"
    CANCELLED = "cancelled"


ENDED = frozenset({JobState.DONE, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Counters:
    """What became of a job's operations so far.

    Attributes:
        expected: That were to come; 0 where unknown.
        received: That came; each is counted in one of these seven, always:
        applied, unchanged, refused: By their outcome.
        skipped: So answered; and images that waited and will not be embedded, since their job was
            cancelled, or something newer was told of them or of their products.
        repeated: Requests that had been answered before.
        dead: Images that could not be embedded.
        waiting: Images whose picture waits now.
        embedded: Pictures that were embedded for it.
        reused: Images whose picture had been embedded before.
    """

    expected: int = 0
    received: int = 0
    applied: int = 0
    unchanged: int = 0
    skipped: int = 0
    refused: int = 0
    repeated: int = 0
    embedded: int = 0
    reused: int = 0
    dead: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """One job.

    Attributes:
        number: From 1.
        kind, state: Of it.
        caller: Who opened it.
        opened_at: When.
        ended_at: None until it has.
        counters: What became of it.
    """

    number: int
    kind: JobKind
    state: JobState
    caller: str
    opened_at: datetime
    ended_at: datetime | None
    counters: Counters

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it is to come."""
        return self.state in ENDED


_COUNTED = (
    "expected", "received", "applied", "unchanged", "skipped", "refused", "repeated", "embedded",
    "reused", "dead",
)  # fmt: skip
_SELECT = (
    "SELECT number, kind, state, caller, opened_at, ended_at, "  # noqa: S608 # our names
    + ", ".join(_COUNTED)
    + ", (SELECT count(*) FROM waiting_images WHERE job = jobs.number) FROM jobs"
)


class Jobs:
    """The tables of ingest.sql in one database; transactions are the caller's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def open(self, kind: JobKind, *, caller: str, now: datetime, expected: int = 0) -> Job:
        """A new job."""
        cursor = self._connection.execute(
            "INSERT INTO jobs (kind, state, caller, opened_at, active_at, ended_at, expected)"
            " VALUES (?1, ?2, ?3, ?4, ?4, 0, ?5)",
            (kind.value, JobState.OPEN.value, caller, times.microseconds(now), expected),
        )
        return self.get(int(cursor.lastrowid or 0))

    def get(self, number: int) -> Job:
        """A job.

        Raises:
            NotFound: There is none of that number.
        """
        known = (min(number, _NO_NUMBER),)
        found = self._connection.execute(f"{_SELECT} WHERE number = ?", known).fetchone()
        if found is None:
            raise NotFound(f"There is no job {number}.")
        return _job(*found)

    def kind_and_state(self, number: int) -> tuple[JobKind, JobState]:
        """As `get`, which counts what waits of a job, and that may be much."""
        query = "SELECT kind, state FROM jobs WHERE number = ?"
        found = self._connection.execute(query, (min(number, _NO_NUMBER),)).fetchone()
        if found is None:
            raise NotFound(f"There is no job {number}.")
        return JobKind(found[0]), JobState(found[1])

    def newest(self, *, limit: int, before: int = 0) -> list[Job]:
        """Jobs, newest first; those before a number if one is given."""
        found = self._connection.execute(
            f"{_SELECT} WHERE number < ? ORDER BY number DESC LIMIT ?",
            (min(before or _NO_NUMBER, _NO_NUMBER), limit),
        )
        return [_job(*row) for row in found.fetchall()]

    def unended(self, kind: JobKind) -> list[Job]:
        """Jobs of a kind that have not ended, oldest first."""
        found = self._connection.execute(
            f"{_SELECT} WHERE kind = ? AND ended_at = 0 ORDER BY number", (kind.value,)
        )
        return [_job(*row) for row in found.fetchall()]

    def count(self, number: int, counted: Mapping[str, int]) -> None:
        """Adds to counters by their names."""
        wanted = {name: value for name, value in counted.items() if value}
        if not wanted.keys() <= set(_COUNTED):
            raise ValueError(f"Expected names of {_COUNTED}. Received {sorted(wanted)}.")
        if wanted:
            sets = ", ".join(f"{name} = {name} + ?" for name in wanted)
            statement = f"UPDATE jobs SET {sets} WHERE number = ?"  # noqa: S608 # our names
            self._connection.execute(statement, (*wanted.values(), number))

    def expect(self, number: int, expected: int) -> None:
        """Says anew how much is to come."""
        self._connection.execute(
            "UPDATE jobs SET expected = ? WHERE number = ?", (expected, number)
        )

    def set_embedded(self, number: int, embedded: int) -> None:
        """Says how many pictures are embedded by now, whoever did it."""
        self._connection.execute(
            "UPDATE jobs SET embedded = ? WHERE number = ?", (embedded, number)
        )

    def close(self, number: int, *, now: datetime) -> None:
        """Nothing more comes of an open job: it is done once none of its pictures waits."""
        self._connection.execute("DELETE FROM named WHERE job = ?", (number,))
        self._connection.execute(
            "UPDATE jobs SET state = ? WHERE number = ? AND state = ?",
            (JobState.EMBEDDING.value, number, JobState.OPEN.value),
        )
        self.end_embedded(now=now)

    def touch(self, number: int, *, now: datetime) -> None:
        """Says that somebody goes on with a job."""
        self._connection.execute(
            "UPDATE jobs SET active_at = ? WHERE number = ?", (times.microseconds(now), number)
        )

    def abandon(
        self, kind: JobKind, *, caller: str, kept: int, in_use: Collection[int], now: datetime
    ) -> None:
        """Closes open jobs of a caller, but for those in use, or gone on with last."""
        found = self._connection.execute(
            "SELECT number FROM jobs WHERE state = ? AND ended_at = 0 AND kind = ? AND caller = ?"
            " ORDER BY active_at DESC, number DESC LIMIT -1 OFFSET ?",
            (JobState.OPEN.value, kind.value, caller, kept),
        ).fetchall()
        for (number,) in found:
            if number not in in_use:
                self.close(number, now=now)

    def wait_again(self, number: int) -> None:
        """Says that a picture of a job waits again; of one that was cancelled it says nothing."""
        self._connection.execute(
            "UPDATE jobs SET state = ?, ended_at = 0 WHERE number = ? AND state = ?",
            (JobState.EMBEDDING.value, number, JobState.DONE.value),
        )

    def end_embedded(self, *, now: datetime) -> None:
        """Ends jobs of which nothing comes and no picture waits any more."""
        self._connection.execute(
            "UPDATE jobs SET state = ?, ended_at = ? WHERE state = ? AND ended_at = 0 AND kind != ?"
            " AND NOT EXISTS (SELECT 1 FROM waiting_images WHERE job = jobs.number)",
            (
                JobState.DONE.value,
                times.microseconds(now),
                JobState.EMBEDDING.value,
                JobKind.MODEL.value,
            ),
        )

    def end(self, number: int, state: JobState, *, now: datetime) -> None:
        """Ends a job that has not ended."""
        self._connection.execute(
            "UPDATE jobs SET state = ?, ended_at = ? WHERE number = ? AND ended_at = 0",
            (state.value, times.microseconds(now), number),
        )
        self._connection.execute("DELETE FROM named WHERE job = ?", (number,))

    def name(self, number: int, named: Iterable[tuple[int, str]]) -> None:
        """Remembers kinds and ids that a full feed names."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO named VALUES (?, ?, ?)",
            ((number, kind, id_) for kind, id_ in named),
        )

    def named(self, number: int, kind: int) -> set[str]:
        """Ids of a kind that a full feed has named."""
        query = "SELECT id FROM named WHERE job = ? AND kind = ?"
        return {id_ for (id_,) in self._connection.execute(query, (number, kind))}

    def names_nothing(self, number: int) -> bool:
        """Whether a full feed has named no item so far."""
        query = "SELECT 1 FROM named WHERE job = ?"
        return self._connection.execute(query, (number,)).fetchone() is None

    def end_feed(self, number: int, *, products: int, images: int, now: datetime) -> None:
        """Closes a full feed, and remembers how much it has deleted."""
        self.close(number, now=now)
        self._connection.execute(
            "UPDATE jobs SET deleted_products = ?, deleted_images = ? WHERE number = ?",
            (products, images, number),
        )

    def deleted(self, number: int) -> tuple[int, int] | None:
        """How many products and images a full feed has deleted; None where none ended so."""
        query = (
            "SELECT deleted_products, deleted_images FROM jobs"
            " WHERE number = ? AND deleted_products IS NOT NULL"
        )
        known = (min(number, _NO_NUMBER),)
        found: tuple[int, int] | None = self._connection.execute(query, known).fetchone()
        return found

    def forget_old(self, kept: int = KEPT) -> None:
        """Forgets jobs that ended, but for the newest."""
        self._connection.execute(
            "DELETE FROM jobs WHERE ended_at > 0 AND number <= (SELECT max(number) FROM jobs) - ?",
            (kept,),
        )


def _job(
    number: int,
    kind: str,
    state: str,
    caller: str,
    opened_at: int,
    ended_at: int,
    *counted: int,
) -> Job:
    return Job(
        number,
        JobKind(kind),
        JobState(state),
        caller,
        times.at(opened_at),
        times.at(ended_at) if ended_at else None,
        Counters(*counted),
    )
