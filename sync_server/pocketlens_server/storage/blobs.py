"""Immutable files named by their SHA-256: what devices fetch, and a CDN may serve.

blob = Blobs(folder).put(chunks)          # durable, or an error and nothing
Blobs(folder).path(blob.sha256)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from pocketlens.durable_files import sync_folder, translated
from pocketlens.formats.manifest import PIECE_BYTES, Blob


class Blobs:
    """The blobs in one folder, which is made if it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def folder(self) -> Path:
        """Where all of them are."""
        return self._folder

    def path(self, sha256: bytes) -> Path:
        """Where the blob with this hash is, or would be."""
        return self._folder / sha256.hex()

    def put(self, chunks: Iterable[bytes]) -> Blob:
        """Keeps a blob, given in chunks of any size; one that is there already is written again.

        Raises:
            StoreFull, StoreReadOnly: It cannot be written.
        """
        temporary = self._folder / f".{secrets.token_hex(8)}.tmp"
        described = _Described()
        try:
            with temporary.open("xb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    described.update(chunk)
                file.flush()
                os.fsync(file.fileno())
            blob = described.blob()
            temporary.replace(self.path(blob.sha256))
            sync_folder(self._folder)
        except OSError as exc:
            raise translated(exc, self._folder) from exc
        finally:
            temporary.unlink(missing_ok=True)
        return blob


class _Described:
    """Hashes of a file and of its pieces, while it comes."""

    def __init__(self) -> None:
        self._whole, self._piece = hashlib.sha256(), hashlib.sha256()
        self._size, self._left = 0, PIECE_BYTES
        self._pieces: list[bytes] = []

    def update(self, chunk: bytes) -> None:
        self._whole.update(chunk)
        self._size += len(chunk)
        view = memoryview(chunk)
        while len(view) >= self._left:
            self._piece.update(view[: self._left])
            self._pieces.append(self._piece.digest())
            view, self._piece, self._left = view[self._left :], hashlib.sha256(), PIECE_BYTES
        self._piece.update(view)
        self._left -= len(view)

    def blob(self) -> Blob:
        pieces = list(self._pieces)
        if self._left < PIECE_BYTES:
            pieces.append(self._piece.digest())
        return Blob(self._whole.digest(), self._size, tuple(pieces))
