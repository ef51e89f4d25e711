"""Rows that may be among the nearest, by scores that are off by no more than a bound (PURE).

    found = Candidates(queries=2, count=10, error=error_bound(dim))
    found.take(places, scores)                 # block after block
    found.of(0)                                # places; all of the ten nearest are among them

Where `count` rows score s or more, the true nearest score s - 2 * error or more: what scores less
is no candidate. Most rows meet one comparison with that floor.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pocketlens_server.query.exact_blocks import Floats, Places

_FIRST_ROWS = 1024  # that the first floors are taken from; of all rows it takes longer
_FEWEST_HELD = 4096  # candidates, below which none are sorted out


def error_bound(dim: int) -> float:
    """How far a float32 dot product of two unit vectors is from the exact one, at most.

    Source: N. Higham, Accuracy and Stability of Numerical Algorithms, 3.1: n u / (1 - n u), in any
    order of summation, with the unit roundoff u = 2^-24.
    """
    spent = dim * 2.0**-24
    return spent / (1 - spent)


class Candidates:
    """Of several queries at once.

    Attributes:
        slack: How much less than the last of `count` rows another may score and be a candidate.
    """

    def __init__(self, queries: int, count: int, error: float) -> None:
        """Begins without any.

        Args:
            queries: How many there are.
            count: Of the nearest to each that are wanted.
            error: That no score exceeds.
        """
        self._queries, self._count = queries, count
        self._others = np.arange(1, queries)  # but the first
        # The exact score is rounded to float32 in the end, and so is the floor.
        self.slack = np.float32(2 * (error + 2.0**-23))
        # Rows that are not there score -inf, and are below even this.
        self._floors = np.full(queries, np.finfo(np.float32).min)
        self._places = [np.zeros(0, np.int64)]
        self._whose = [np.zeros(0, np.intp)]
        self._scores = [np.zeros(0, np.float32)]
        self._held, self._most = 0, _FEWEST_HELD

    def take(self, places: Places, scores: Floats) -> None:
        """Takes rows.

        Args:
            places: int64 (n,).
            scores: float32 (n, queries), -inf for rows that are not there.
        """
        if not self._held and len(places) > 4 * self._count:
            some = scores[: max(_FIRST_ROWS, 4 * self._count)]
            last = len(some) - self._count
            self._raise(np.partition(some, last, axis=0)[last])
        found = np.flatnonzero(scores >= self._floors)
        rows, whose = np.divmod(found, self._queries)
        self.add(places[rows], whose, scores.ravel()[found])

    def add(self, places: Places, whose: npt.NDArray[np.intp], scores: Floats) -> None:
        """Takes candidates of single queries, where others of the same rows are known to be none.

        Args:
            places: int64 (n,).
            whose: Number of the query, each.
            scores: float32 (n,), -inf for rows that are not there.
        """
        self._places.append(places)
        self._whose.append(whose)
        self._scores.append(scores)
        self._held += len(places)
        if self._held > self._most:
            self._sort_out()

    def merge(self, other: Candidates) -> None:
        """Takes those that others found among other rows, for the same queries."""
        for found in zip(other._places, other._whose, other._scores, strict=True):
            self.add(*found)

    def each(self) -> tuple[npt.NDArray[np.intp], Places]:
        """All that are left: number of the query, ascending, and place; both (n,)."""
        if len(self._places) > 1:
            self._sort_out()
        return self._whose[0], self._places[0]

    def of(self, query: int) -> Places:
        """Places of the candidates of one query."""
        whose, places = self.each()
        start, end = np.searchsorted(whose, [query, query + 1])
        return places[start:end]

    def _sort_out(self) -> None:
        """Puts those of one query beside each other, and leaves those that still are some."""
        whose = np.concatenate(self._whose)
        order = np.argsort(whose, kind="stable")
        whose = whose[order]
        places, scores = np.concatenate(self._places)[order], np.concatenate(self._scores)[order]
        lasts = np.full(self._queries, -np.inf, np.float32)
        for query, own in enumerate(np.split(scores, np.searchsorted(whose, self._others))):
            if len(own) >= self._count:
                lasts[query] = np.partition(own, len(own) - self._count)[len(own) - self._count]
        self._raise(lasts)
        stay = scores >= self._floors[whose]
        self._places, self._whose, self._scores = [places[stay]], [whose[stay]], [scores[stay]]
        self._held = int(np.count_nonzero(stay))
        self._most = max(_FEWEST_HELD, 2 * self._held)  # else equals would be sorted out in vain

    def _raise(self, lasts: Floats) -> None:
        """Learns of what `count` rows score at least, for each query."""
        self._floors = np.maximum(self._floors, lasts - self.slack)
