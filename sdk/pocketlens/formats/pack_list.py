"""Which packs hold the thumbnails of a version: what a manifest names, to bytes and back (PURE).

    listed = decode(data)
    listed.packs[0].blob

Source: docs/formats.md, "Pack list"; protos/pocketlens_protos/v1/thumbnails.proto.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from pocketlens.errors import TrustError, UpdateRequired
from pocketlens.formats.manifest import PIECE_BYTES, Blob
from pocketlens_protos.v1 import thumbnails_pb2

FORMAT = 1
MAX_PACKS = 4096  # of a mebibyte each


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack of thumbnails.

    Attributes:
        sha256: Of its file, 32 bytes.
        size: Of its file, at most 1 MiB.
        count: Thumbnails in it.
        head: A store that has all thumbnails of this version needs it no more.
    """

    sha256: bytes
    size: int
    count: int
    head: int

    @property
    def blob(self) -> Blob:
        """Its file, which is one piece."""
        return Blob(self.sha256, self.size, (self.sha256,))


@dataclass(frozen=True, slots=True)
class PackList:
    """All packs of a catalogue.

    Attributes:
        head: The version whose thumbnails these are.
        packs: The oldest first.
    """

    head: int
    packs: tuple[Pack, ...]


def encode(listed: PackList) -> bytes:
    """The bytes of the blob."""
    packs = [
        thumbnails_pb2.ThumbnailPack(
            sha256=each.sha256, size=each.size, count=each.count, head=each.head
        )
        for each in listed.packs
    ]
    return thumbnails_pb2.PackList(format=FORMAT, head=listed.head, packs=packs).SerializeToString(
        deterministic=True
    )


def decode(data: bytes) -> PackList:
    """Reads what a manifest names.

    Raises:
        TrustError: It is no list of packs, whoever signed it.
        UpdateRequired: It is of a newer format.
    """
    message = thumbnails_pb2.PackList()
    try:
        message.ParseFromString(data)
    except DecodeError as exc:
        raise _wrong("message") from exc
    if message.format > FORMAT:
        raise UpdateRequired(
            f"Expected a list of packs of format {FORMAT}. Received {message.format}. "
            "Update PocketLens."
        )
    _check(message.format == FORMAT, "format")
    _check(1 <= message.head < 1 << 63, "version")
    _check(len(message.packs) <= MAX_PACKS, "number of packs")
    packs = []
    for each in message.packs:
        _check(len(each.sha256) == 32, "hash")
        _check(1 <= each.size <= PIECE_BYTES and each.count >= 1, "length of a pack")
        _check(1 <= each.head <= message.head, "version of a pack")
        packs.append(Pack(each.sha256, each.size, each.count, each.head))
    _check(len({each.sha256 for each in packs}) == len(packs), "pack, which comes twice")
    return PackList(message.head, tuple(packs))


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise _wrong(what)


def _wrong(what: str) -> TrustError:
    return TrustError(f"Expected a list of packs of thumbnails. Received one with a wrong {what}.")
