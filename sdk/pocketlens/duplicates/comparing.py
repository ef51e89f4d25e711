"""Pairs of pictures that are one picture, altered: by thumbnails, and by larger ones where needed.

    levels = differences(thumbnails[ones], thumbnails[others], options, large)
    levels < np.inf                                          # of copies

Most pairs are settled by thumbnails: whole pictures that differ in no field are one, those that are
no part of each other are not. Only what may be a part of the other is looked at once more, larger.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pocketlens.duplicates import alignment
from pocketlens.duplicates.options import DuplicateOptions

Thumbnails = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Large = Callable[[int], Thumbnails | None]
"""Both pictures of a pair, uint8 (2, 64, 64, 3); None where one cannot be read."""

_PAIRS_AT_ONCE = 256
_LARGE_AT_ONCE = 32  # of 64 x 64 pixels: 3 MB of what is compared
# Correlation with a part from which a pair is looked at once more: 0.95 or more of 99 in 100
# pictures that lost a tenth of their sides.
_MAY_BE_A_PART = 0.95
# Pixels of displacement that are allowed for in thumbnails, and levels of a field then: of 100 such
# parts 98 are at less, of 100 other pairs that may be parts 12.
_ROUGHLY_DISPLACED, _ROUGH_LEVELS = 1.0, 13.0
_DISPLACED = 0.8  # pixels, of 64 a side
_NEARLY_ALL = 0.97  # share of both sides from which a part is the whole, which was settled


def differences(
    ones: Thumbnails, others: Thumbnails, options: DuplicateOptions, large: Large
) -> Floats:
    """How far copies differ, pair by pair, where either may be a part of the other.

    Args:
        ones: uint8 (m, 24, 24, 3), of pictures squeezed to squares.
        others: uint8 (m, 24, 24, 3).
        options: What counts as a copy.
        large: The pictures of a pair again, by its row.

    Returns:
        float32 (m,), mean levels of the field that differs most (`alignment`), of wholes or of the
        part that is shared; inf of what is no copy.
    """
    found = np.full(len(ones), np.inf, np.float32)
    for start in range(0, len(ones), _PAIRS_AT_ONCE):
        rows = np.arange(start, min(start + _PAIRS_AT_ONCE, len(ones)))
        one, other = ones[rows].astype(np.float32), others[rows].astype(np.float32)
        levels = np.full(len(rows), np.inf, np.float32)
        near = np.flatnonzero(alignment.may_be_one(one, other, options.whole_levels))
        levels[near] = np.minimum(
            alignment.differences(one[near], other[near]),
            alignment.differences(other[near], one[near]),
        )
        is_one = levels <= options.whole_levels
        found[rows[is_one]] = levels[is_one]
        rows, one, other = rows[~is_one], one[~is_one], other[~is_one]
        near, which, places = _may_be_parts(one, other)
        seen = {row: large(int(rows[row])) for row in set(near.tolist())}
        pairs = {row: pair for row, pair in seen.items() if pair is not None}
        is_seen = np.isin(near, list(pairs))
        near, which, places = near[is_seen], which[is_seen], places[is_seen]
        for first in range(0, len(near), _LARGE_AT_ONCE):
            some = slice(first, first + _LARGE_AT_ONCE)
            both = np.stack([pairs[row] for row in near[some].tolist()])
            apart = _larger(both, which[some], places[some])
            apart[apart > options.part_levels] = np.inf
            np.minimum.at(found, rows[near[some]], apart)
    return found


def _may_be_parts(ones: Floats, others: Floats) -> tuple[Numbers, Numbers, Floats]:
    """Rows where one may be a part of the other, which of the two is the whole, 0 or 1, and where.

    A row may come twice.
    """
    found = []
    for whole, (wholes, parts) in enumerate(((ones, others), (others, ones))):
        scores, places = alignment.placed(wholes, parts)
        shares = np.minimum(places[:, 2] - places[:, 0], places[:, 3] - places[:, 1])
        rows = np.flatnonzero((scores >= _MAY_BE_A_PART) & (shares < _NEARLY_ALL))
        seen = alignment.cut(wholes[rows], places[rows])
        apart = alignment.differences(seen, parts[rows], displaced=_ROUGHLY_DISPLACED)
        rows = rows[apart <= _ROUGH_LEVELS]
        found.append((rows, np.full(len(rows), whole), places[rows]))
    rows, which, places = (np.concatenate(each) for each in zip(*found, strict=True))
    return rows, which, places


def _larger(pairs: Thumbnails, which: Numbers, places: Floats) -> Floats:
    """Levels of the field that differs most where parts are laid on their places.

    Args:
        pairs: uint8 (m, 2, 64, 64, 3).
        which: int64 (m,), of the two, that is the whole.
        places: float32 (m, 4), of the part in it.
    """
    each = np.arange(len(pairs))
    wholes, parts = (pairs[each, side].astype(np.float32) for side in (which, 1 - which))
    _, places = alignment.placed_again(wholes, parts, places)
    return alignment.differences(alignment.cut(wholes, places), parts, displaced=_DISPLACED)
