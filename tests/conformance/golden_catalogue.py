"""A catalogue of which golden files are made: what identifies it, its states, its streams.

States are kept as plain dicts of parts, and changed by the rules of docs/formats.md as they are
written there: no applier and no store of the SDK takes part.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pocketlens.formats import parts, state_hash
from pocketlens.formats.delta_blocks import Block, encode_block
from pocketlens.formats.parts import ImagePart, OfferPart, ProductPart
from pocketlens_protos.v1 import delta_pb2

CATALOGUE, DIM, LISTS = "main", 4, 3
CENTROIDS = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [-0.5, -0.5, 0.5, 0.5]]
CODEBOOK = struct.pack("<II12e", LISTS, DIM, *(value for row in CENTROIDS for value in row))
SCALE = struct.pack("<4f", 1.0, 0.75, 1.1, 0.5)
BUNDLE_SHA256 = bytes(range(64, 96))
GENERATION = hashlib.sha256(BUNDLE_SHA256 + SCALE).digest()
CODEBOOK_SHA256 = hashlib.sha256(CODEBOOK).digest()
AS_OF = datetime(2026, 11, 1, 12, tzinfo=UTC)
_MICROSECONDS = 1_000_000


def store() -> dict[str, Any]:
    """What a store and a delta must have in common, as golden files say it."""
    return {
        "catalogue": CATALOGUE,
        "generation": GENERATION.hex(),
        "codebook_sha256": CODEBOOK_SHA256.hex(),
        "dim": DIM,
        "lists": LISTS,
    }


@dataclass
class State:
    """Parts by key, in lists of a codebook: its canonical bytes."""

    products: dict[int, ProductPart] = field(default_factory=dict)
    offers: dict[int, OfferPart] = field(default_factory=dict)
    images: dict[int, ImagePart] = field(default_factory=dict)
    lists: dict[int, int] = field(default_factory=dict)
    codebook: bytes = CODEBOOK

    def after(self, *blocks: Block) -> State:
        """The state that blocks lead to; this one stays."""
        new = replace(
            self,
            products=dict(self.products),
            offers=dict(self.offers),
            images=dict(self.images),
            lists=dict(self.lists),
        )
        for block in blocks:
            for key in block.deleted_products:
                new.products.pop(key, None)
                new.offers.pop(key, None)
            for key in block.deleted_images:
                new.images.pop(key, None)
                new.lists.pop(key, None)
            new.products.update((part.key, part) for part in block.products)
            new.offers.update((part.key, part) for part in block.offers)
            new.images.update((part.key, part) for part in block.images)
            new.lists.update((part.image_key, part.list_number) for part in block.placements)
        return new

    @property
    def hash(self) -> bytes:
        """The state hash."""
        total = state_hash.StateSum()
        for some in (self.products, self.offers, self.images):
            total.add(map(parts.encode, some.values()))
        total.add(parts.encode_placement(key, number) for key, number in self.lists.items())
        counts = state_hash.Counts(
            len(self.images), len(self.lists), len(self.products), len(self.offers)
        )
        codebook = hashlib.sha256(self.codebook).digest()
        identity = state_hash.Identity(CATALOGUE, GENERATION, codebook)
        return state_hash.digest(identity, counts, total.value)

    def expected(self, version: int) -> dict[str, Any]:
        """What an implementation says of it."""
        members = [
            sorted(key for key, number in self.lists.items() if number == each)
            for each in range(int.from_bytes(self.codebook[:4], "little"))
        ]
        return {
            "version": version,
            "images": len(self.images),
            "products": len(self.products),
            "lists": members,
            "state_hash": self.hash.hex(),
        }


def header(base: int, head: int, **changes: Any) -> bytes:  # fields of the message
    """The header's message; `changes` are fields that are not this catalogue's."""
    fields = {
        "format": 1,
        "catalogue": CATALOGUE,
        "generation": GENERATION,
        "codebook_sha256": CODEBOOK_SHA256,
        "base": base,
        "head": head,
        "as_of": int(AS_OF.timestamp()) * _MICROSECONDS,
        "dim": DIM,
    }
    return delta_pb2.DeltaHeader(**{**fields, **changes}).SerializeToString(deterministic=True)


def framed(*messages: bytes) -> bytes:
    """Messages behind their lengths, before they are compressed."""
    return b"".join(struct.pack("<I", len(message)) + message for message in messages)


def stream(
    inflated: bytes, hash_: bytes, *, data: bytes | None = None, size: int | None = None
) -> dict[str, Any]:
    """A stream as golden files hold it; `data` and `size` where they are not its own."""
    return {
        "inflated_size": len(inflated) if size is None else size,
        "state_hash": hash_.hex(),
        "bytes": (zlib.compress(inflated, 9) if data is None else data).hex(),
    }


def stream_of(base: int, head: int, after: State, blocks: Iterable[Block]) -> dict[str, Any]:
    """The stream from `base` to `head`, which is `after`."""
    head_of = header(base, head, codebook_sha256=hashlib.sha256(after.codebook).digest())
    return stream(framed(head_of, *map(encode_block, blocks)), after.hash)
