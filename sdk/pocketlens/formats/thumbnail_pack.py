"""A pack of thumbnails to bytes and back (PURE): small pictures of many images in one file.

    blob = HEAD + b"".join(thumbnails) + index_bytes(entries)
    find(index, key_of(image.id))               # -> where its thumbnail is, or None

Entries are found by the image's id, so that a pack serves every generation and version that has the
image. Source: docs/formats.md, "Thumbnail pack".
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pocketlens.errors import StoreCorrupt, StoreTooNew

FORMAT = 1
MAX_BYTES = 3072  # of a thumbnail
HEAD = b"PLtn" + FORMAT.to_bytes(4, "little")
TAIL_BYTES = 4  # the number of entries
ENTRY_BYTES = 32

_ENTRY = struct.Struct("<16sQII")
_KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a thumbnail is in its pack.

    Attributes:
        key: `key_of` the image's id.
        offset: Of its first byte in the file.
        size: Bytes, at most 3,072; 0 says that the image has none any more.
        checksum: `checksum_of` it.
    """

    key: bytes
    offset: int
    size: int
    checksum: int

    def holds(self, thumbnail: bytes) -> bool:
        """Whether these bytes are the thumbnail that the entry is of."""
        return len(thumbnail) == self.size and checksum_of(self.key, thumbnail) == self.checksum


def key_of(image_id: str) -> bytes:
    """What an image's thumbnail is found by: 16 bytes."""
    return hashlib.sha256(image_id.encode()).digest()[:_KEY_BYTES]


def checksum_of(key: bytes, thumbnail: bytes) -> int:
    """CRC-32 of the key and the thumbnail: another image's would not fit."""
    return zlib.crc32(thumbnail, zlib.crc32(key))


def index_bytes(entries: Iterable[Entry]) -> bytes:
    """What stands behind the thumbnails: entries by ascending key, each once, and their number."""
    rows = [
        _ENTRY.pack(each.key, each.offset, each.size, each.checksum)
        for each in sorted(entries, key=lambda each: each.key)
    ]
    return b"".join(rows) + len(rows).to_bytes(TAIL_BYTES, "little")


def index_size(head: bytes, tail: bytes, file_size: int) -> int:
    """Bytes of the entries, which end where the tail begins.

    Args:
        head: The first bytes of the file, as many as `HEAD` has.
        tail: The last `TAIL_BYTES`.
        file_size: Bytes.

    Raises:
        StoreCorrupt: The file is no pack.
        StoreTooNew: It is of a newer format.
    """
    if head != HEAD:
        if head[:4] == HEAD[:4] and int.from_bytes(head[4:8], "little") > FORMAT:
            raise StoreTooNew(
                f"Expected a pack of thumbnails of format {FORMAT}. "
                f"Received {int.from_bytes(head[4:8], 'little')}. Update PocketLens."
            )
        raise StoreCorrupt("Expected a pack of thumbnails. Received another file.")
    size = int.from_bytes(tail, "little") * ENTRY_BYTES
    if size > file_size - len(HEAD) - TAIL_BYTES:
        raise StoreCorrupt("A pack of thumbnails has lost its end.")
    return size


def find(index: bytes, key: bytes) -> Entry | None:
    """The entry of a key among entries, which are `index`."""
    count = len(index) // ENTRY_BYTES
    place = bisect_left(range(count), key, key=lambda each: _key_at(index, each))
    if place == count or _key_at(index, place) != key:
        return None
    return Entry(*_ENTRY.unpack_from(index, place * ENTRY_BYTES))


def entries(index: bytes) -> Iterable[Entry]:
    """All entries."""
    return (Entry(*fields) for fields in _ENTRY.iter_unpack(index))


def pack_bytes(thumbnails: Mapping[bytes, bytes]) -> bytes:
    """A whole pack of thumbnails by their keys; an empty one says that there is none any more."""
    data, offset, made = [HEAD], len(HEAD), []
    for key, thumbnail in sorted(thumbnails.items()):
        made.append(Entry(key, offset, len(thumbnail), checksum_of(key, thumbnail)))
        data.append(thumbnail)
        offset += len(thumbnail)
    return b"".join([*data, index_bytes(made)])


def index_of(pack: bytes) -> bytes:
    """The entries of a whole pack.

    Raises:
        StoreCorrupt: It is no pack.
        StoreTooNew: It is of a newer format.
    """
    size = index_size(pack[: len(HEAD)], pack[-TAIL_BYTES:], len(pack))
    end = len(pack) - TAIL_BYTES
    return pack[end - size : end]


def check(pack: bytes) -> None:
    """Reads all of a pack.

    Raises:
        StoreCorrupt: It is no pack, or an entry is not of a thumbnail in it.
        StoreTooNew: It is of a newer format.
    """
    index, before = index_of(pack), b""
    end = len(pack) - TAIL_BYTES - len(index)
    for entry in entries(index):
        stop = entry.offset + entry.size
        is_inside = len(HEAD) <= entry.offset and stop <= end and entry.size <= MAX_BYTES
        if not (before < entry.key and is_inside and entry.holds(pack[entry.offset : stop])):
            raise StoreCorrupt("A pack of thumbnails has an entry that is of none in it.")
        before = entry.key


def _key_at(index: bytes, place: int) -> bytes:
    return index[place * ENTRY_BYTES : place * ENTRY_BYTES + _KEY_BYTES]
