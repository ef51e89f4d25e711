"""Which of the nearest to show, so that they are near and yet not all alike.

    some = to_choose_from(10, variety=0.5)   # so many nearest; of these
    places = varied(similarities, units, 10, variety=0.5)

Source: Carbonell and Goldstein 1998, The use of MMR, diversity-based reranking (maximal marginal
relevance; their lambda is 1 - variety). Values in, values out.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pocketlens.errors import QueryError

# Matches to choose from for each that is wanted: within a few times k they are still like what was
# asked for. Beyond 500 only as many as are wanted: choosing is quadratic.
_TO_VARY, _MOST_TO_VARY = 5, 500


def to_choose_from(k: int, variety: float) -> int:
    """How many of the nearest `varied` is to choose k from.

    Raises:
        QueryError: `variety` is not from 0 to 1.
    """
    if not 0 <= variety <= 1:  # written so that NaN fails
        raise QueryError(f"Expected variety from 0 to 1. Received {variety}.")
    return max(k, min(_TO_VARY * k, _MOST_TO_VARY)) if variety else k


def varied(
    similarities: npt.NDArray[np.float32],
    units: npt.NDArray[np.float32],
    k: int,
    variety: float,
) -> list[int]:
    """Chooses one after the other, by similarity less likeness to what was chosen already.

    Likeness is a cosine, 0 where it is below: what has nothing in common is different enough.

    Args:
        similarities: float32 (n,), to the query, falling.
        units: float32 (n, dim), unit rows.
        k: To choose, 1 or more; all where there are no more.
        variety: 0, by similarity alone, to 1: the nearest, then by unlikeness alone.

    Returns:
        Places in `similarities`, in the order they were chosen; of equals the nearest.
    """
    chosen: list[int] = []
    worth = (1 - variety) * similarities
    likeness = np.zeros(len(units), np.float32)
    while len(chosen) < min(k, len(units)):
        place = int(np.argmax(worth - variety * likeness)) if chosen else 0
        chosen.append(place)
        np.maximum(likeness, units @ units[place], out=likeness)
        worth[place] = -np.inf
    return chosen
