"""Values to rows of the store's tables and back, each row with its checksum (PURE).

A row that does not say what its checksum says raises `StoreCorrupt` when it is read; so does one
whose types SQLite changed. What a checksum covers: docs/formats.md, "Store directory".
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlens.errors import CatalogError, StoreCorrupt
from pocketlens.formats import parts
from pocketlens.formats.parts import OfferPart, ProductPart
from pocketlens.products import Image, Price, Product
from pocketlens.store.checksums import checksum, checksums

ProductRow = tuple[int, str, str, int, str, bytes, int]
OfferRow = tuple[int, int, int, int, int]
ImageRow = tuple[int, str, str, int]
ChunkRow = tuple[int, bytes, bytes, int]
AttributeRow = tuple[str, str, int, bytes, int]

CHUNK_CODES = 128
MAP_CHUNK = 1000  # two maps of 16 bits, or one of 32, fill a page of 4,096 bytes
MAX_LISTS = 1 << 16  # the map of images holds 16 bits each
PLACE_BITS = 20  # of a place for the number of the chunk in its list


def product_part(key: int, product: Product) -> ProductPart:
    """The part of a product that an offer does not hold."""
    return ProductPart(
        key, product.id, product.title, product.category, product.url, product.attributes
    )


def offer_part(key: int, product: Product) -> OfferPart:
    """The part of a product that changes daily."""
    stock = parts.UNKNOWN if product.stock is None else product.stock
    if product.price is None:
        return OfferPart(key, parts.UNKNOWN, "", stock)
    return OfferPart(key, product.price.minor_units, product.price.currency, stock)


def product_row(part: ProductPart, category: int) -> ProductRow:
    """Row of the table `products`; `category` is the number of the part's."""
    attributes = parts.encode_attributes(part.attributes)
    check = checksum(parts.encode_product(part))
    return part.key, part.id, part.title, category, part.url, attributes, check


def offer_row(part: OfferPart) -> OfferRow:
    """Row of the table `offers`."""
    currency = int.from_bytes(part.currency.encode(), "big")
    return part.key, part.price_minor_units, currency, part.stock, checksum(parts.encode(part))


def offer_rows(new: Sequence[OfferPart]) -> tuple[list[OfferRow], list[bytes]]:
    """Rows of the table `offers`, and the canonical bytes of each, at once."""
    bare = [
        (
            part.key,
            part.price_minor_units,
            int.from_bytes(part.currency.encode(), "big"),
            part.stock,
        )
        for part in new
    ]
    data = _offer_bytes(np.array(bare, np.int64).reshape(-1, 4))
    checks = checksums(data).tolist()
    return [(*row, check) for row, check in zip(bare, checks, strict=True)], _split(data)


def image_row(key: int, image: Image) -> ImageRow:
    """Row of the table `images`."""
    return key, image.id, image.url, _image_checksum(key, image.id, image.url)


def read_product(row: ProductRow, categories: Sequence[str]) -> ProductPart:
    """Reads a row of the table `products`.

    Raises:
        StoreCorrupt: It is damaged.
    """
    try:
        key, id_, title, category, url, attributes, expected = row
        part = ProductPart(
            key, id_, title, categories[category], url, parts.decode_attributes(attributes)
        )
        if category >= 0 and checksum(parts.encode_product(part)) == expected:
            return part
    except _UNREADABLE as exc:
        raise _corrupt("product", row[0]) from exc
    raise _corrupt("product", row[0])


def read_offer(row: OfferRow) -> OfferPart:
    """Reads a row of the table `offers`.

    Raises:
        StoreCorrupt: It is damaged.
    """
    encode_offer(row)
    key, price, currency, stock, _ = row
    return OfferPart(key, price, _currency(currency), stock)


def encode_offer(row: OfferRow) -> bytes:
    """Canonical bytes of the offer in a row of the table `offers`.

    Raises:
        StoreCorrupt: It is damaged.
    """
    try:
        key, price, currency, stock, expected = row
        data = parts.encode_offer(key, price, _currency(currency), stock)
        if checksum(data) == expected:
            return data
    except _UNREADABLE as exc:
        raise _corrupt("offer", row[0]) from exc
    raise _corrupt("offer", row[0])


