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

    def path(self, sha256: bytes) -> Path:
        """Where the blob with this hash is, or would be."""
        return self._folder / sha256.hex()

    def put(self, chunks: Iterable[bytes]) -> Blob:
        """Keeps a blob, given in chunks of any size; what is there already stays.

        Raises:
            StoreFull, StoreReadOnly: It cannot be written.
        """
        temporary = self._folder / f".{secrets.token_hex(8)}.tmp"
        whole, size, pieces, piece, left = hashlib.sha256(), 0, [], hashlib.sha256(), PIECE_BYTES
        try:
            with temporary.open("xb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    whole.update(chunk)
                    size += len(chunk)
                    view = memoryview(chunk)
                    while len(view) >= left:
                        piece.update(view[:left])
                        pieces.append(piece.digest())
                        view, piece, left = view[left:], hashlib.sha256(), PIECE_BYTES
                    piece.update(view)
                    left -= len(view)
                if left < PIECE_BYTES:
                    pieces.append(piece.digest())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path(whole.digest()))
            sync_folder(self._folder)
        except OSError as exc:
            raise translated(exc, self._folder) from exc
        finally:
            temporary.unlink(missing_ok=True)
        return Blob(whole.digest(), size, tuple(pieces))
