"""What a store answers, whole: searches with and without filters, to be compared with another's."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens import Lens
from pocketlens.query.filters import Filter
from pocketlens.results import SearchResult, Timings

FILTERS = (None, Filter(in_stock=True), None, Filter(category="category 3"))
K = 5

Answer = str
"""Everything that a result says but its timings, as text: to be compared, and sent elsewhere."""


def answer(found: SearchResult) -> Answer:
    """What is compared of a result."""
    return repr(replace(found, timings=Timings()))


def search(lens: Lens, queries: npt.NDArray[np.float32], number: int) -> Answer:
    """The answer to golden search `number`; every filter comes again and again."""
    wanted = FILTERS[number % len(FILTERS)]
    return answer(lens.search_vector(queries[number], K, filter=wanted))


def answers(directory: Path, queries: npt.NDArray[np.float32]) -> Sequence[Answer]:
    """Of a store that is opened for it."""
    with Lens.open(directory) as lens:
        return [search(lens, queries, number) for number in range(len(queries))]
