"""Deltas: what was written is read back, and whatever else comes is refused by name."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.making.histories import History, encoded

from pocketlens.errors import StateMismatch, UpdateRequired
from pocketlens.formats.delta import DeltaReader, Header
from pocketlens.formats.delta_blocks import Block
from pocketlens.formats.parts import ImagePart, OfferPart, PlacementPart, ProductPart
from pocketlens_protos.v1 import delta_pb2


def history(seed: int) -> History:
    made = History(seed)
    for _ in range(3):
        made.go_on(8)
    return made


def written(header: Header, *blocks: Block) -> tuple[bytes, int]:
    pieces, size = encoded(header, *blocks)
    return b"".join(pieces), size


def read(data: bytes, size: int, *, piece: int = 1 << 20) -> tuple[Header, list[Block]]:
    pieces = (data[at : at + piece] for at in range(0, len(data), piece))
    reader = DeltaReader(pieces, size)
    return reader.header, list(reader.blocks())


@given(seed=st.integers(0, 2**32), base=st.integers(0, 3), piece=st.integers(1, 300))
def test_what_is_written_is_read_back(seed: int, base: int, piece: int) -> None:
    header, block = history(seed).delta(base, 4)

    found, blocks = read(*written(header, block, Block()), piece=piece)

    assert found == header
    assert len(blocks) == (not block.is_empty)  # one that is empty is passed over
    for first in blocks:
        for name in Block.__dataclass_fields__:
            assert list(getattr(first, name)) == list(getattr(block, name))


def test_a_cut_stream_is_refused_wherever_it_is_cut() -> None:
    data, size = written(*history(1).delta(0, 4))

    for length in range(len(data)):
        with pytest.raises(StateMismatch):
            read(data[:length], size)


@pytest.mark.parametrize("other", [-1, 1, 1000, -1000])
def test_another_length_than_was_signed_is_refused(other: int) -> None:
    data, size = written(*history(1).delta(0, 4))

    with pytest.raises(StateMismatch):
        read(data, size + other)
    with pytest.raises(StateMismatch, match="another length"):
        read(data + b"x", size)


def test_no_more_is_inflated_than_was_signed() -> None:
    bomb = zlib.compress(bytes(100 << 20), 9)
    taken = []

    def pieces() -> object:
        for at in range(0, len(bomb), 100):
            taken.append(at)
            yield bomb[at : at + 100]

    with pytest.raises(StateMismatch):
        DeltaReader(pieces(), 1000)  # type: ignore[arg-type]
    assert len(taken) == 1


@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes_are_refused_or_read_and_nothing_else_happens(seed: int) -> None:
    """Of the inflated messages: what protects the stream itself is its hash."""
    header, block = history(seed).delta(0, 4)
    raw = zlib.decompress(written(header, block)[0])
    rng = random.Random(seed)
    read_back = 0
    for _ in range(500):
        mutant = bytearray(raw)
        for _ in range(rng.randint(1, 3)):
            mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        try:
            read(zlib.compress(bytes(mutant), 1), len(mutant))
            read_back += 1
        except (StateMismatch, UpdateRequired):
            pass
    assert read_back < 400  # texts and codes may be anything


HEADER, _ = history(1).delta(0, 4)
PRODUCT = ProductPart(3, "p", "", "", "", {"a": "1", "b": "2"})
IMAGE = ImagePart(3, "i", "", (1, 2), bytes(4))
OFFER = OfferPart(3, 100, "EUR", 1)


@pytest.mark.parametrize(
    "block",
    [
        Block(products=[PRODUCT, PRODUCT]),
        Block(products=[replace(PRODUCT, id="")]),
        Block(products=[replace(PRODUCT, id="é" * 101)]),
        Block(images=[replace(IMAGE, product_keys=())]),
        Block(images=[replace(IMAGE, product_keys=(2, 1))]),
        Block(images=[replace(IMAGE, product_keys=(1, 1))]),
        Block(images=[replace(IMAGE, product_keys=(0, 1))]),
        Block(images=[replace(IMAGE, product_keys=(1, 2**32))]),
        Block(images=[replace(IMAGE, code=bytes(3))]),
        Block(images=[replace(IMAGE, code=b"\x80\0\0\0")]),
        Block(images=[replace(IMAGE, id="")]),
        Block(offers=[replace(OFFER, currency="eur")]),
        Block(offers=[replace(OFFER, currency="")]),
        Block(offers=[replace(OFFER, price_minor_units=-1)]),
        Block(offers=[replace(OFFER, price_minor_units=2**53 + 1)]),
        Block(offers=[replace(OFFER, stock=-2)]),
        Block(placements=[PlacementPart(3, 0), PlacementPart(3, 1)]),
        Block(deleted_images=[0]),
        Block(deleted_products=[2**32 - 1, 2**32 + 5]),
    ],
)
def test_parts_that_cannot_be_are_refused(block: Block) -> None:
    try:
        data, size = written(HEADER, block)
    except ValueError:
        return  # the message has no room for it
    with pytest.raises(StateMismatch, match="one with wrong"):
        read(data, size)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"catalogue": ""}, StateMismatch),
        ({"catalogue": "s" * 64}, StateMismatch),
        ({"catalogue": "../shop"}, StateMismatch),
        ({"generation": bytes(31)}, StateMismatch),
        ({"base": 4, "head": 4}, StateMismatch),
        ({"head": 2**63}, StateMismatch),
        ({"dim": 1}, StateMismatch),
    ],
)
def test_a_header_that_cannot_be_is_refused(
    changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        read(*written(replace(HEADER, **changes)))  # type: ignore[arg-type]


def test_a_newer_format_asks_for_an_update() -> None:
    message = delta_pb2.DeltaHeader(format=2).SerializeToString()
    raw = struct.pack("<I", len(message)) + message

    with pytest.raises(UpdateRequired, match=r"format 1\. Received 2"):
        read(zlib.compress(raw), len(raw))
    with pytest.raises(StateMismatch, match="4,194,305 bytes"):
        read(zlib.compress(struct.pack("<I", (4 << 20) + 1)), 1 << 30)


def test_columns_of_different_lengths_are_refused() -> None:
    def refused(block: delta_pb2.PartsBlock) -> None:
        messages = [zlib.decompress(written(HEADER)[0])]
        data = block.SerializeToString()
        raw = b"".join([*messages, struct.pack("<I", len(data)), data])
        with pytest.raises(StateMismatch):
            read(zlib.compress(raw), len(raw))

    refused(delta_pb2.PartsBlock(placements={"image_key_steps": [1, 1], "lists": [0]}))
    refused(delta_pb2.PartsBlock(offers={"key_steps": [1], "prices": [1], "currencies": [0]}))
    refused(delta_pb2.PartsBlock(products={"key_steps": [1], "ids": ["a"]}))
    refused(delta_pb2.PartsBlock(images={"key_steps": [1], "ids": ["a"], "urls": [""]}))
    attributes = {"attribute_counts": [2], "attribute_names": [0], "attribute_values": ["x"]}
    product = {"key_steps": [1], "ids": ["a"], "titles": [""], "urls": [""]}
    categories = {"categories": [0], "category_names": [""], "attribute_name_texts": ["n"]}
    refused(delta_pb2.PartsBlock(products={**product, **categories, **attributes}))
    categories["categories"] = [1]
    attributes["attribute_counts"] = [1]
    refused(delta_pb2.PartsBlock(products={**product, **categories, **attributes}))
