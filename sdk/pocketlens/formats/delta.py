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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from pocketlens.errors import StateMismatch, UpdateRequired
from pocketlens.formats import parts
from pocketlens.formats.parts import ImagePart, OfferPart, PlacementPart, ProductPart
from pocketlens.products import MAX_ID_BYTES
from pocketlens_protos.v1 import delta_pb2

FORMAT = 1
MAX_MESSAGE_BYTES = 4 << 20
MAX_KEY = (1 << 32) - 1
MAX_AMOUNT = 1 << 53  # of a price or a stock


@dataclass(frozen=True, slots=True)
class Header:
    """What the parts that follow do, and to what.

    Attributes:
        catalogue: Its name.
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


@dataclass(frozen=True, slots=True)
class Block:
    """Final states of some parts, each kind by ascending key.

    Attributes:
        deleted_products, deleted_images: Keys.
        products, images, offers, placements: Whole parts.
    """

    deleted_products: Sequence[int] = ()
    deleted_images: Sequence[int] = ()
    products: Sequence[ProductPart] = ()
    images: Sequence[ImagePart] = ()
    offers: Sequence[OfferPart] = ()
    placements: Sequence[PlacementPart] = ()


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
        """Yields the blocks in order; one is in memory at a time.

        Raises:
            StateMismatch: The stream is damaged, cut or longer than was signed.
        """
        while not self._inflated.is_at_end():
            yield _read_block(self._inflated.message(), self.header.dim)


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
            raise _damaged(f"a message of {length:,} bytes")
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
            raise _damaged(str(exc)) from exc
        left = extra or self._inflate.unused_data or any(self._data)
        if left or not self._inflate.eof:
            raise _damaged("another length than was signed")
        return True

    def _take(self, size: int) -> bytes:
        """The next bytes, no more of the stream inflated than they need."""
        if size > self._left:
            raise _damaged("a message beyond its signed length")
        self._left -= size
        pieces = [self._held[:size]]
        self._held = self._held[size:]
        missing = size - len(pieces[0])
        while missing:
            source = self._inflate.unconsumed_tail or next(self._data, None)
            if source is None or self._inflate.eof:
                raise _damaged("another length than was signed")
            try:
                found = self._inflate.decompress(source, missing)
            except zlib.error as exc:
                raise _damaged(str(exc)) from exc
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
        yield _block_message(block)


def _read_header(data: bytes) -> Header:
    message = _parsed(delta_pb2.DeltaHeader(), data)
    if message.format > FORMAT:
        raise UpdateRequired(
            f"Expected a delta of format {FORMAT}. Received {message.format}. Update PocketLens."
        )
    _check(message.format == FORMAT, "a format")
    _check(len(message.generation) == len(message.codebook_sha256) == 32, "hashes of 32 bytes")
    _check(message.base < message.head <= _MAX_VERSION, "versions")
    _check(2 <= message.dim <= 4096, "dim")
    try:
        as_of = _EPOCH + timedelta(microseconds=message.as_of)
    except OverflowError as exc:
        raise _damaged("a time") from exc
    return Header(
        message.catalogue,
        message.generation,
        message.codebook_sha256,
        message.base,
        message.head,
        as_of,
        message.dim,
    )


# --- blocks --------------------------------------------------------------------------------------


def _block_message(block: Block) -> bytes:
    message = delta_pb2.PartsBlock(
        deleted_product_steps=_steps(block.deleted_products),
        deleted_image_steps=_steps(block.deleted_images),
    )
    if block.products:
        message.products.CopyFrom(_product_columns(block.products))
    if block.images:
        message.images.CopyFrom(_image_columns(block.images))
    if block.offers:
        message.offers.CopyFrom(_offer_columns(block.offers))
    if block.placements:
        message.placements.CopyFrom(
            delta_pb2.PlacementColumns(
                image_key_steps=_steps([part.image_key for part in block.placements]),
                lists=[part.list_number for part in block.placements],
            )
        )
    data = message.SerializeToString(deterministic=True)
    if len(data) > MAX_MESSAGE_BYTES:
        raise ValueError(
            f"Expected a block of {MAX_MESSAGE_BYTES:,} bytes at most. Received {len(data):,}."
        )
    return data


def _read_block(data: bytes, dim: int) -> Block:
    message = _parsed(delta_pb2.PartsBlock(), data)
    placements = message.placements
    keys = _keys(placements.image_key_steps)
    _check(len(placements.lists) == len(keys), "placements")
    return Block(
        deleted_products=_keys(message.deleted_product_steps),
        deleted_images=_keys(message.deleted_image_steps),
        products=_read_products(message.products),
        images=_read_images(message.images, dim),
        offers=_read_offers(message.offers),
        placements=tuple(map(PlacementPart, keys, placements.lists)),
    )


def _product_columns(products: Sequence[ProductPart]) -> delta_pb2.ProductColumns:
    categories, names = _Table(), _Table()
    sorted_attributes = [sorted(part.attributes.items()) for part in products]
    return delta_pb2.ProductColumns(
        key_steps=_steps([part.key for part in products]),
        ids=[part.id for part in products],
        titles=[part.title for part in products],
        urls=[part.url for part in products],
        categories=[categories.number(part.category) for part in products],
        category_names=categories.texts,
        attribute_counts=[len(part.attributes) for part in products],
        attribute_names=[names.number(name) for pairs in sorted_attributes for name, _ in pairs],
        attribute_name_texts=names.texts,
        attribute_values=[value for pairs in sorted_attributes for _, value in pairs],
    )


def _read_products(columns: delta_pb2.ProductColumns) -> tuple[ProductPart, ...]:
    keys = _keys(columns.key_steps)
    _check_ids(columns.ids)
    for column in (
        columns.ids,
        columns.titles,
        columns.urls,
        columns.categories,
        columns.attribute_counts,
    ):
        _check(len(column) == len(keys), "columns of products")
    categories = _texts(columns.categories, columns.category_names)
    names = _texts(columns.attribute_names, columns.attribute_name_texts)
    values, counts = columns.attribute_values, columns.attribute_counts
    _check(len(names) == len(values) == sum(counts), "attributes")
    found, at = [], 0
    for row, key in enumerate(keys):
        end = at + counts[row]
        mine = names[at:end]
        _check(all(left < right for left, right in pairwise(mine)), "attributes")
        attributes = dict(zip(mine, values[at:end], strict=True))
        texts = columns.ids[row], columns.titles[row], categories[row], columns.urls[row]
        found.append(ProductPart(key, *texts, attributes))
        at = end
    return tuple(found)


def _image_columns(images: Sequence[ImagePart]) -> delta_pb2.ImageColumns:
    product_keys = [key for part in images for key in part.product_keys]
    return delta_pb2.ImageColumns(
        key_steps=_steps([part.key for part in images]),
        ids=[part.id for part in images],
        urls=[part.url for part in images],
        product_counts=[len(part.product_keys) for part in images],
        product_key_steps=np.diff(np.array(product_keys, np.int64), prepend=0).tolist(),
        codes=b"".join(part.code for part in images),
    )


def _read_images(columns: delta_pb2.ImageColumns, dim: int) -> tuple[ImagePart, ...]:
    keys = _keys(columns.key_steps)
    _check_ids(columns.ids)
    for column in (columns.ids, columns.urls, columns.product_counts):
        _check(len(column) == len(keys), "columns of images")
    _check(len(columns.codes) == dim * len(keys), "codes")
    _check(b"\x80" not in columns.codes, "codes")  # -128 is never written
    counts = columns.product_counts
    _check(min(counts, default=1) >= 1, "an image of a product")
    _check(sum(counts) == len(columns.product_key_steps), "products of images")
    steps = np.array(columns.product_key_steps, np.int64)
    _check(bool((np.abs(steps) <= MAX_KEY).all()), "products of images")
    product_keys = np.cumsum(steps)
    _check(bool(((product_keys >= 1) & (product_keys <= MAX_KEY)).all()), "products of images")
    within = np.ones(len(steps), np.bool_)
    within[[0, *accumulate(counts[:-1])][: len(keys)]] = False
    _check(bool((steps[within] > 0).all()), "ascending products of an image")
    flat, at, found = product_keys.tolist(), 0, []
    for row, key in enumerate(keys):
        end = at + counts[row]
        code = columns.codes[row * dim : (row + 1) * dim]
        found.append(ImagePart(key, columns.ids[row], columns.urls[row], tuple(flat[at:end]), code))
        at = end
    return tuple(found)


def _offer_columns(offers: Sequence[OfferPart]) -> delta_pb2.OfferColumns:
    currencies = _Table()
    return delta_pb2.OfferColumns(
        key_steps=_steps([part.key for part in offers]),
        prices=[part.price_minor_units for part in offers],
        currencies=[currencies.number(part.currency) for part in offers],
        currency_names=currencies.texts,
        stocks=[part.stock for part in offers],
    )


def _read_offers(columns: delta_pb2.OfferColumns) -> tuple[OfferPart, ...]:
    keys = _keys(columns.key_steps)
    for column in (columns.prices, columns.currencies, columns.stocks):
        _check(len(column) == len(keys), "columns of offers")
    for name in columns.currency_names:
        capital = len(name) == 3 and name.isascii() and name.isalpha() and name.isupper()
        _check(not name or capital, "currencies")
    currencies = _texts(columns.currencies, columns.currency_names)
    for price, currency in zip(columns.prices, currencies, strict=True):
        right = 0 <= price <= MAX_AMOUNT if currency else price == parts.UNKNOWN
        _check(right, "prices")
    for stock in columns.stocks:
        _check(parts.UNKNOWN <= stock <= MAX_AMOUNT, "stocks")
    return tuple(map(OfferPart, keys, columns.prices, currencies, columns.stocks))


class _Table:
    """Texts numbered in the order in which they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def texts(self) -> list[str]:
        return list(self._numbers)


def _texts(numbers: Sequence[int], table: Sequence[str]) -> list[str]:
    _check(max(numbers, default=-1) < len(table), "numbers of texts")
    return [table[number] for number in numbers]


def _steps(keys: Sequence[int]) -> list[int]:
    return [key - before for before, key in pairwise([0, *keys])]


def _keys(steps: Sequence[int]) -> list[int]:
    keys = list(accumulate(steps))
    _check(all(steps) and (not keys or keys[-1] <= MAX_KEY), "keys that do not ascend")
    return keys


def _check_ids(ids: Iterable[str]) -> None:
    for each in ids:
        _check(0 < len(each.encode()) <= MAX_ID_BYTES, "ids")


AnyMessage = TypeVar("AnyMessage", bound=Message)


def _parsed(message: AnyMessage, data: bytes) -> AnyMessage:
    try:
        message.ParseFromString(data)
    except DecodeError as exc:
        raise _damaged("a message that is none") from exc
    return message


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise _damaged(f"wrong {what}")


def _damaged(what: str) -> StateMismatch:
    return StateMismatch(f"Expected a delta. Received one with {what}. Fetch it again.")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LENGTH = struct.Struct("<I")
_MAX_VERSION = (1 << 63) - 1  # what a store keeps
