"""Images whose picture waits to be embedded, and those whose picture could not be.

    waiting.put(WaitingImage(Image("mug-1"), picture, job), {3, 4})
    waiting.pictures(limit=64)                  # next to be embedded
    waiting.showing(picture)                    # images that then hold

An image waits once: what is told of it later takes its place, here and among the dead letters.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from pocketlens.products import Image
from pocketlens_server.storage import times

_NO_NUMBER = 1 << 62  # that SQLite can compare; a message may name a larger one


@dataclass(frozen=True, slots=True)
class WaitingImage:
    """An image that holds once its picture is embedded.

    Attributes:
        image: Its id and url.
        picture: SHA-256 of its file, 32 bytes.
        job: That brought it.
        product_keys: Of the products that it shows, ascending.
        request: Id of what asked for it; "" where nothing is remembered of that.
    """

    image: Image
    picture: bytes
    job: int
    product_keys: Sequence[int]
    request: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An image that was accepted and whose picture could not be embedded.

    Attributes:
        number: From 1.
        job: That brought it.
        image: Its id and url.
        picture: SHA-256 of its file, 32 bytes.
        product_ids: Of the products that it shows.
        reason: For people.
        at: When it died.
        request: Id of what asked for it; "" where nothing is remembered of that.
    """

    number: int
    job: int
    image: Image
    picture: bytes
    product_ids: Sequence[str]
    reason: str
    at: datetime
    request: str = ""


