"""The state hash of a generation through the versions, and what a delta would make of it.

    after = advanced(before, base, history, generation=1, code_of=codes.of)
    assert replayed(before, reader, history, ...) == after

Both begin with the state at `base`. One follows the history, the other what a delta says: what is
published says the same as what holds.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from pocketlens.errors import StateMismatch
from pocketlens.formats import parts
from pocketlens.formats.delta import DeltaReader
from pocketlens.formats.parts import Part
from pocketlens.formats.state_hash import StateSum
from pocketlens_server.publishing.images import image_of
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT, History, placement_kind
from pocketlens_server.storage.vectors import State

NOTHING = State(StateSum().value, StateSum().value, 0, 0)
CodeOf = Callable[[bytes], bytes]
"""SHA-256 of a picture to its code, int8 bytes."""


@dataclass(frozen=True, slots=True)
class _At:
    """The parts of one generation at one version."""

    history: History
    version: int
    generation: int
    code_of: CodeOf

    def part(self, kind: int, key: int) -> bytes | None:
        """Canonical bytes; None where nothing was."""
        value = self.history.value(kind, key, self.version)
        return value if kind != IMAGE or value is None else with_code(value, self.code_of)


def with_code(value: bytes, code_of: CodeOf) -> bytes:
    """The canonical bytes of an image, whose value has its picture in place of a code."""
    part = image_of(value)
    return parts.encode(replace(part, code=code_of(part.code)))


def advanced(
    before: State, base: int, history: History, *, generation: int, code_of: CodeOf
) -> State:
    """The state at head, from that at version `base`; `NOTHING` is that at 0.

    Args:
        before: At `base`.
        base: A version that history still knows.
        history: With nothing waiting.
        generation: Number of the one whose codes and placements are meant.
        code_of: For its codes.
    """
    at_base = _At(history, base, generation, code_of)
    whole, placed, counts = StateSum(before.parts_sum), StateSum(before.placed_sum), {}
    placements = placement_kind(generation)
    for kind in (PRODUCT, OFFER, IMAGE, placements):
        state, counts[kind] = placed if kind == placements else whole, 0
        for key in history.ended_since(kind, base):
            old = at_base.part(kind, key)
            if old is not None:
                state.subtract([old])
                counts[kind] -= 1
        for key, value in history.begun_since(kind, base):
            old = at_base.part(kind, key)
            state.add([value if kind != IMAGE else with_code(value, code_of)])
            if old is not None:
                state.subtract([old])
            counts[kind] += old is None
    return State(
        whole.value,
        placed.value,
        before.images + counts[IMAGE],
        before.products + counts[PRODUCT],
    )


def replayed(
    before: State,
    delta: DeltaReader,
    history: History,
    *,
    generation: int,
    code_of: CodeOf,
    listed_at: int = 0,
) -> State:
    """The state that a device at the delta's base has after it.

    Args:
        before: At the base; its placements are those of `listed_at`, if that is later.
        delta: At its beginning.
        history: That knows the base.
        generation: Number of the delta's.
        code_of: For its codes.
        listed_at: Version that brought the codebook, whose lists the device takes first.

    Raises:
        StateMismatch: It deletes and puts the same part, or cannot be read.
    """
    base = delta.header.base
    at_base = _At(history, base, generation, code_of)
    placed_at = _At(history, max(base, listed_at) if base else 0, generation, code_of)
    whole, placed = StateSum(before.parts_sum), StateSum(before.placed_sum)
    counts = {IMAGE: 0, PRODUCT: 0}
    placements, seen = placement_kind(generation), set()

    def take(kind: int, key: int, new: bytes | None) -> None:
        if (kind, key) in seen:
            raise StateMismatch(f"Expected each part once. Received {kind} {key} again.")
        seen.add((kind, key))
        is_placement = kind == placements
        state = placed if is_placement else whole
        old = (placed_at if is_placement else at_base).part(kind, key)
        if old is not None:
            state.subtract([old])
        if new is not None:
            state.add([new])
        if kind in counts:
            counts[kind] += (new is not None) - (old is not None)

    def take_all(kind: int, found: Iterable[Part]) -> None:
        for part in found:
            data = parts.encode(part)
            take(kind, int.from_bytes(data[1:5], "little"), data)

    for block in delta.blocks():
        for key in block.deleted_products:
            take(PRODUCT, key, None)
            take(OFFER, key, None)
        for key in block.deleted_images:
            take(IMAGE, key, None)
            take(placements, key, None)
        take_all(PRODUCT, block.products)
        take_all(OFFER, block.offers)
        take_all(IMAGE, block.images)
        take_all(placements, block.placements)
    return State(
        whole.value,
        placed.value,
        before.images + counts[IMAGE],
        before.products + counts[PRODUCT],
    )


def listed(stream: DeltaReader) -> bytes:
    """S of the placements in a stream of lists, 64 bytes."""
    placed = StateSum()
    for block in stream.blocks():
        placed.add(map(parts.encode, block.placements))
    return placed.value
