"""Rows of vectors in blocks that versions share: what a version sees of them never changes.

    parts = changed((), gone, keys, vectors)   # the next version's, from those of the one before

Rows that came are appended behind all that any version sees, in a block that has room or a new one;
rows that went are masked. A block of which less than half is left is written anew. So the blocks of
one version are at most twice its vectors and one block more.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint32]
Places = npt.NDArray[np.int64]
"""Number of the part times BLOCK_ROWS, and the row in it."""

BLOCK_ROWS = 1 << 16
_FEWEST_LEFT = 0.5  # share of a block's rows below which it is written anew


class Block:
    """Rows; those that were appended never change."""

    def __init__(self, dim: int) -> None:
        self.vectors: Floats = np.empty((BLOCK_ROWS, dim), np.float32)
        self.keys: Keys = np.empty(BLOCK_ROWS, np.uint32)
        self.used = 0

    def append(self, keys: Keys, vectors: Floats) -> None:
        """Puts rows behind the others; there must be room."""
        end = self.used + len(keys)
        self.keys[self.used : end] = keys
        self.vectors[self.used : end] = vectors
        self.used = end


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Part:
    """What a version sees of a block; equal to itself alone, so that it may be a key.

    Attributes:
        block: The rows.
        rows: How many of them, from the first on.
        hidden: bool (rows,), which of these it does not see; None: it sees all.
    """

    block: Block
    rows: int
    hidden: npt.NDArray[np.bool_] | None = None

    @property
    def keys(self) -> Keys:
        """uint32 (rows,), of the hidden ones too."""
        return self.block.keys[: self.rows]

    @property
    def seen(self) -> int:
        """How many rows are not hidden."""
        return self.rows - (0 if self.hidden is None else int(np.count_nonzero(self.hidden)))

    def without(self, more: npt.NDArray[np.bool_]) -> Part:
        """The same with more rows hidden: bool (rows,)."""
        return replace(self, hidden=more if self.hidden is None else self.hidden | more)


def changed(parts: Sequence[Part], gone: Places, keys: Keys, vectors: Floats) -> tuple[Part, ...]:
    """Parts without some rows, and with others behind them.

    Args:
        parts: Of the version before, which must be the newest.
        gone: Places of rows that went, each once.
        keys: uint32 (n,), of rows that came.
        vectors: float32 (n, dim), of them.
    """
    found = list(parts)
    numbers, rows = np.divmod(gone, BLOCK_ROWS)
    for number in np.unique(numbers).tolist():
        found[number] = _without(found[number], rows[numbers == number])
    start = 0
    while start < len(keys):
        number = _with_room(found, vectors.shape[1])
        part = found[number]
        end = min(len(keys), start + BLOCK_ROWS - part.rows)
        part.block.append(keys[start:end], vectors[start:end])
        hidden = part.hidden
        if hidden is not None:
            hidden = np.concatenate([hidden, np.zeros(end - start, np.bool_)])
        found[number] = Part(part.block, part.block.used, hidden)
        start = end
    return tuple(found)


def place_of_each(parts: Sequence[Part]) -> Places:
    """Place of each image, by its key; -1 where there is none. Keys are dense."""
    largest = max((int(part.keys.max()) for part in parts if part.rows), default=-1)
    places = np.full(largest + 1, -1, np.int64)
    for number, part in enumerate(parts):
        rows = np.arange(part.rows) if part.hidden is None else np.flatnonzero(~part.hidden)
        places[part.keys[rows]] = rows + number * BLOCK_ROWS
    return places


def rows_at(parts: Sequence[Part], places: Places, dim: int) -> tuple[Keys, Floats]:
    """Keys and vectors of rows."""
    keys, vectors = np.empty(len(places), np.uint32), np.empty((len(places), dim), np.float32)
    numbers, rows = np.divmod(places, BLOCK_ROWS)
    for number in set(numbers.tolist()):
        here, block = np.flatnonzero(numbers == number), parts[number].block
        keys[here] = block.keys[rows[here]]
        vectors[here] = block.vectors[rows[here]]
    return keys, vectors


def _without(part: Part, rows: npt.NDArray[np.int64]) -> Part:
    """A part without some rows; written anew where little of it is left."""
    more = np.zeros(part.rows, np.bool_)
    more[rows] = True
    left = part.without(more)
    if left.hidden is None or left.seen >= _FEWEST_LEFT * left.rows:
        return left
    block = Block(part.block.vectors.shape[1])
    stay = ~left.hidden
    block.append(part.keys[stay], part.block.vectors[: part.rows][stay])
    return Part(block, block.used)


def _with_room(parts: list[Part], dim: int) -> int:
    """Number of a part that ends where its block does, with room behind; a new one if need be."""
    for number, part in enumerate(parts):
        if part.rows == part.block.used < BLOCK_ROWS:
            return number
    block = Block(dim)
    parts.append(Part(block, 0))
    return len(parts) - 1