class WaitingImages:
    """The tables of ingest.sql in one database; transactions are the caller's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, waiting: WaitingImage) -> int | None:
        """Lets an image wait, in the place of what was told of it before; as `drop`."""
        dropped = self.drop(waiting.image.id)
        cursor = self._connection.execute(
            "INSERT INTO waiting_images (id, url, picture, job, request) VALUES (?, ?, ?, ?, ?)",
            (
                waiting.image.id,
                waiting.image.url,
                waiting.picture,
                waiting.job,
                waiting.request,
            ),
        )
        self._connection.executemany(
            "INSERT INTO waiting_links VALUES (?, ?)",
            ((key, cursor.lastrowid) for key in waiting.product_keys),
        )
        return dropped

    def drop(self, image_id: str) -> int | None:
        """Lets an image wait no more, nor be a dead letter; the job that it waited for, if any."""
        self._connection.execute("DELETE FROM dead_letters WHERE id = ?", (image_id,))
        return next((job for _, job in self._dropped("id = ?", image_id)), None)

    def drop_job(self, job: int) -> int:
        """Lets nothing of a job wait; how many images did. What asked for them may come again."""
        self._connection.execute(
            "DELETE FROM requests WHERE id IN (SELECT request FROM waiting_images WHERE job = ?)",
            (job,),
        )
        return len(self._dropped("job = ?", job))

    def drop_product(self, product_key: int) -> list[tuple[str, int]]:
        """Lets no image wait for a product that is gone.

        Returns:
            Those that would show nothing else, and wait no more: their ids and jobs.
        """
        alone = (
            "number IN (SELECT number FROM waiting_links AS its WHERE product_key = ?"
            " AND NOT EXISTS (SELECT 1 FROM waiting_links WHERE number = its.number"
            " AND product_key != its.product_key))"
        )
        dropped = self._dropped(alone, product_key)
        self._connection.execute("DELETE FROM waiting_links WHERE product_key = ?", (product_key,))
        return dropped

    def ids(self) -> set[str]:
        """Ids of images that wait, and of dead letters."""
        found = self._connection.execute(
            "SELECT id FROM waiting_images UNION SELECT id FROM dead_letters"
        )
        return {id_ for (id_,) in found}

    def kept_pictures(self) -> set[bytes]:
        """Pictures of images that wait and of dead letters, which may be embedded yet."""
        found = self._connection.execute(
            "SELECT picture FROM waiting_images UNION SELECT picture FROM dead_letters"
        )
        return {picture for (picture,) in found}

    def is_kept(self, picture: bytes) -> bool:
        """Whether an image waits for a picture, or is a dead letter with it."""
        query = (
            "SELECT 1 FROM waiting_images WHERE picture = ?1"
            " UNION ALL SELECT 1 FROM dead_letters WHERE picture = ?1"
        )
        return self._connection.execute(query, (picture,)).fetchone() is not None

    def is_coming(self, image_id: str) -> bool:
        """Whether an image waits, or is a dead letter."""
        query = (
            "SELECT 1 FROM waiting_images WHERE id = ?1"
            " UNION ALL SELECT 1 FROM dead_letters WHERE id = ?1"
        )
        return self._connection.execute(query, (image_id,)).fetchone() is not None

    def count(self) -> int:
        """How many images wait."""
        return int(self._connection.execute("SELECT count(*) FROM waiting_images").fetchone()[0])

    def pictures(self, *, limit: int) -> list[bytes]:
        """Pictures that images wait for, those that have waited longest first, each once."""
        pictures: dict[bytes, None] = {}
        # Read one by one, and no more than the images that these pictures show: to group all of
        # them takes longer than to embed some, where many wait.
        for (picture,) in self._connection.execute(
            "SELECT picture FROM waiting_images ORDER BY number"
        ):
            pictures[picture] = None
            if len(pictures) == limit:
                break
        return list(pictures)

    def showing(self, picture: bytes) -> list[WaitingImage]:
        """Images that wait for a picture, in the order in which they came."""
        found = self._connection.execute(
            "SELECT number, id, url, job, request FROM waiting_images WHERE picture = ?"
            " ORDER BY number",
            (picture,),
        ).fetchall()
        return [
            WaitingImage(Image(id_, url), picture, job, self._links(number), request)
            for number, id_, url, job, request in found
        ]

    def _links(self, number: int) -> list[int]:
        query = "SELECT product_key FROM waiting_links WHERE number = ? ORDER BY product_key"
        return [key for (key,) in self._connection.execute(query, (number,))]

    def _dropped(self, where: str, value: str | int) -> list[tuple[str, int]]:
        """Ids and jobs of images that wait no more."""
        found = self._connection.execute(
            f"SELECT number, id, job FROM waiting_images WHERE {where}",  # noqa: S608 # our words
            (value,),
        ).fetchall()
        for number, _, _ in found:
            for table in ("waiting_links", "waiting_images"):
                statement = f"DELETE FROM {table} WHERE number = ?"  # noqa: S608 # our names
                self._connection.execute(statement, (number,))
        return [(id_, job) for _, id_, job in found]


class DeadLetters:
    """The table of ingest.sql in one database; transactions are the caller's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(
        self, waiting: WaitingImage, product_ids: Sequence[str], reason: str, *, now: datetime
    ) -> None:
        """Keeps an image that cannot be embedded, and why."""
        self._connection.execute(
            "INSERT OR REPLACE INTO dead_letters"
            " (id, url, picture, job, products, reason, at, request)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                waiting.image.id,
                waiting.image.url,
                waiting.picture,
                waiting.job,
                json.dumps(product_ids),
                reason,
                times.microseconds(now),
                waiting.request,
            ),
        )

    def listed(self, *, limit: int, after: int = 0) -> list[DeadLetter]:
        """Dead letters, oldest first; those after a number if one is given."""
        found = self._connection.execute(
            "SELECT number, id, url, picture, job, products, reason, at, request FROM dead_letters"
            " WHERE number > ? ORDER BY number LIMIT ?",
            (min(after, _NO_NUMBER), limit),
        )
        return [_letter(*row) for row in found.fetchall()]

    def count(self) -> int:
        """How many there are."""
        return int(self._connection.execute("SELECT count(*) FROM dead_letters").fetchone()[0])

    def purge(self, numbers: Collection[int]) -> int:
        """Forgets dead letters, all if none is named; how many there were of them.

        What asked for them may come again.
        """
        if not numbers:
            return self._purged("TRUE", ())
        known = {min(each, _NO_NUMBER) for each in numbers}
        return sum(self._purged("number = ?", (each,)) for each in known)

    def _purged(self, where: str, values: tuple[int, ...]) -> int:
        asked = f"SELECT request FROM dead_letters WHERE {where}"  # noqa: S608 # our words
        self._connection.execute(
            f"DELETE FROM requests WHERE id IN ({asked})",  # noqa: S608 # our words
            values,
        )
        statement = f"DELETE FROM dead_letters WHERE {where}"  # noqa: S608 # our words
        return self._connection.execute(statement, values).rowcount


def _letter(
    number: int,
    id_: str,
    url: str,
    picture: bytes,
    job: int,
    products: str,
    reason: str,
    at: int,
    request: str,
) -> DeadLetter:
    return DeadLetter(
        number,
        job,
        Image(id_, url),
        picture,
        json.loads(products),
        reason,
        times.at(at),
        request,
    )
