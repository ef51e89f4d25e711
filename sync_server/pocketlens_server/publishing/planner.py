"""Which deltas lead to a version (PURE)."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

SNAPSHOT_AGE = 64  # versions, at most, that a snapshot lags behind
SNAPSHOT_SHARE = 0.25  # of its bytes, at most, that the delta from it to head may have


def bases(head: int, oldest: int) -> list[int]:
    """Versions from which a delta to `head` is kept: head - 1, - 2, - 4, - 8, ..., and the oldest.

    A device takes the nearest at or before its own version: it carries at most the changes of
    twice as many versions as it missed.

    Args:
        head: Newest version.
        oldest: Version, 1 or later, from which on history is whole.
    """
    found, step = [], 1
    while head - step > oldest:
        found.append(head - step)
        step *= 2
    if oldest < head:
        found.append(oldest)
    return found


def is_snapshot_due(head: int, last: int, *, snapshot_bytes: int, delta_bytes: int) -> bool:
    """Whether a new snapshot is worth its bytes.

    Args:
        head: Newest version.
        last: Version of the last snapshot; 0 if there is none.
        snapshot_bytes: Of the last one.
        delta_bytes: Of the delta from it to `head`, which a new device takes behind it.
    """
    if last == 0 or head - last >= SNAPSHOT_AGE:
        return True
    return delta_bytes > SNAPSHOT_SHARE * snapshot_bytes
