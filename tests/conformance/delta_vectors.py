"""vectors/deltas.json: streams, the states that they lead to, and streams that are refused."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import zlib
from typing import Any

from tests.conformance.golden_catalogue import (
    DIM,
    LISTS,
    State,
    framed,
    header,
    store,
    stream,
    stream_of,
)

from pocketlens.formats.delta_blocks import Block, encode_block
from pocketlens.formats.parts import ImagePart, OfferPart, PlacementPart, ProductPart
from pocketlens_protos.v1 import delta_pb2

TEA = ProductPart(2, "tea", "Green tea \u8336", "tea", "", {"leaf": "whole", "organic": "yes"})
FIRST = Block(
    products=[
        ProductPart(1, "mug", "Mug, 0.3 l", "kitchen", "https://shop.example/mug"),
        TEA,
        ProductPart(5, "set", "", "kitchen", "", {"colour": "", "\u00e9": "z"}),
    ],
    images=[
        ImagePart(1, "mug.jpg", "https://shop.example/mug.jpg", (1,), bytes([127, 129, 0, 1])),
        ImagePart(2, "tea.jpg", "", (2,), bytes([0, 100, 255, 3])),
        ImagePart(7, "set.jpg", "", (1, 2, 5), bytes([9, 8, 7, 6])),
    ],
    offers=[OfferPart(1, 1250, "EUR", 3), OfferPart(2, -1, "", -1), OfferPart(5, 2**53, "JPY", 0)],
    placements=[PlacementPart(1, 0), PlacementPart(2, 1), PlacementPart(7, 2)],
)
GONE = Block(
    deleted_products=[2, 77],
    deleted_images=[2, 4294967295],
    images=[ImagePart(7, "set.jpg", "", (1, 5), bytes([9, 8, 7, 6]))],
)
BACK = Block(
    products=[TEA],
    images=[ImagePart(2, "tea.jpg", "", (2,), bytes([1, 99, 255, 3]))],
    offers=[OfferPart(2, 399, "EUR", 40)],
    placements=[PlacementPart(2, 2)],
)
MOVED = Block(placements=[PlacementPart(1, 1), PlacementPart(7, 0)])
NEW = Block(
    products=[ProductPart(70_001, "last", "", "", "")],
    images=[ImagePart(70_001, "i" * 200, "", (1, 70_001), bytes(4))],
    offers=[OfferPart(70_001, 0, "KWD", 2**53)],
    placements=[PlacementPart(70_001, 0)],
)
# From 1 to 4: final states, so that what 2 deleted and 3 brought back is only there.
FROM_1 = Block(
    deleted_products=[2],
    deleted_images=[2],
    products=BACK.products,
    images=[*BACK.images, *GONE.images],
    offers=BACK.offers,
    placements=[PlacementPart(1, 1), PlacementPart(2, 2), PlacementPart(7, 0)],
)
ONE = State().after(FIRST)
TWO = ONE.after(GONE)
THREE = TWO.after(BACK)
FOUR = THREE.after(MOVED)
FIVE = FOUR.after(NEW)
PIECES = [
    Block(products=FIRST.products[:2], offers=FIRST.offers[:1]),
    Block(products=FIRST.products[2:], offers=FIRST.offers[1:], images=FIRST.images[:1]),
    Block(images=FIRST.images[1:]),
    Block(placements=FIRST.placements),
]


def vectors() -> dict[str, Any]:
    """The whole file, as JSON holds it."""
    streams = {
        "empty": stream_of(0, 1, State(), []),
        "snapshot": stream_of(0, 1, ONE, [FIRST]),
        "snapshot_in_blocks": stream_of(0, 1, ONE, PIECES),
        "deletions": stream_of(1, 2, TWO, [GONE]),
        "restored": stream_of(2, 3, THREE, [BACK]),
        "moved": stream_of(3, 4, FOUR, [MOVED]),
        "new": stream_of(4, 5, FIVE, [NEW]),
        "from_1": stream_of(1, 4, FOUR, [FROM_1]),
        "nothing": stream_of(1, 9, ONE, []),
    }
    led_to: dict[str, tuple[list[str], int, State]] = {
        "empty_snapshot": (["empty"], 1, State()),
        "snapshot": (["snapshot"], 1, ONE),
        "snapshot_in_blocks": (["snapshot_in_blocks"], 1, ONE),
        "version_without_changes": (["snapshot", "nothing"], 9, ONE),
        "deletions_first": (["snapshot", "deletions"], 2, TWO),
        "restored_id": (["snapshot", "deletions", "restored"], 3, THREE),
        "moved_images": (["snapshot", "deletions", "restored", "moved"], 4, FOUR),
        "far_keys": (
            ["snapshot", "deletions", "restored", "moved", "new"],
            5,
            FIVE,
        ),
        "one_delta_for_three_versions": (["snapshot", "from_1"], 4, FOUR),
        "the_same_delta_a_version_later": (["snapshot", "deletions", "from_1"], 4, FOUR),
        "the_same_delta_two_versions_later": (
            ["snapshot", "deletions", "restored", "from_1"],
            4,
            FOUR,
        ),
    }
    cases: dict[str, Any] = {
        name: {"streams": names, "expected": state.expected(version)}
        for name, (names, version, state) in led_to.items()
    }
    cases["delta_without_its_base"] = {"streams": ["deletions"], "refused": "refused"}
    cases["delta_again"] = {"streams": ["snapshot", "nothing", "deletions"], "refused": "refused"}
    for name, hostile in _hostile().items():
        streams[name] = hostile
        refused = "newer" if name == "format_2" else "refused"
        cases[name] = {"streams": ["snapshot", name], "refused": refused}
    return {"format": 1, "store": store(), "streams": streams, "cases": cases}


def _hostile() -> dict[str, dict[str, Any]]:
    return {**_damaged(), **_other_headers(), **_columns(), **_impossible_parts()}


def _damaged() -> dict[str, dict[str, Any]]:
    """Streams that are not whole, or not as long as was signed."""
    inflated = framed(header(1, 2), encode_block(GONE))
    data, size = zlib.compress(inflated, 9), len(inflated)
    return {
        "no_zlib": stream(inflated, TWO.hash, data=inflated),
        "cut_in_the_middle": stream(inflated, TWO.hash, data=data[: len(data) // 2]),
        "cut_within_its_checksum": stream(inflated, TWO.hash, data=data[:-1]),
        "wrong_checksum": stream(inflated, TWO.hash, data=data[:-1] + bytes([data[-1] ^ 1])),
        "a_byte_after_it": stream(inflated, TWO.hash, data=data + b"\0"),
        "longer_than_signed": stream(inflated, TWO.hash, size=size - 1),
        "shorter_than_signed": stream(inflated, TWO.hash, size=size + 1),
        "bomb": stream(b"\0" * 200_000, TWO.hash, size=size),
        "cut_within_a_message": stream(inflated[:-1], TWO.hash),
        "cut_within_a_length": stream(inflated + b"\1\0", TWO.hash),
        "message_over_4_mib": stream(inflated + b"\1\0\x40\0", TWO.hash),
        "no_message": stream(b"", TWO.hash),
        "no_header": stream(framed(b""), TWO.hash),
        "header_no_protobuf": stream(framed(b"\xff\xff"), TWO.hash),
        "block_no_protobuf": stream(framed(header(1, 2), b"\x1a\x05\x00"), ONE.hash),
    }


def _other_headers() -> dict[str, dict[str, Any]]:
    changes: dict[str, dict[str, Any]] = {
        "format_0": {"format": 0},
        "format_2": {"format": 2},
        "other_catalogue": {"catalogue": "mine"},
        "other_generation": {"generation": bytes(32)},
        "generation_of_31_bytes": {"generation": bytes(31)},
        "other_codebook": {"codebook_sha256": bytes(32)},
        "other_dim": {"dim": DIM + 1},
        "dim_1": {"dim": 1},
        "dim_4097": {"dim": 4097},
        "base_above_the_version": {"base": 2, "head": 3},
        "head_not_above_base": {"base": 1, "head": 1},
        "head_over_2_63": {"head": 2**63},
        "time_after_the_year_9999": {"as_of": 2**62},
    }
    return {
        name: stream(framed(header(**{"base": 1, "head": 2, **each})), ONE.hash)
        for name, each in changes.items()
    }


def _columns() -> dict[str, dict[str, Any]]:
    """Blocks that no parts can be read from."""
    blocks: dict[str, delta_pb2.PartsBlock] = {
        "key_0": delta_pb2.PartsBlock(deleted_image_steps=[0]),
        "key_twice": delta_pb2.PartsBlock(deleted_image_steps=[7, 0]),
        "key_over_2_32": delta_pb2.PartsBlock(deleted_image_steps=[2**32 - 1, 1]),
    }
    for name, columns, changed in (
        ("short_column_of_products", "products", {"titles": []}),
        ("short_column_of_images", "images", {"urls": []}),
        ("short_column_of_offers", "offers", {"stocks": []}),
        ("short_column_of_placements", "placements", {"lists": []}),
        ("no_such_category", "products", {"categories": [9]}),
        ("no_such_name_of_an_attribute", "products", {"attribute_names": [0, 9]}),
        ("no_such_currency", "offers", {"currencies": [9]}),
        ("attributes_that_are_not_there", "products", {"attribute_counts": [3]}),
        ("attribute_twice", "products", {"attribute_names": [0, 0]}),
        ("attributes_out_of_order", "products", {"attribute_names": [1, 0]}),
        ("no_code", "images", {"codes": b""}),
        ("code_too_long", "images", {"codes": bytes(DIM + 1)}),
        ("image_without_product", "images", {"product_counts": [0], "product_key_steps": []}),
        ("products_of_an_image_descend", "images", {"product_key_steps": [2, -1]}),
        ("product_of_an_image_twice", "images", {"product_key_steps": [2, 0]}),
        ("product_0_of_an_image", "images", {"product_key_steps": [0, 1]}),
        ("products_of_an_image_too_many", "images", {"product_key_steps": [1, 1, 1]}),
    ):
        block = delta_pb2.PartsBlock()
        block.ParseFromString(encode_block(_REWRITTEN))
        for field, values in changed.items():
            message = getattr(block, columns)
            message.ClearField(field)
            if values:
                message.MergeFrom(type(message)(**{field: values}))
        blocks[name] = block
    return {
        name: stream(framed(header(1, 2), block.SerializeToString(deterministic=True)), ONE.hash)
        for name, block in blocks.items()
    }


_REWRITTEN = Block(
    products=[TEA],
    images=[ImagePart(1, "mug.jpg", "", (1, 2), bytes(DIM))],
    offers=[OfferPart(1, 1, "EUR", 1)],
    placements=[PlacementPart(1, 0)],
)


def _impossible_parts() -> dict[str, dict[str, Any]]:
    """Each leads to the state hash that it was signed with, and must not be taken all the same."""
    mug, picture = FIRST.products[0], FIRST.images[0]
    blocks = {
        "id_of_no_byte": Block(products=[ProductPart(1, "", "", "", "")]),
        "id_of_201_bytes": Block(products=[ProductPart(1, "\u00e9" * 100 + "x", "", "", "")]),
        "image_id_of_201_bytes": Block(images=[ImagePart(1, "i" * 201, "", (1,), bytes(DIM))]),
        "level_minus_128": Block(images=[ImagePart(1, "i", "", (1,), b"\x80\0\0\0")]),
        "price_below_0": Block(offers=[OfferPart(1, -2, "EUR", 1)]),
        "price_over_2_53": Block(offers=[OfferPart(1, 2**53 + 1, "EUR", 1)]),
        "price_without_currency": Block(offers=[OfferPart(1, 5, "", 1)]),
        "currency_without_price": Block(offers=[OfferPart(1, -1, "EUR", 1)]),
        "currency_in_small_letters": Block(offers=[OfferPart(1, 5, "eur", 1)]),
        "stock_below_minus_1": Block(offers=[OfferPart(1, 5, "EUR", -2)]),
        "stock_over_2_53": Block(offers=[OfferPart(1, 5, "EUR", 2**53 + 1)]),
        "product_without_offer": Block(products=[ProductPart(9, "new", "", "", "")]),
        "offer_without_product": Block(offers=[OfferPart(9, -1, "", -1)]),
        "image_without_list": Block(images=[ImagePart(9, "new", "", (1,), bytes(DIM))]),
        "place_without_image": Block(placements=[PlacementPart(9, 0)]),
        "list_that_is_not_there": Block(placements=[PlacementPart(1, LISTS)]),
        "place_of_a_deleted_image": Block(
            deleted_images=[picture.key], placements=[PlacementPart(picture.key, 0)]
        ),
    }
    found = {name: stream_of(1, 2, ONE.after(block), [block]) for name, block in blocks.items()}
    found["another_state_than_was_signed"] = stream_of(1, 2, TWO, [Block(products=[mug])])
    return found
