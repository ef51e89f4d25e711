"""The thumbnails of one install: packs beside its database, named by their hash.

    installs/<...>/<SHA-256, hex>.thumbnails        which the fact `thumbnail_packs` names

    with ThumbnailWriter(folder) as writer:
        writer.put(image.id, webp)
        packs = writer.finish()
    Thumbnails(install, facts.thumbnail_packs).of(image.id)

A pack never changes. What is wrong with one takes its thumbnails away and nothing else: no search
needs them. A newer pack's thumbnail of an image goes before an older one's.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.closing import Closing
from pocketlens.durable_files import translated
from pocketlens.errors import StoreCorrupt, StoreError
from pocketlens.formats import thumbnail_pack
from pocketlens.formats.thumbnail_pack import HEAD, TAIL_BYTES, Entry

logger = logging.getLogger(__name__)

SUFFIX = ".thumbnails"

_READ_BYTES = 1 << 20


def pack_path(install: Path, sha256: bytes) -> Path:
    """Where an install has the pack with this hash."""
    return install / f"{sha256.hex()}{SUFFIX}"


@dataclass(frozen=True, slots=True)
class ThumbnailFacts:
    """Thumbnails of an install that can be shown.

    Attributes:
        count: Images that have one.
        size_bytes: Of the packs' files.
    """

    count: int
    size_bytes: int


class ThumbnailWriter(Closing):
    """Writes one pack into a folder, thumbnail by thumbnail; used by one thread.

    Memory is 32 bytes a thumbnail and a little. Before `finish` the file has a name that nothing
    looks for; the caller removes the folder if that does not come.
    """

    def __init__(self, folder: Path) -> None:
        """Makes the file.

        Raises:
            StoreFull, StoreReadOnly: It cannot be written.
        """
        self._path = folder / f".pack{SUFFIX}.tmp"
        self._entries: list[Entry] = []
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0
        try:
            self._file = self._path.open("xb")
        except OSError as exc:
            raise translated(exc, self._path) from exc
        self._write(HEAD)

    def close(self) -> None:
        """Closes the file; closing again is no error."""
        self._file.close()

    @property
    def count(self) -> int:
        """Thumbnails so far."""
        return len(self._entries)

    def put(self, image_id: str, thumbnail: bytes) -> None:
        """Adds the thumbnail of an image that has none yet.

        Raises:
            StoreFull: The disk has no room.
        """
        key = thumbnail_pack.key_of(image_id)
        checksum = thumbnail_pack.checksum_of(key, thumbnail)
        self._entries.append(Entry(key, self.size_bytes, len(thumbnail), checksum))
        self._write(thumbnail)

    def finish(self) -> tuple[bytes, ...]:
        """Makes the file durable under its hash, but for its name, as the folder is not flushed.

        Returns:
            The hash, for the fact `thumbnail_packs`; none where nothing was put, nor a file then.

        Raises:
            StoreFull: The disk has no room.
        """
        if not self._entries:
            self.close()
            self._path.unlink()
            return ()
        self._write(thumbnail_pack.index_bytes(self._entries))
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self.close()
            self._path.rename(pack_path(self._path.parent, self._sha256.digest()))
        except OSError as exc:
            raise translated(exc, self._path) from exc
        return (self._sha256.digest(),)

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as exc:
            raise translated(exc, self._path) from exc
        self._sha256.update(data)
        self.size_bytes += len(data)


class Thumbnails:
    """Reads the thumbnails of one install; thread-safe.

    Its files are open from the first moment until nobody holds it any more. Images of a search
    result do: they are shown also when their Lens has moved on or closed, and the install is gone.
    """

    def __init__(self, install: Path, packs: Sequence[bytes]) -> None:
        """Opens the packs; one that cannot be opened has no thumbnails.

        Args:
            install: Its folder.
            packs: SHA-256 of each, the oldest first.
        """
        opened = (_Pack.opened(pack_path(install, sha256)) for sha256 in reversed(packs))
        self._packs = [pack for pack in opened if pack is not None]

    def of(self, image_id: str) -> bytes | None:
        """The thumbnail of an image, WebP; None where there is none, or it is damaged."""
        key = thumbnail_pack.key_of(image_id)
        for pack in self._packs:
            if (entry := pack.find(key)) is not None:
                return pack.read(entry) or None
        return None

    @property
    def facts(self) -> ThumbnailFacts:
        """How many there are, read from the packs."""
        sizes: dict[bytes, int] = {}
        for pack in self._packs:
            for entry in pack.entries():
                sizes.setdefault(entry.key, entry.size)
        count = sum(1 for size in sizes.values() if size)
        return ThumbnailFacts(count, sum(pack.size_bytes for pack in self._packs))


def findings(install: Path, packs: Sequence[bytes]) -> Iterator[str]:
    """Reads whole packs, and yields what is wrong with them."""
    for sha256 in packs:
        path = pack_path(install, sha256)
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while data := file.read(_READ_BYTES):
                    digest.update(data)
        except OSError as exc:
            yield f"The thumbnails {path} are missing: {exc.strerror}. {_MEND}"
            continue
        if digest.digest() != sha256:
            pack = _Pack.opened(path)
            found = list(pack.entries()) if pack else []
            lost = sum(1 for entry in found if pack is None or pack.read(entry) is None)
            which = f"{lost:,} of {len(found):,}" if found else "none can be read"
            yield f"The thumbnails {path} are damaged ({which}). {_MEND}"


_MEND = "Searches go on without. Make the store again: pocketlens index --thumbnails"


class _Pack:
    """One pack's file, open until nobody holds it."""

    def __init__(self, path: Path, read_at: Callable[[int, int], bytes], size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._name, self._read_at = path.stem[:12], read_at  # more of a hash reads as a secret
        self._index: bytes | None = None  # 32 bytes an image: read with the first thumbnail

    @classmethod
    def opened(cls, path: Path) -> _Pack | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as exc:
            logger.warning("thumbnails.missing pack=%s error=%s", path.stem[:12], exc.strerror)
            return None
        pack = cls(path, _reading(descriptor), os.fstat(descriptor).st_size)
        weakref.finalize(pack, os.close, descriptor)
        return pack

    def find(self, key: bytes) -> Entry | None:
        return thumbnail_pack.find(self._entries(), key)

    def entries(self) -> Iterator[Entry]:
        return iter(thumbnail_pack.entries(self._entries()))

    def read(self, entry: Entry) -> bytes | None:
        """A thumbnail, if it is whole."""
        if entry.size <= thumbnail_pack.MAX_BYTES:
            try:
                data = self._read_at(entry.size, entry.offset)
            except (OSError, OverflowError):  # of the disk; of an offset that is damaged
                data = b""
            if entry.holds(data):
                return data
        logger.warning("thumbnails.damaged pack=%s", self._name)
        return None

    def _entries(self) -> bytes:
        if self._index is None:
            self._index = self._whole_index()
        return self._index

    def _whole_index(self) -> bytes:
        """All entries; none where the file is no pack any more."""
        end = self.size_bytes - TAIL_BYTES
        try:
            head, tail = self._read_at(len(HEAD), 0), self._read_at(TAIL_BYTES, max(0, end))
            size = thumbnail_pack.index_size(head, tail, self.size_bytes)
            index = self._read_at(size, end - size)
            _check_whole(index, size)
        except (OSError, StoreError) as exc:
            logger.warning("thumbnails.damaged pack=%s error=%s", self._name, exc)
            return b""
        return index


def _check_whole(index: bytes, size: int) -> None:
    if len(index) != size:  # cut short since it was opened
        raise StoreCorrupt("A pack of thumbnails has lost its end.")


def _reading(descriptor: int) -> Callable[[int, int], bytes]:
    """Reads so many bytes at an offset, for many threads at once."""
    if hasattr(os, "pread"):
        return lambda size, offset: os.pread(descriptor, size, offset)
    lock = threading.Lock()  # Windows

    def read_at(size: int, offset: int) -> bytes:
        with lock:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, size)

    return read_at
