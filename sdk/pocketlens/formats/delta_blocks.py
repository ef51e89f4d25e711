"""Blocks of parts, in columns, to messages and back.

    data = encode_block(Block(offers=[...]))
    decode_block(data, dim=128).offers

Every number is checked before it is believed.
Source: docs/formats.md, "Delta"; protos/pocketlens_protos/v1/delta.proto.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from pocketlens.errors import StateMismatch
from pocketlens.formats import parts
from pocketlens.formats.parts import ImagePart, OfferPart, PlacementPart, ProductPart
from pocketlens.products import MAX_ID_BYTES, is_currency
from pocketlens_protos.v1 import delta_pb2

MAX_MESSAGE_BYTES = 4 << 20
MAX_KEY = (1 << 32) - 1
MAX_AMOUNT = 1 << 53  # of a price or a stock

AnyMessage = TypeVar("AnyMessage", bound=Message)


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

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it."""
        return not any(getattr(self, each.name) for each in fields(self))


def encode_block(block: Block) -> bytes:
    """The message of a block.

    Raises:
        ValueError: It does not fit into one message.
    """
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


def decode_block(data: bytes, dim: int) -> Block:
    """Reads a message of a stream whose codes have `dim` numbers.

    Raises:
        StateMismatch: Something in it cannot be.
    """
    if not data:
        return Block()  # without a look at every column: a delta may have millions of these
    message = parsed(delta_pb2.PartsBlock(), data)
    placements = message.placements
    keys = _keys(placements.image_key_steps)
    check(len(placements.lists) == len(keys), "placements")
    return Block(
        deleted_products=_keys(message.deleted_product_steps),
        deleted_images=_keys(message.deleted_image_steps),
        products=_read_products(message.products) if message.HasField("products") else (),
        images=_read_images(message.images, dim) if message.HasField("images") else (),
        offers=_read_offers(message.offers) if message.HasField("offers") else (),
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
        check(len(column) == len(keys), "columns of products")
    categories = _texts(columns.categories, columns.category_names)
    names = _texts(columns.attribute_names, columns.attribute_name_texts)
    values, counts = columns.attribute_values, columns.attribute_counts
    check(len(names) == len(values) == sum(counts), "attributes")
    found, at = [], 0
    for row, key in enumerate(keys):
        end = at + counts[row]
        mine = names[at:end]
        check(all(left < right for left, right in pairwise(mine)), "attributes")
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
        check(len(column) == len(keys), "columns of images")
    check(len(columns.codes) == dim * len(keys), "codes")
    check(b"\x80" not in columns.codes, "codes")  # -128 is never written
    counts = columns.product_counts
    check(min(counts, default=1) >= 1, "an image of a product")
    check(sum(counts) == len(columns.product_key_steps), "products of images")
    steps = np.array(columns.product_key_steps, np.int64)
    check(bool((np.abs(steps) <= MAX_KEY).all()), "products of images")
    product_keys = np.cumsum(steps)
    check(bool(((product_keys >= 1) & (product_keys <= MAX_KEY)).all()), "products of images")
    within = np.ones(len(steps), np.bool_)
    within[[0, *accumulate(counts[:-1])][: len(keys)]] = False
    check(bool((steps[within] > 0).all()), "ascending products of an image")
    flat, stops = product_keys.tolist(), list(accumulate(counts))
    products = [tuple(flat[at:end]) for at, end in pairwise([0, *stops])]
    joined = columns.codes  # each look at the message copies it
    codes = [joined[at : at + dim] for at in range(0, len(joined), dim)]
    return tuple(map(ImagePart, keys, columns.ids, columns.urls, products, codes))


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
        check(len(column) == len(keys), "columns of offers")
    for name in columns.currency_names:
        check(not name or is_currency(name), "currencies")
    currencies = _texts(columns.currencies, columns.currency_names)
    prices, stocks = np.array(columns.prices, np.int64), np.array(columns.stocks, np.int64)
    has_price = np.array(currencies, np.str_) != ""
    check(bool((np.where(has_price, prices >= 0, prices == parts.UNKNOWN)).all()), "prices")
    check(bool((prices <= MAX_AMOUNT).all()), "prices")
    check(bool(((stocks >= parts.UNKNOWN) & (stocks <= MAX_AMOUNT)).all()), "stocks")
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
    check(max(numbers, default=-1) < len(table), "numbers of texts")
    return [table[number] for number in numbers]


def _steps(keys: Sequence[int]) -> list[int]:
    return [key - before for before, key in pairwise([0, *keys])]


def _keys(steps: Sequence[int]) -> list[int]:
    keys = list(accumulate(steps))
    check(all(steps) and (not keys or keys[-1] <= MAX_KEY), "keys that do not ascend")
    return keys


def _check_ids(ids: Iterable[str]) -> None:
    for each in ids:
        check(0 < len(each.encode()) <= MAX_ID_BYTES, "ids")


def parsed(message: AnyMessage, data: bytes) -> AnyMessage:
    """A message read from bytes.

    Raises:
        StateMismatch: They are none.
    """
    try:
        message.ParseFromString(data)
    except DecodeError as exc:
        raise damaged("a message that is none") from exc
    return message


def check(holds: bool, what: str) -> None:
    """Refuses a delta unless `holds`.

    Raises:
        StateMismatch: It does not.
    """
    if not holds:
        raise damaged(f"wrong {what}")


def damaged(what: str) -> StateMismatch:
    """The error that a delta has `what`."""
    return StateMismatch(f"Expected a delta. Received one with {what}. Fetch it again.")
