"""Sizes of chunks of sorted keys after an edit (PURE).

What ascends over the chunks of a list, or of an attribute's value, is edited where it is, so that
few chunks are written anew. A chunk that would grow beyond the limit is packed with all behind it;
where more than half of the room is empty, all are.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Sizes = npt.NDArray[np.int64]
_LEAST_FILLED = 0.5  # of all chunks but the last


def resized(
    keys: npt.NDArray[np.uint32],
    sizes: Sizes,
    removed: npt.NDArray[np.uint32],
    added: npt.NDArray[np.uint32],
    limit: int,
) -> Sizes:
    """Sizes of the chunks of `keys` without `removed` and with `added`.

    Args:
        keys: uint32 (n,), ascending.
        sizes: int64 (m,), of the chunks that hold them; they sum to n.
        removed: uint32 (r,), some of `keys`.
        added: uint32 (a,), not among the others that stay.
        limit: Keys in a chunk, at most.

    Returns:
        int64, at least one size; their sum is n - r + a.
    """
    count = max(1, len(sizes))
    after = np.zeros(count, np.int64)
    after[: len(sizes)] = sizes
    for changed, sign in ((removed, -1), (added, 1)):
        after += sign * np.bincount(places(keys, sizes, changed), minlength=count)
    over = np.flatnonzero(after > limit)
    if len(over):
        first = int(over[0])
        after = np.concatenate([after[:first], packed(int(after[first:].sum()), limit)])
    total = int(after.sum())
    is_sparse = total < _LEAST_FILLED * limit * (len(after) - 1)
    return packed(total, limit) if is_sparse else after


def places(
    keys: npt.NDArray[np.uint32], sizes: Sizes, wanted: npt.NDArray[np.uint32]
) -> npt.NDArray[np.int64]:
    """The chunk of each key, whether it is there or not: int64 (w,), from 0.

    A key belongs behind the first key of its chunk and before that of the next.
    """
    if not len(keys):
        return np.zeros(len(wanted), np.int64)
    starts = np.cumsum(sizes) - sizes
    firsts = np.where(
        starts < len(keys), keys[np.minimum(starts, len(keys) - 1)], np.uint32(0xFFFFFFFF)
    )
    return np.maximum(np.searchsorted(firsts, wanted, side="right") - 1, 0)


def packed(count: int, limit: int) -> Sizes:
    """Sizes of full chunks and a last one for `count` keys; one empty chunk for none."""
    full, rest = divmod(count, limit)
    sizes = np.full(full, limit, np.int64)
    return np.append(sizes, rest) if rest or not full else sizes
