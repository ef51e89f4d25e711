"""Embeddings kept from one evaluation to the next, by picture and by what made them.

    with cached(model, Path("cache"), model_digest, "block_13_add") as model: ...

One SQLite file a digest and further choices; a row is found by the SHA-256 of the tensor that the
model is given, so that a picture under another name, or the same pixels in another file, counts as
known.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens import durable_files
from pocketlens.errors import TrainingError
from pocketlens.formats.bundle import Bundle, Spec
from pocketlens_converter.embedding_models import EmbeddingModel


@dataclass(frozen=True, slots=True)
class CachedEmbedding:
    """An `EmbeddingModel` that asks its model only for what the cache does not have."""

    model: EmbeddingModel
    database: sqlite3.Connection

    @property
    def spec(self) -> Spec:
        """Of the model."""
        return self.model.spec

    @property
    def bundle(self) -> Bundle | None:
        """Of the model."""
        return self.model.bundle

    def embed_tensors(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """As the model's; known rows are read, new ones kept."""
        keys = [hashlib.sha256(each.tobytes()).digest() for each in tensors]
        rows = {key: row for key in keys if (row := self._known(key)) is not None}
        missing = [place for place, key in enumerate(keys) if key not in rows]
        if missing:
            made = self.model.embed_tensors(tensors[missing])
            with self.database:
                for place, row in zip(missing, made, strict=True):
                    rows[keys[place]] = row
                    self.database.execute(
                        "INSERT OR REPLACE INTO features VALUES (?, ?)",
                        (keys[place], row.astype("<f4").tobytes()),
                    )
        return np.stack([rows[key] for key in keys])

    def _known(self, key: bytes) -> npt.NDArray[np.float32] | None:
        found = self.database.execute("SELECT row FROM features WHERE key = ?", (key,)).fetchone()
        if found is None or len(found[0]) != 4 * self.spec.dim:
            return None
        return np.frombuffer(found[0], "<f4").astype(np.float32)


@contextmanager
def cached(
    model: EmbeddingModel, folder: Path, digest: bytes, choices: str = ""
) -> Iterator[EmbeddingModel]:
    """`model`, with a cache in `folder`, which is made if it is missing.

    Args:
        model: What embeds.
        folder: Of all caches.
        digest: Of the model: its file, or its layers and weights.
        choices: What else decides the embeddings: the layer, the scale of the input.

    Raises:
        TrainingError: The cache is no such file.
        StoreReadOnly: The folder cannot be written to.
    """
    key = hashlib.sha256(digest + choices.encode()).hexdigest()[:32]
    path = folder / f"features-{key}.sqlite"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, row BLOB NOT NULL)"
            )
            yield CachedEmbedding(model, database)
    except OSError as exc:
        raise durable_files.translated(exc, folder) from exc
    except sqlite3.DatabaseError as exc:
        raise TrainingError(f"The cache {path} cannot be used: {exc}. Delete it.") from exc