def encode_offers(found: Sequence[OfferRow]) -> list[bytes]:
    """What `encode_offer` makes of each row, at once.

    Raises:
        StoreCorrupt: One is damaged.
    """
    table = np.array(found)
    if found and (table.dtype != np.int64 or _wrong_offers(table).any()):
        return [encode_offer(row) for row in found]  # which tells the damaged one
    return _split(_offer_bytes(table.reshape(-1, 5)[:, :4]))


def read_image(row: ImageRow) -> Image:
    """Reads a row of the table `images`.

    Raises:
        StoreCorrupt: It is damaged.
    """
    try:
        key, id_, url, expected = row
        if _image_checksum(key, id_, url) == expected:
            return Image(id_, url)
    except _UNREADABLE as exc:
        raise _corrupt("image", row[0]) from exc
    raise _corrupt("image", row[0])


def product_of(part: ProductPart, offer: OfferPart) -> Product:
    """The product that both parts tell of.

    Raises:
        StoreCorrupt: They cannot be one.
    """
    known = offer.price_minor_units != parts.UNKNOWN
    try:
        return Product(
            part.id,
            part.title,
            part.category,
            part.url,
            Price(offer.price_minor_units, offer.currency) if known else None,
            None if offer.stock == parts.UNKNOWN else offer.stock,
            part.attributes,
        )
    except CatalogError as exc:
        raise _corrupt("product", part.key) from exc


@dataclass(frozen=True, slots=True)
class OfferColumns:
    """All offers, a column each; row i is one product.

    Attributes:
        keys: int64 (n,), ascending.
        price: int64 (n,), minor units; -1 where unknown.
        currency: int64 (n,), three letters as a number, the first highest; 0 without.
        stock: int64 (n,); -1 where unknown.
    """

    keys: npt.NDArray[np.int64]
    price: npt.NDArray[np.int64]
    currency: npt.NDArray[np.int64]
    stock: npt.NDArray[np.int64]


def read_offers(table: npt.NDArray[np.int64]) -> OfferColumns:
    """Reads all rows of the table `offers`, as int64 (n, 5), at once.

    Raises:
        StoreCorrupt: One is damaged.
    """
    wrong = _wrong_offers(table)
    if wrong.any():
        raise _corrupt("offer", int(table[wrong.argmax(), 0]))
    return OfferColumns(*table.T[:4])


def _wrong_offers(table: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which rows of int64 (n, 5) are damaged."""
    found = checksums(_offer_bytes(table[:, :4]))
    wrong: npt.NDArray[np.bool_] = (
        (found != table[:, 4]) | (table[:, 2] >> 24 != 0) | (table[:, 0] >> 32 != 0)
    )
    return wrong


def _offer_bytes(table: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Canonical bytes, uint8 (n, 24), of offers: key, price, currency, stock as int64 (n, 4)."""
    keys, price, currency, stock = table.T
    packed = np.zeros(
        len(table),
        [("tag", "u1"), ("key", "<u4"), ("price", "<i8"), ("currency", "u1", 3), ("stock", "<i8")],
    )
    packed["tag"], packed["key"] = parts.TAG_OFFER, keys
    packed["price"], packed["stock"] = price, stock
    packed["currency"] = currency.astype(">i8")[:, None].view(np.uint8)[:, 5:]
    return packed.view(np.uint8).reshape(len(table), parts.OFFER_BYTES)


def _split(data: npt.NDArray[np.uint8]) -> list[bytes]:
    """Each row of uint8 (n, size)."""
    joined, size = data.tobytes(), data.shape[1]
    return [joined[at : at + size] for at in range(0, len(joined), size)]


def chunk_row(
    place: int, image_keys: npt.NDArray[np.uint32], codes: npt.NDArray[np.int8]
) -> ChunkRow:
    """Row of the table `list_chunks`."""
    return chunk_row_of(place, image_keys.astype("<u4").tobytes(), codes.tobytes())


def chunk_row_of(place: int, image_keys: bytes, codes: bytes) -> ChunkRow:
    """Row of the table `list_chunks`, of its blobs."""
    return place, image_keys, codes, _chunk_checksum(place, image_keys, codes)


def read_chunks(
    place: int, found: Sequence[ChunkRow], size: int | None, dim: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int8]]:
    """Reads the rows of a list from one of its chunks on: image keys u32 (n,), codes int8 (n, dim).

    Args:
        place: Of the first of them.
        found: All of them, in the order of their places.
        size: Codes that they must hold; None if that is not known.
        dim: Numbers of a code.

    Raises:
        StoreCorrupt: One is damaged or missing.
    """
    number = place >> PLACE_BITS
    try:
        for each, row in enumerate(found, place):
            check_chunk(each, row, dim)
        all_keys = b"".join([row[1] for row in found]) if len(found) != 1 else found[0][1]
        all_codes = b"".join([row[2] for row in found]) if len(found) != 1 else found[0][2]
    except _UNREADABLE as exc:
        raise _corrupt("list", number) from exc
    if not found or (size is not None and len(all_keys) != 4 * size):
        raise _corrupt("list", number)
    return np.frombuffer(all_keys, "<u4"), np.frombuffer(all_codes, np.int8).reshape(-1, dim)


