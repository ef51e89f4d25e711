"""What changed since a version -> the blocks of a delta.

    blocks = changes_since(base, history, generation=1, code_of=codes.of)
    header = Header(..., base=base, head=history.head, ...)
    stream = DeltaStream(header, blocks)

An image is kept with the SHA-256 of its picture in place of a code: a code belongs to a generation,
what it shows and where it may be seen do not. From version 0 the blocks are a snapshot.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from pocketlens.formats import parts
from pocketlens.formats.delta_blocks import Block
from pocketlens.formats.parts import ImagePart, OfferPart, Part, PlacementPart, ProductPart
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT, History, placement_kind

BLOCK_BYTES = 1 << 20  # of canonical bytes, about: a block has room for four times as many
BLOCK_KEYS = 1 << 17  # that are deleted

AnyPart = TypeVar("AnyPart", bound=Part)


def changes_since(
    base: int,
    history: History,
    *,
    generation: int,
    code_of: Callable[[bytes], bytes],
    listed_at: int = 0,
) -> Iterator[Block]:
    """Yields final states of everything that changed after version `base`, deletions first.

    Args:
        base: 0 for all there is.
        history: At the version that the delta leads to, nothing waiting.
        generation: Number of the one whose codes and placements are wanted.
        code_of: SHA-256 of a picture to its code, int8 bytes.
        listed_at: Version that brought the codebook: a store of an earlier one takes the lists of
            that version beside the delta, which then says only what changed after it.
    """
    if base > 0:  # before the first version there was nothing to delete
        for keys in _cut(history.ended_since(PRODUCT, base)):
            yield Block(deleted_products=keys)
        for keys in _cut(history.ended_since(IMAGE, base)):
            yield Block(deleted_images=keys)
    for products in _blocks(_read(history.begun_since(PRODUCT, base), ProductPart)):
        yield Block(products=products)
    for offers in _blocks(_read(history.begun_since(OFFER, base), OfferPart)):
        yield Block(offers=offers)
    kept = _read(history.begun_since(IMAGE, base), ImagePart)
    for images in _blocks(replace(part, code=code_of(part.code)) for part in kept):
        yield Block(images=images)
    yield from lists_since(max(base, listed_at) if base else 0, history, generation=generation)


def lists_since(base: int, history: History, *, generation: int) -> Iterator[Block]:
    """Yields the lists of all images that were placed after version `base`; 0 for every image."""
    placements = history.begun_since(placement_kind(generation), base)
    for placed in _blocks(_read(placements, PlacementPart)):
        yield Block(placements=placed)


def _cut(keys: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(keys), BLOCK_KEYS):
        yield keys[start : start + BLOCK_KEYS]


def _read(values: Iterable[tuple[int, bytes]], kind: type[AnyPart]) -> Iterator[AnyPart]:
    for _, data in values:
        part = parts.decode(data)
        if not isinstance(part, kind):
            raise TypeError(f"Expected a {kind.__name__}. Received {part!r}.")
        yield part


def _blocks(found: Iterable[AnyPart]) -> Iterator[list[AnyPart]]:
    """As many parts a block as fit."""
    block: list[AnyPart] = []
    size = 0
    for part in found:
        length = len(parts.encode(part))
        if block and size + length > BLOCK_BYTES:
            yield block
            block, size = [], 0
        block.append(part)
        size += length
    if block:
        yield block
