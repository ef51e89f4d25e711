"""How files come from a server: the protocol, and copies of one in a folder and in memory."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pocketlens.errors import TransportError
from pocketlens.formats.manifest import PIECE_BYTES, Blob

CHUNK_BYTES = 64 << 10
INLINE_BYTES = 64 << 10  # of a delta that comes with an answer, at most


@dataclass(frozen=True, slots=True)
class AtHand:
    """What a device has, as it tells a server.

    Attributes:
        generation: Id of the one that its store follows, 32 bytes; empty for the newest.
        version: Of the store; 0 where there is none of the generation on offer.
        versions: Of the signed metadata that it trusts, by role: root, timestamp, snapshot,
            targets, models, publishing.
        timestamp: Signed metadata of that role; empty where it has none.
        without_delta: Whether a delta is not to come unasked, since it may cost too much.
    """

    generation: bytes
    version: int
    versions: Mapping[str, int]
    timestamp: bytes
    without_delta: bool = False


class Transport(Protocol):
    """Files of one catalogue. Used by one thread at a time.

    Whatever comes is checked by who asked for it; a transport neither trusts nor distrusts.
    """

    def poll(self, have: AtHand) -> None:
        """Is told what the device has, before files are asked for.

        Raises:
            TransportError: The server cannot be reached.
        """

    def file(self, name: str) -> Iterator[bytes] | None:
        """A file of signed metadata or a manifest, in chunks as they are asked for.

        Args:
            name: Below the catalogue's folder, such as "metadata/timestamp.json".

        Returns:
            None where there is no such file.

        Raises:
            TransportError: That cannot be known, at once or while chunks are asked for.
        """

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        """A piece of a blob, in chunks as they are asked for.

        Raises:
            TransportError: It does not come, or not whole.
        """

    def close(self) -> None:
        """Frees what it holds; closing again is no error."""


class FolderTransport:
    """A folder that is a catalogue's part of a server's public files, or a copy of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def poll(self, have: AtHand) -> None:
        """Every file is at hand."""

    def file(self, name: str) -> Iterator[bytes] | None:
        """See `Transport`."""
        path = self._folder / name
        return _read(path, 0, None) if path.is_file() else None

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        """See `Transport`."""
        path = self._folder / "blobs" / blob.sha256.hex()
        return _read(path, number * PIECE_BYTES, blob.piece_size(number))

    def close(self) -> None:
        """Holds nothing."""


class MemoryTransport:
    """Files in memory, by their names below the catalogue's folder."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def poll(self, have: AtHand) -> None:
        """Every file is at hand."""

    def file(self, name: str) -> Iterator[bytes] | None:
        """See `Transport`."""
        return iter([self._files[name]]) if name in self._files else None

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        """See `Transport`."""
        name = f"blobs/{blob.sha256.hex()}"
        if name not in self._files:
            raise TransportError(f"There is no {name}.")
        start = number * PIECE_BYTES
        yield self._files[name][start : start + blob.piece_size(number)]

    def close(self) -> None:
        """Holds nothing that must be freed."""


def _read(path: Path, start: int, size: int | None) -> Iterator[bytes]:
    left = size
    try:
        with path.open("rb") as file:
            file.seek(start)
            while left is None or left > 0:
                chunk = file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
                if not chunk:
                    break
                left = None if left is None else left - len(chunk)
                yield chunk
    except OSError as exc:
        raise TransportError(f"{path} cannot be read: {exc.strerror}.") from exc
