"""Pairs of pictures that are one picture, altered: by thumbnails, and by larger ones where needed.

    levels = differences(thumbnails[ones], thumbnails[others], options, large)
    levels < np.inf                                          # of copies

Most pairs are settled by thumbnails: whole pictures that differ in no field are one, those that are
no part of each other are not. Only what may be a part of the other is looked at once more, larger.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from pocketlens.duplicates import alignment
from pocketlens.duplicates.options import DuplicateOptions

Thumbnails = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Large = Callable[[int], tuple[Thumbnails, Thumbnails] | None]
"""Both pictures of a pair, uint8 (64, 64, 3) each; None where one cannot be read."""

_PAIRS_AT_ONCE = 256
# Correlation with a part from which a pair is looked at once more: 0.95 or more of 99 in 100
# pictures that lost a tenth of their sides.
_MAY_BE_A_PART = 0.95
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
        levels = np.minimum(alignment.differences(one, other), alignment.differences(other, one))
        is_one = levels <= options.whole_levels
        found[rows[is_one]] = levels[is_one]
        rows, one, other = rows[~is_one], one[~is_one], other[~is_one]
        for row, is_turned, place in _may_be_parts(one, other):
            pair = large(int(rows[row]))
            if pair is not None:
                apart = _larger(*(pair[::-1] if is_turned else pair), place)
                if apart <= options.part_levels:
                    found[rows[row]] = min(found[rows[row]], apart)
    return found


def _may_be_parts(ones: Floats, others: Floats) -> Iterator[tuple[int, bool, Floats]]:
    """Rows where one may be a part of the other, whether it is the first of them, and which."""
    for is_turned, (wholes, parts) in enumerate(((ones, others), (others, ones))):
        scores, places = alignment.placed(wholes, parts)
        shares = np.minimum(places[:, 2] - places[:, 0], places[:, 3] - places[:, 1])
        for row in np.flatnonzero((scores >= _MAY_BE_A_PART) & (shares < _NEARLY_ALL)).tolist():
            yield row, bool(is_turned), places[row]


def _larger(whole: Thumbnails, part: Thumbnails, place: Floats) -> float:
    """Levels of the field that differs most where `part` is laid on its place."""
    one, other = whole[None].astype(np.float32), part[None].astype(np.float32)
    _, places = alignment.placed_again(one, other, place[None])
    return float(alignment.differences(alignment.cut(one, places), other)[0])