def check_chunk(place: int, row: ChunkRow, dim: int) -> None:
    """Checks that a row of the table `list_chunks` is that of a place, with codes of `dim` numbers.

    Raises:
        StoreCorrupt: It is damaged.
    """
    try:
        here, keys, codes, expected = row
        is_whole = here == place and len(codes) == dim * len(keys) // 4
        if is_whole and _chunk_checksum(here, keys, codes) == expected:
            return
    except _UNREADABLE as exc:
        raise _corrupt("list", place >> PLACE_BITS) from exc
    raise _corrupt("list", place >> PLACE_BITS)


def map_row(chunk: int, *blobs: bytes) -> tuple[int | bytes, ...]:
    """Row of `list_sizes`, `image_lists`, `image_products` or `product_categories`."""
    return chunk, *blobs, _map_checksum(chunk, *blobs)


def read_map(table: str, chunk: int, row: Sequence[Any]) -> tuple[bytes, ...]:
    """Reads a row that `map_row` made: its blobs.

    Raises:
        StoreCorrupt: It is damaged, or of another chunk.
    """
    try:
        if row[0] == chunk and _map_checksum(chunk, *row[1:-1]) == row[-1]:
            return tuple(row[1:-1])
    except _UNREADABLE as exc:
        raise _corrupt(table, chunk) from exc
    raise _corrupt(table, chunk)


def category_row(number: int, name: str) -> tuple[int, str, int]:
    """Row of the table `categories`."""
    return number, name, _map_checksum(number, name.encode())


def read_category(number: int, row: Sequence[Any]) -> str:
    """Reads the name in row `number` of the table `categories`.

    Raises:
        StoreCorrupt: It is damaged or missing.
    """
    try:
        if category_row(number, row[1]) == tuple(row):
            return str(row[1])
    except _UNREADABLE as exc:
        raise _corrupt("category", number) from exc
    raise _corrupt("category", number)


def attribute_row(name: str, value: str, chunk: int, product_keys: bytes) -> AttributeRow:
    """Row of the table `attributes`."""
    check = _map_checksum(chunk, name.encode(), value.encode(), product_keys)
    return name, value, chunk, product_keys, check


def check_attribute(row: AttributeRow) -> None:
    """Checks a row of the table `attributes`.

    Raises:
        StoreCorrupt: It is damaged.
    """
    try:
        if attribute_row(*row[:4]) == tuple(row):
            return
    except _UNREADABLE as exc:
        raise _corrupt("attribute", row[0]) from exc
    raise _corrupt("attribute", row[0])


_U32 = struct.Struct("<I")
_PLACE = struct.Struct("<QI")
_UNREADABLE = (
    AttributeError,
    CatalogError,
    IndexError,
    OverflowError,
    TypeError,
    ValueError,
    struct.error,
)


def _currency(number: int) -> str:
    return number.to_bytes(3, "big").decode("ascii") if number else ""


def _map_checksum(chunk: int, *blobs: bytes) -> int:
    return checksum(_U32.pack(chunk), *(_U32.pack(len(blob)) + blob for blob in blobs))


def _image_checksum(key: int, id_: str, url: str) -> int:
    return checksum(parts.encode_image(key, id_, url, (), b""))


def _chunk_checksum(place: int, image_keys: bytes, codes: bytes) -> int:
    return checksum(_PLACE.pack(place, len(image_keys)), image_keys, codes)


def _corrupt(what: str, key: object) -> StoreCorrupt:
    return StoreCorrupt(
        f"The store's row of {what} {key} is damaged. "
        "Copy the store again, or make it again: pocketlens index"
    )
