"""Parts on their way to a device: a header and blocks of parts, in one zlib stream.

    stream = DeltaStream(header, [block])
    data = b"".join(stream)
    reader = DeltaReader([data], stream.inflated_size)
    reader.header, list(reader.blocks())

A delta from version 0 is a snapshot. What is read is bounded by the length that was signed, and
every number is checked before it is believed.
Source: docs/formats.md, "Delta"; protos/pocketlens_protos/v1/delta.proto.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pocketlens.errors import UpdateRequired
from pocketlens.formats.delta_blocks import (
    MAX_MESSAGE_BYTES,
    Block,
    check,
    damaged,
    decode_block,
    encode_block,
    parsed,
)
from pocketlens.products import is_catalogue_name
from pocketlens_protos.v1 import delta_pb2

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Header:
    """What the parts that follow do, and to what.

    Attributes:
        catalogue: Its name; see `is_catalogue_name`.
        generation: Id, 32 bytes.
        codebook_sha256: Of the codebook that lists are numbered by, 32 bytes.
        base: Any version from here to `head` - 1 is brought to `head`; 0 for a snapshot.
        head: Version.
        as_of: When `head` was published, UTC, whole microseconds.
        dim: Numbers of a code.
    """

    catalogue: str
    generation: bytes
    codebook_sha256: bytes
    base: int
    head: int
    as_of: datetime
    dim: int


class DeltaStream:
    """A stream to be written: iterate over it, once, for its bytes in pieces.

    Attributes:
        inflated_size: Of what was yielded, before it was compressed.
    """

    def __init__(self, header: Header, blocks: Iterable[Block]) -> None:
        self._header, self._blocks = header, blocks
        self.inflated_size = 0

    def __iter__(self) -> Iterator[bytes]:
        deflate = zlib.compressobj(9)
        for message in _messages(self._header, self._blocks):
            self.inflated_size += _LENGTH.size + len(message)
            yield deflate.compress(_LENGTH.pack(len(message)) + message)
        yield deflate.flush()


class DeltaReader:
    """Reads a stream as it comes: `header` at once, then `blocks`, once."""

    def __init__(self, data: Iterable[bytes], inflated_size: int) -> None:
        """Reads the header.

        Args:
            data: The stream, in pieces of any size.
            inflated_size: As signed.

        Raises:
            StateMismatch: The stream is damaged.
            UpdateRequired: It is of a newer format.
        """
        self._inflated = _Inflated(data, inflated_size)
        self.header = _read_header(self._inflated.message())

    def blocks(self) -> Iterator[Block]:
        """Yields the blocks that hold something, in order; one is in memory at a time.

        Raises:
            StateMismatch: The stream is damaged, cut or longer than was signed.
        """
        while not self._inflated.is_at_end():
            block = decode_block(self._inflated.message(), self.header.dim)
            if not block.is_empty:  # a few bytes each, and work for whoever takes one
                yield block


class _Inflated:
    """Messages of a zlib stream whose inflated length is known."""

    def __init__(self, data: Iterable[bytes], size: int) -> None:
        self._data, self._left = iter(data), size
        self._inflate = zlib.decompressobj()
        self._held = b""

    def message(self) -> bytes:
        """The next message.

        Raises:
            StateMismatch: It is cut, or the stream is.
        """
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
        if length > MAX_MESSAGE_BYTES:
            raise damaged(f"a message of {length:,} bytes")
        return self._take(length)

    def is_at_end(self) -> bool:
        """Whether all that was signed has been read; then nothing may be left over.

        Raises:
            StateMismatch: More follows.
        """
        if self._left:
            return False
        try:
            extra = self._inflate.decompress(self._inflate.unconsumed_tail, 1)
            while not extra and not self._inflate.eof:
                piece = next(self._data, None)
                if piece is None:
                    break
                extra = self._inflate.decompress(piece, 1)
        except zlib.error as exc:
            raise damaged(str(exc)) from exc
        left = extra or self._inflate.unused_data or any(self._data)
        if left or not self._inflate.eof:
            raise damaged("another length than was signed")
        return True

    def _take(self, size: int) -> bytes:
        """The next bytes, no more of the stream inflated than they need."""
        if size > self._left:
            raise damaged("a message beyond its signed length")
        self._left -= size
        pieces = [self._held[:size]]
        self._held = self._held[size:]
        missing = size - len(pieces[0])
        while missing:
            source = self._inflate.unconsumed_tail or next(self._data, None)
            if source is None or self._inflate.eof:
                raise damaged("another length than was signed")
            try:
                found = self._inflate.decompress(source, missing)
            except zlib.error as exc:
                raise damaged(str(exc)) from exc
            pieces.append(found)
            missing -= len(found)
        return b"".join(pieces)


# --- header --------------------------------------------------------------------------------------


def _messages(header: Header, blocks: Iterable[Block]) -> Iterator[bytes]:
    yield delta_pb2.DeltaHeader(
        format=FORMAT,
        catalogue=header.catalogue,
        generation=header.generation,
        codebook_sha256=header.codebook_sha256,
        base=header.base,
        head=header.head,
        as_of=(header.as_of - _EPOCH) // timedelta(microseconds=1),
        dim=header.dim,
    ).SerializeToString(deterministic=True)
    for block in blocks:
        yield encode_block(block)


def _read_header(data: bytes) -> Header:
    message = parsed(delta_pb2.DeltaHeader(), data)
    if message.format > FORMAT:
        raise UpdateRequired(
            f"Expected a delta of format {FORMAT}. Received {message.format}. Update PocketLens."
        )
    check(message.format == FORMAT, "a format")
    check(is_catalogue_name(message.catalogue), "name of a catalogue")
    check(len(message.generation) == len(message.codebook_sha256) == 32, "hashes of 32 bytes")
    check(message.base < message.head <= _MAX_VERSION, "versions")
    check(2 <= message.dim <= 4096, "dim")
    try:
        as_of = _EPOCH + timedelta(microseconds=message.as_of)
    except OverflowError as exc:
        raise damaged("a time") from exc
    return Header(
        message.catalogue,
        message.generation,
        message.codebook_sha256,
        message.base,
        message.head,
        as_of,
        message.dim,
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LENGTH = struct.Struct("<I")
_MAX_VERSION = (1 << 63) - 1  # what a store keeps
