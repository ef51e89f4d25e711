"""Embeddings of pictures by each bundle, the generations made of them, and their codes.

vectors.put_embeddings(bundle, {picture_sha256: embedding})
vectors.embeddings(bundle, pictures)          # float32 (n, dim), in their order
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from pocketlens.formats import state_hash
from pocketlens.formats.manifest import Blob, Changes
from pocketlens_server.storage import times

_AT_ONCE = 500  # pictures a query; the oldest SQLite takes 999


@dataclass(frozen=True, slots=True)
class Generation:
    """A bundle, a scale, and the codebook that its codes are listed by now.

    Attributes:
        number: From 1.
        bundle: Number of the bundle.
        id: 32 bytes.
        scale: float32 (dim,).
        centroids: float16 (lists, dim).
        probes: Lists that a search scores.
        probes_estimated: Whether they were fitted without held-out photos.
        saturated_share: Components of codes at the limit, 0 to 1, when they were made.
        listed_at: Version that brought the codebook.
        listed_images: That there were then.
        listed_distance: Mean of 1 - cosine between images and their centroids then.
        retires_at: From when on it gets no more versions; None in the newest.
    """

    number: int
    bundle: int
    id: bytes
    scale: npt.NDArray[np.float32]
    centroids: npt.NDArray[np.float16]
    probes: int
    probes_estimated: bool
    saturated_share: float
    listed_at: int
    listed_images: int
    listed_distance: float
    retires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class State:
    """What a generation's state hash is made of, at a version.

    Attributes:
        parts_sum: S of all parts but placements, 64 bytes.
        placed_sum: S of the placements, 64 bytes.
        images, products: Counts.
    """

    parts_sum: bytes
    placed_sum: bytes
    images: int
    products: int

    @property
    def state_sum(self) -> bytes:
        """S, 64 bytes."""
        return state_hash.combined(self.parts_sum, self.placed_sum)


class Vectors:
    """The tables of vectors.sql in one database; transactions are the caller's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def bundle(self, sha256: bytes) -> int:
        """The number of a bundle, a new one if it never was."""
        self._connection.execute("INSERT OR IGNORE INTO bundles (sha256) VALUES (?)", (sha256,))
        query = "SELECT number FROM bundles WHERE sha256 = ?"
        return int(self._connection.execute(query, (sha256,)).fetchone()[0])

    def bundles(self) -> dict[int, bytes]:
        """SHA-256 of every bundle, by its number, oldest first."""
        return dict(self._connection.execute("SELECT number, sha256 FROM bundles ORDER BY number"))

    def without_embedding(self, bundle: int, pictures: Iterable[bytes]) -> list[bytes]:
        """Those of the pictures that the bundle has not embedded, each once, in their order."""
        wanted = list(dict.fromkeys(pictures))
        known = self._blobs("embeddings", "bundle", bundle, wanted, "1")
        return [picture for picture in wanted if picture not in known]

    def is_embedded(self, bundles: Iterable[int], picture: bytes) -> bool:
        """Whether every one of the bundles has embedded a picture."""
        query = "SELECT 1 FROM embeddings WHERE bundle = ? AND picture = ?"
        return all(
            self._connection.execute(query, (bundle, picture)).fetchone() is not None
            for bundle in bundles
        )

    def put_embeddings(
        self, bundle: int, embeddings: Mapping[bytes, npt.NDArray[np.float32]]
    ) -> None:
        """Keeps embeddings float32 (dim,) by picture."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?)",
            (
                (bundle, picture, each.astype("<f4").tobytes())
                for picture, each in embeddings.items()
            ),
        )

    def embeddings(self, bundle: int, pictures: Sequence[bytes]) -> npt.NDArray[np.float32]:
        """Embeddings float32 (n, dim) of pictures, in their order.

        Raises:
            KeyError: One was not embedded.
        """
        found = self._blobs("embeddings", "bundle", bundle, pictures, "embedding")
        data = b"".join(found[picture] for picture in pictures)
        return np.frombuffer(data, "<f4").reshape(len(pictures), -1)

    def put_codes(self, generation: int, codes: Mapping[bytes, bytes]) -> None:
        """Keeps codes, int8 bytes, by picture."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO codes VALUES (?, ?, ?)",
            ((generation, picture, code) for picture, code in codes.items()),
        )

    def codes(self, generation: int, pictures: Sequence[bytes]) -> dict[bytes, bytes]:
        """Codes of those of the pictures that have one."""
        return self._blobs("codes", "generation", generation, pictures, "code")

    def put_generation(self, generation: Generation) -> None:
        """Keeps a generation, in the place of what was known of it."""
        retires = generation.retires_at
        self._connection.execute(
            "INSERT OR REPLACE INTO generations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                generation.number,
                generation.bundle,
                generation.id,
                generation.scale.astype("<f4").tobytes(),
                generation.centroids.astype("<f2").tobytes(),
                generation.probes,
                generation.probes_estimated,
                generation.saturated_share,
                generation.listed_at,
                generation.listed_images,
                generation.listed_distance,
                None if retires is None else times.microseconds(retires),
            ),
        )

    def forget_generation(self, generation: Generation) -> None:
        """Forgets a generation, and its bundle if no other is made by that."""
        for table in ("codes", "streams", "manifests", "states"):
            statement = f"DELETE FROM {table} WHERE generation = ?"  # noqa: S608 # our names
            self._connection.execute(statement, (generation.number,))
        self._connection.execute("DELETE FROM generations WHERE number = ?", (generation.number,))
        if all(each.bundle != generation.bundle for each in self.generations()):
            bundle = (generation.bundle,)
            self._connection.execute("DELETE FROM embeddings WHERE bundle = ?", bundle)
            self._connection.execute("DELETE FROM bundles WHERE number = ?", bundle)

    def forget_pictures(self, pictures: Iterable[bytes]) -> None:
        """Forgets embeddings and codes of pictures."""
        gone = list(pictures)
        for table, owner in (("embeddings", "bundle"), ("codes", "generation")):
            # By the whole key: a picture alone would be looked for in every row.
            self._connection.executemany(
                f"DELETE FROM {table} WHERE {owner} = ? AND picture = ?",  # noqa: S608 # our names
                ((number, picture) for number in self._owners(table, owner) for picture in gone),
            )

    def pictures(self) -> set[bytes]:
        """SHA-256 of every picture that was embedded."""
        found = self._connection.execute("SELECT DISTINCT picture FROM embeddings")
        return {picture for (picture,) in found}

    def generations(self) -> list[Generation]:
        """All there are, oldest first."""
        found = self._connection.execute("SELECT * FROM generations ORDER BY number").fetchall()
        return [_generation(*row) for row in found]

    def put_state(self, generation: int, version: int, state: State) -> None:
        """Keeps the state of a generation at a version."""
        self._connection.execute(
            "INSERT INTO states VALUES (?, ?, ?, ?, ?, ?)",
            (
                generation,
                version,
                state.parts_sum,
                state.placed_sum,
                state.images,
                state.products,
            ),
        )

    def state(self, generation: int, version: int) -> State | None:
        """The state of a generation at a version; None where it was not there, or is forgotten."""
        query = (
            "SELECT parts_sum, placed_sum, images, products FROM states"
            " WHERE generation = ? AND version = ?"
        )
        found = self._connection.execute(query, (generation, version)).fetchone()
        return None if found is None else State(*found)

    def forget_states(self, oldest: int) -> None:
        """Forgets the states of versions before `oldest`: no delta begins there any more."""
        self._connection.execute("DELETE FROM states WHERE version < ?", (oldest,))

    def oldest_state(self, generation: int) -> int:
        """The first version of which the state of a generation is kept.

        Raises:
            KeyError: None is.
        """
        query = "SELECT min(version) FROM states WHERE generation = ?"
        (found,) = self._connection.execute(query, (generation,)).fetchone()
        if found is None:
            raise KeyError(generation)
        return int(found)

    def put_manifest(self, generation: int, data: bytes) -> None:
        """Keeps the encoded manifest of a generation, in the place of the one before."""
        self._connection.execute(
            "INSERT OR REPLACE INTO manifests VALUES (?, ?)", (generation, data)
        )

    def manifests(self) -> dict[bytes, bytes]:
        """Encoded manifests by the id of their generation, oldest first."""
        return dict(
            self._connection.execute(
                "SELECT id, data FROM manifests JOIN generations ON generation = number"
                " ORDER BY number"
            )
        )

    def put_snapshot(self, generation: int, snapshot: Changes) -> None:
        """Keeps what is known of a snapshot, in the place of the one before."""
        self._put_stream(generation, "snapshot", snapshot)

    def snapshot(self, generation: int) -> Changes | None:
        """The newest snapshot of a generation."""
        return self._stream(generation, "snapshot")

    def put_relist(self, generation: int, relist: Changes) -> None:
        """Keeps what is known of the lists of a codebook, in the place of those before."""
        self._put_stream(generation, "relist", relist)

    def relist(self, generation: int) -> Changes | None:
        """The lists that the codebook of a generation brought; None for its first codebook."""
        return self._stream(generation, "relist")

    def _put_stream(self, generation: int, kind: str, stream: Changes) -> None:
        blob = stream.blob
        self._connection.execute(
            "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                generation,
                kind,
                stream.head,
                stream.inflated_size,
                blob.sha256,
                blob.size,
                b"".join(blob.pieces),
            ),
        )

    def _stream(self, generation: int, kind: str) -> Changes | None:
        query = (
            "SELECT version, inflated, sha256, bytes, pieces FROM streams"
            " WHERE generation = ? AND kind = ?"
        )
        found = self._connection.execute(query, (generation, kind)).fetchone()
        if found is None:
            return None
        version, inflated, sha256, size, pieces = found
        split = tuple(pieces[at : at + 32] for at in range(0, len(pieces), 32))
        return Changes(0, version, inflated, Blob(sha256, size, split))

    def _owners(self, table: str, owner: str) -> list[int]:
        """Numbers of the bundles or generations that have rows, each found by a step in the key."""
        query = f"SELECT min({owner}) FROM {table} WHERE {owner} > ?"  # noqa: S608 # our names
        found = [0]
        while (number := self._connection.execute(query, (found[-1],)).fetchone()[0]) is not None:
            found.append(number)
        return found[1:]

    def _blobs(
        self, table: str, owner: str, number: int, pictures: Sequence[bytes], column: str
    ) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for start in range(0, len(pictures), _AT_ONCE):
            some = pictures[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            statement = (
                f"SELECT picture, {column} FROM {table} WHERE {owner} = ? AND picture IN ({marks})"  # noqa: S608 # our names
            )
            found.update(self._connection.execute(statement, (number, *some)))
        return found


def _generation(
    number: int,
    bundle: int,
    id_: bytes,
    scale: bytes,
    centroids: bytes,
    probes: int,
    probes_estimated: int,
    saturated_share: float,
    listed_at: int,
    listed_images: int,
    listed_distance: float,
    retires_at: int | None,
) -> Generation:
    """A row of the table."""
    return Generation(
        number,
        bundle,
        id_,
        np.frombuffer(scale, "<f4"),
        np.frombuffer(centroids, "<f2").reshape(-1, len(scale) // 4),
        probes,
        bool(probes_estimated),
        saturated_share,
        listed_at,
        listed_images,
        listed_distance,
        None if retires_at is None else times.at(retires_at),
    )
