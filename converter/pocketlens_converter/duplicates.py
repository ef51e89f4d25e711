"""Pictures that are one picture saved twice: under another name, in another quality.

Shops list one picture under several products; learned as negatives of each other, they would
teach the network to see what is not there.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

SIDE = 32  # of the thumbnails that are compared
# Two pictures are one if they differ by this share of what is not white, all in all, and by this
# many levels at most anywhere. A JPEG of quality 60 differs by 0.010 and 5 levels in the median;
# two packages that differ in their label by 0.008 and 39 levels.
MOST_SHARE, MOST_LEVELS = 0.02, 12
_COARSE = 4  # side of what rules out most pairs
_ROWS_AT_ONCE = 1024


def thumbnail(square: Pixels) -> Pixels:
    """What `first_alike` compares: uint8 (32, 32, 3) of a square picture."""
    small = Image.fromarray(square).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small)


def first_alike(thumbnails: Pixels) -> npt.NDArray[np.int64]:
    """The number of the first picture that each one is a copy of; its own where of none.

    Args:
        thumbnails: uint8 (n, 32, 32, 3), of pictures on white.

    Returns:
        int64 (n,).
    """
    first = np.arange(len(thumbnails))
    patch = SIDE // _COARSE
    ink = 255.0 - thumbnails.reshape(-1, _COARSE, patch, _COARSE, patch, 3).mean(axis=(2, 4))
    rows = ink.reshape(len(ink), -1).astype(np.float32)
    allowed = (MOST_SHARE * rows.sum(axis=1)) ** 2
    squares = np.einsum("nd,nd->n", rows, rows)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        end = min(start + _ROWS_AT_ONCE, len(rows))
        # Means differ by no more than what they are means of, and a sum of squares is no more
        # than the square of the sum: what is further apart here cannot be alike.
        apart = squares[part, None] + squares[None, :end] - 2 * rows[part] @ rows[:end].T
        near = apart <= np.maximum(allowed[part, None], allowed[None, :end]) + 1.0
        for row, other in np.argwhere(np.tril(near, start - 1)):  # with those before it only
            number = start + int(row)
            if first[number] == number and _are_alike(thumbnails[number], thumbnails[other]):
                first[number] = first[other]
    return first


def _are_alike(one: Pixels, other: Pixels) -> bool:
    apart = np.abs(one.astype(np.int64) - other)
    ink = max(int((255 - one.astype(np.int64)).sum()), int((255 - other.astype(np.int64)).sum()))
    return bool(apart.max() <= MOST_LEVELS and apart.sum() <= MOST_SHARE * ink)
