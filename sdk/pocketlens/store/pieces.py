"""Pieces of files on their way: kept by their hash, so that a sync that was cut off goes on.

    pieces.put(sha256, chunks, size=size)
    for data in pieces.read(blob): ...

A piece is checked when it comes and again when it is used: what rotted is dropped, and fetched
again by the next sync.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pocketlens.durable_files import translated, write_file
from pocketlens.errors import StoreCorrupt, TransportError
from pocketlens.formats.manifest import Blob

_PIECE = re.compile(r"[0-9a-f]{64}")


def received(chunks: Iterable[bytes], sha256: bytes, *, size: int) -> bytes:
    """A piece as it comes; no more is read of it than `size`.

    Raises:
        TransportError: What came is not this piece.
    """
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > size:
            break
    if len(data) != size or hashlib.sha256(data).digest() != sha256:
        raise TransportError(
            f"Expected a piece of {size:,} bytes. Received another, of {len(data):,} or more. "
            "Something between changes what the server sends, or the server is damaged."
        )
    return bytes(data)


class Pieces:
    """The pieces in one folder, which is made when the first comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def at_hand(self) -> frozenset[bytes]:
        """SHA-256 of every piece."""
        if not self._folder.is_dir():
            return frozenset()
        names = [path.name for path in self._folder.iterdir()]
        return frozenset(bytes.fromhex(name) for name in names if _PIECE.fullmatch(name))

    def put(self, sha256: bytes, chunks: Iterable[bytes], *, size: int) -> None:
        """Keeps a piece; no more is read of it than `size`.

        Raises:
            TransportError: What came is not this piece.
            StoreFull, StoreReadOnly: It cannot be written.
        """
        data = received(chunks, sha256, size=size)
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as exc:
            raise translated(exc, self._folder) from exc
        write_file(self._folder / sha256.hex(), data, is_private=True)

    def read(self, blob: Blob) -> Iterator[bytes]:
        """Yields the pieces of a blob.

        Raises:
            StoreCorrupt: One is missing or damaged, and gone now.
        """
        for sha256 in blob.pieces:
            data = self._whole(sha256)
            if data is None:
                for each in self.at_hand():  # where one rotted, others may have
                    self._whole(each)
                path = self._folder / sha256.hex()
                raise StoreCorrupt(f"A piece that was fetched is damaged: {path}. Sync again.")
            yield data

    def _whole(self, sha256: bytes) -> bytes | None:
        """A piece; one that is damaged is dropped."""
        path = self._folder / sha256.hex()
        with suppress(OSError):
            data = path.read_bytes()
            if hashlib.sha256(data).digest() == sha256:
                return data
            path.unlink()
        return None

    def have(self, blobs: Iterable[Blob]) -> bool:
        """Whether all pieces of some blobs are at hand."""
        return {sha256 for blob in blobs for sha256 in blob.pieces} <= set(self.at_hand())

    def keep(self, blobs: Iterable[Blob]) -> None:
        """Drops all but those of some blobs, and what a writer that was cut off left there."""
        kept = {sha256.hex() for blob in blobs for sha256 in blob.pieces}
        for path in [*self._folder.glob("*"), *self._folder.glob(".*.tmp")]:
            if path.name not in kept and _PIECE.fullmatch(path.name.lstrip(".").partition(".")[0]):
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self._folder.rmdir()
