"""vectors/relists.json: a store, another codebook with the list of every image, and a delta."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from typing import Any

from tests.conformance.delta_vectors import BACK, FIRST, FROM_1, GONE, NEW, ONE, TWO
from tests.conformance.golden_catalogue import (
    CODEBOOK,
    DIM,
    State,
    framed,
    header,
    store,
    stream,
    stream_of,
)

from pocketlens.formats.delta_blocks import Block, encode_block
from pocketlens.formats.parts import PlacementPart

OTHER = struct.pack("<II8e", 2, DIM, *[0.0, 0.0, 0.0, 1.0], *[0.5, 0.0, -1.0, 0.0])
OTHER_SHA256 = hashlib.sha256(OTHER).digest()

# Version 2 deletes the second image; 3 brings the codebook and an image; 4 brings the second back.
PLACED = {1: 1, 7: 0, 70_001: 1}
THREE = replace(TWO.after(NEW), lists=PLACED, codebook=OTHER)
FOUR = THREE.after(replace(BACK, placements=[PlacementPart(2, 0)]))
FROM_1_TO_4 = Block(
    deleted_products=FROM_1.deleted_products,
    deleted_images=FROM_1.deleted_images,
    products=[*BACK.products, *NEW.products],
    images=[*BACK.images, *GONE.images, *NEW.images],
    offers=[*BACK.offers, *NEW.offers],
    placements=[PlacementPart(2, 0)],
)
FROM_2_TO_3 = Block(products=NEW.products, images=NEW.images, offers=NEW.offers)
AS_BEFORE = replace(THREE, codebook=CODEBOOK)


def vectors() -> dict[str, Any]:
    """The whole file, as JSON holds it."""
    streams = {
        "snapshot": stream_of(0, 1, ONE, [FIRST]),
        "deletions": stream_of(1, 2, TWO, [GONE]),
        "from_1": stream_of(1, 4, FOUR, [FROM_1_TO_4]),
        "from_2": stream_of(2, 3, THREE, [FROM_2_TO_3]),
        "from_2_as_before": stream_of(2, 3, AS_BEFORE, [FROM_2_TO_3]),
        "from_2_in_the_old_codebook": stream(
            framed(header(2, 3), encode_block(FROM_2_TO_3)), THREE.hash
        ),
        "another_state": stream_of(2, 3, TWO.after(NEW), [FROM_2_TO_3])
        | {"bytes": stream_of(2, 3, THREE, [FROM_2_TO_3])["bytes"]},
    }
    relists = {
        "lists": _lists(PLACED),
        "lists_in_blocks": _lists(dict(list(PLACED.items())[:1]), dict(list(PLACED.items())[1:])),
        "lists_of_the_old_codebook": _lists(PLACED, codebook=CODEBOOK),
        "one_is_missing": _lists({1: 1, 7: 0}),
        "a_list_that_is_not_there": _lists({**PLACED, 7: 2}),
        "keys_descend": _lists({7: 0}, {1: 1, 70_001: 1}),
        "more_than_places": _placements(
            framed(_header(0), encode_block(Block(deleted_images=[7])), _placed(PLACED))
        ),
        "not_from_0": _placements(framed(_header(2), _placed(PLACED))),
        "of_another_generation": _placements(
            framed(_header(0, generation=bytes(32)), _placed(PLACED))
        ),
    }
    led_to: dict[str, tuple[list[str], str, str, str, tuple[int, State]]] = {
        "every_image_moves": (["snapshot"], "other", "lists", "from_1", (4, FOUR)),
        "a_version_later": (["snapshot", "deletions"], "other", "lists", "from_1", (4, FOUR)),
        "nothing_else_moves": (["snapshot", "deletions"], "other", "lists", "from_2", (3, THREE)),
        "in_blocks": (["snapshot"], "other", "lists_in_blocks", "from_1", (4, FOUR)),
        "an_equal_codebook": (
            ["snapshot", "deletions"],
            "first",
            "lists_of_the_old_codebook",
            "from_2_as_before",
            (3, AS_BEFORE),
        ),
    }
    cases: dict[str, Any] = {
        name: _case(*asked) | {"expected": state.expected(version)}
        for name, (*asked, (version, state)) in led_to.items()
    }
    for name, *asked in (
        ("another_codebook_than_was_named", "first", "lists", "from_2"),
        ("delta_of_the_old_codebook", "other", "lists", "from_2_in_the_old_codebook"),
        ("another_state_than_was_signed", "other", "lists", "another_state"),
        *((name, "other", name, "from_2") for name in list(relists)[3:]),
    ):
        cases[name] = _case(["snapshot", "deletions"], *asked) | {"refused": "refused"}
    return {
        "format": 1,
        "store": store(),
        "codebooks": {"first": CODEBOOK.hex(), "other": OTHER.hex()},
        "streams": streams,
        "relists": relists,
        "cases": cases,
    }


def _case(streams: list[str], codebook: str, relist: str, delta: str) -> dict[str, Any]:
    return {"streams": streams, "codebook": codebook, "relist": relist, "delta": delta}


def _lists(*blocks: dict[int, int], codebook: bytes = OTHER) -> dict[str, Any]:
    head = _header(0, codebook_sha256=hashlib.sha256(codebook).digest())
    return _placements(framed(head, *map(_placed, blocks)))


def _header(base: int, **changes: Any) -> bytes:  # fields of the message
    return header(base, 3, **{"codebook_sha256": OTHER_SHA256, **changes})


def _placed(lists: dict[int, int]) -> bytes:
    return encode_block(Block(placements=[PlacementPart(key, each) for key, each in lists.items()]))


def _placements(inflated: bytes) -> dict[str, Any]:
    """A stream that leads to no state of its own."""
    return {name: of for name, of in stream(inflated, b"").items() if name != "state_hash"}
