"""Parts of a catalogue's state, image, placement, product and offer, to canonical bytes and back.

    data = encode_offer(key=7, price_minor_units=1250, currency="EUR", stock=3)
    decode(data)  # OfferPart(key=7, price_minor_units=1250, currency="EUR", stock=3)

One part has exactly one encoding: `decode` refuses every other. Numbers are little endian, text
is UTF-8 behind its length, product keys ascend, attributes are sorted by name.
Source: docs/formats.md, "Canonical bytes of parts".
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from pocketlens.errors import CatalogError

TAG_IMAGE, TAG_PLACEMENT, TAG_PRODUCT, TAG_OFFER = 1, 2, 3, 4
UNKNOWN = -1  # price or stock that nobody told
OFFER_BYTES = 24

_HEAD = struct.Struct("<BI")
_HEAD_AND_LENGTH = struct.Struct("<BII")
_U32 = struct.Struct("<I")
_PLACEMENT = struct.Struct("<BII")
_OFFER = struct.Struct("<BIq3sq")
_OFFER_TAIL = struct.Struct("<q3sq")


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A catalogue picture.

    Attributes:
        product_keys: Of the products that it shows, ascending, each once.
        code: int8 bytes, one a dimension.
    """

    key: int
    id: str
    url: str
    product_keys: tuple[int, ...]
    code: bytes


@dataclass(frozen=True, slots=True)
class PlacementPart:
    """Which list holds the code of an image."""

    image_key: int
    list_number: int


@dataclass(frozen=True, slots=True)
class ProductPart:
    """What is said of a product; "" where nothing is."""

    key: int
    id: str
    title: str
    category: str
    url: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OfferPart:
    """What changes daily: every product has one.

    Attributes:
        price_minor_units: 0 or more; `UNKNOWN` without a price.
        currency: Three capital letters; "" without a price.
        stock: Pieces, 0 or more; `UNKNOWN` where it is.
    """

    key: int
    price_minor_units: int
    currency: str
    stock: int


Part = ImagePart | PlacementPart | ProductPart | OfferPart


def encode(part: Part) -> bytes:
    """The canonical bytes of any part."""
    match part:
        case ImagePart(key, id_, url, product_keys, code):
            return encode_image(key, id_, url, product_keys, code)
        case PlacementPart(image_key, list_number):
            return encode_placement(image_key, list_number)
        case ProductPart():
            return encode_product(part)
        case OfferPart(key, price, currency, stock):
            return encode_offer(key, price, currency, stock)


def encode_image(key: int, id_: str, url: str, product_keys: Sequence[int], code: bytes) -> bytes:
    """Tag, key, id, url, count and product keys, length and code; see `ImagePart`."""
    id_bytes, url_bytes, count = id_.encode(), url.encode(), len(product_keys)
    return b"".join(
        (
            _HEAD_AND_LENGTH.pack(TAG_IMAGE, key, len(id_bytes)),
            id_bytes,
            _U32.pack(len(url_bytes)),
            url_bytes,
            struct.pack(f"<{count + 2}I", count, *product_keys, len(code)),
            code,
        )
    )


def encode_placement(image_key: int, list_number: int) -> bytes:
    """Tag, image key, list: 9 bytes."""
    return _PLACEMENT.pack(TAG_PLACEMENT, image_key, list_number)


def encode_product(part: ProductPart) -> bytes:
    """Tag, key, id, title, category, url, count and attributes by name."""
    texts = [part.id, part.title, part.category, part.url]
    pieces = [_HEAD.pack(TAG_PRODUCT, part.key)]
    pieces += [_text(text) for text in texts]
    pieces.append(encode_attributes(part.attributes))
    return b"".join(pieces)


def encode_attributes(attributes: Mapping[str, str]) -> bytes:
    """Count, then name and value of each, sorted by name: the tail of a product's bytes."""
    pieces = [_U32.pack(len(attributes))]
    for name in sorted(attributes):  # by code point, which is the order of UTF-8 bytes too
        pieces += [_text(name), _text(attributes[name])]
    return b"".join(pieces)


def encode_offer(key: int, price_minor_units: int, currency: str, stock: int) -> bytes:
    """Tag, key, price, currency (three zeros without one), stock: 24 bytes."""
    return _OFFER.pack(TAG_OFFER, key, price_minor_units, currency.encode(), stock)


def decode(data: bytes) -> Part:
    """Reads canonical bytes.

    Raises:
        CatalogError: They are not the canonical bytes of a part.
    """
    cursor = _Cursor(data)
    part = _part(cursor)
    _check(cursor.at == len(data) and encode(part) == data)
    return part


def decode_attributes(data: bytes) -> dict[str, str]:
    """Reads what `encode_attributes` wrote.

    Raises:
        CatalogError: The bytes are cut, or no text, or more follow.
    """
    cursor = _Cursor(data)
    attributes = _attributes(cursor)
    _check(cursor.at == len(data))
    return attributes


class _Cursor:
    """A place in bytes that may be cut or wrong anywhere."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def take(self, size: int) -> bytes:
        taken = self._data[self.at : self.at + size]
        _check(len(taken) == size)
        self.at += size
        return taken

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def text(self) -> str:
        try:
            return self.take(self.u32()).decode()
        except UnicodeDecodeError as exc:
            raise CatalogError(_NOT_CANONICAL) from exc


def _part(cursor: _Cursor) -> Part:
    tag, key = cursor.take(1)[0], cursor.u32()
    match tag:
        case 1:
            id_, url = cursor.text(), cursor.text()
            keys = _product_keys(cursor)
            return ImagePart(key, id_, url, keys, cursor.take(cursor.u32()))
        case 2:
            return PlacementPart(key, cursor.u32())
        case 3:
            id_, title, category, url = (cursor.text() for _ in range(4))
            return ProductPart(key, id_, title, category, url, _attributes(cursor))
        case 4:
            return _offer(key, *_OFFER_TAIL.unpack(cursor.take(_OFFER_TAIL.size)))
        case _:
            raise CatalogError(_NOT_CANONICAL)


def _product_keys(cursor: _Cursor) -> tuple[int, ...]:
    count = cursor.u32()
    keys = struct.unpack(f"<{count}I", cursor.take(4 * count))
    _check(all(left < right for left, right in pairwise(keys)))
    return keys


def _attributes(cursor: _Cursor) -> dict[str, str]:
    pairs = ((cursor.text(), cursor.text()) for _ in range(cursor.u32()))
    return dict(pairs)  # equal or unsorted names show when it is encoded again


def _offer(key: int, price: int, currency: bytes, stock: int) -> OfferPart:
    known = currency != bytes(3)
    _check(not known or (currency.isalpha() and currency.isupper()))
    _check(price >= 0 if known else price == UNKNOWN)
    _check(stock >= UNKNOWN)
    return OfferPart(key, price, currency.decode("ascii") if known else "", stock)


def _text(text: str) -> bytes:
    data = text.encode()
    return _U32.pack(len(data)) + data


_NOT_CANONICAL = "Expected the canonical bytes of a part. Received others. Fetch them again."


def _check(holds: bool) -> None:
    if not holds:
        raise CatalogError(_NOT_CANONICAL)
