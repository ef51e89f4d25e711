"""Requests that were answered: the same one again is answered, and not applied again.

    requests.known("4f1c...")                  # Answered(body, result, version), or None
    requests.remember("4f1c...", Answered(...))

The newest million are remembered. They are counted and not dated: a clock that jumps forgets none.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

KEPT = 1_000_000  # about 100 MB; at 10,000 an hour, four days of retries
_AT_ONCE = 1000  # that are forgotten; more than are remembered in one transaction
MAX_ID_BYTES = 128


@dataclass(frozen=True, slots=True)
class Answered:
    """What a request was, and its answer.

    Attributes:
        body: Digest of what was asked for, 16 bytes.
        result: A word of `catalogue.results.Result`.
        version: That was told; 0 for none.
    """

    body: bytes
    result: str
    version: int


class Requests:
    """The table of ingest.sql in one database; transactions are the caller's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def known(self, id_: str) -> Answered | None:
        """What was answered to a request; None if it is new, or forgotten."""
        query = "SELECT body, result, version FROM requests WHERE id = ?"
        found = self._connection.execute(query, (id_,)).fetchone()
        return None if found is None else Answered(*found)

    def remember(self, id_: str, answered: Answered) -> None:
        """Keeps an answer, which is a request's first."""
        self._connection.execute(
            "INSERT INTO requests (id, body, result, version) VALUES (?, ?, ?, ?)",
            (id_, answered.body, answered.result, answered.version),
        )

    def forget_old(self, kept: int = KEPT) -> None:
        """Forgets all but the newest, a thousand at once."""
        self._connection.execute(
            "DELETE FROM requests WHERE number IN (SELECT number FROM requests WHERE number <="
            " (SELECT max(number) FROM requests) - ? ORDER BY number LIMIT ?)",
            (kept, _AT_ONCE),
        )
