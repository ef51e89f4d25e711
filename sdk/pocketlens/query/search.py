"""Codes to images, images to matches: what is nearest, and what counts as one match.

    candidates = Scored(scoring.weights(query, scale), lists).best(40)
    groups, is_complete = group_products(candidates, products, 10, ...)

A product's similarity is that of its best image. Products that share the winning image of a match,
or a near-duplicate of it, are alternatives within that match. Values in, values out.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from pocketlens.query import codes, scoring
from pocketlens.query.list_cache import Rows

# Rows scored exactly beyond those wanted, since the coarse order is off by a few places: with 14 no
# image was lost in 148 queries over 100,000, with 8 one in 5,000, with none one in 30.
_RESCORED = 20
_RESCORED_SHARE = 4  # and a quarter as many as wanted, where many are

# Lists are laid side by side and scored in one call where they are small enough to stay in a
# core's cache: 8 lists of 110 rows in 32 us instead of 40, 24 in 64 instead of 68, but 48 in 145
# instead of 119.
_JOINED_BYTES = 384 * 1024
_FEW_ROWS = 100  # gathered one by one out of many lists
_BLOCK = 256  # candidates compared with the winners at once


@dataclass(frozen=True, slots=True)
class Candidates:
    """Images by falling similarity.

    Attributes:
        image_keys: uint32 (n,).
        similarities: float32 (n,), of the codes with the float query.
        codes: int8 (n, dim).
    """

    image_keys: npt.NDArray[np.uint32]
    similarities: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.image_keys)


@dataclass(frozen=True, slots=True)
class Group:
    """One match: products that one picture shows.

    Attributes:
        image_key: The winning image.
        product_keys: The product of the match, then its alternatives.
        similarity: Of the winning image.
    """

    image_key: int
    product_keys: tuple[int, ...]
    similarity: float


class Scored:
    """Lists scored once by a query, to take ever more of the best from."""

    def __init__(self, weights: npt.NDArray[np.float32], lists: Sequence[Rows]) -> None:
        """Scores lists.

        Args:
            weights: float32 (dim,), of `scoring.weights`.
            lists: Rows of lists, at least one, no image twice.
        """
        if len(lists) > 1 and sum([rows.codes.nbytes for rows in lists]) <= _JOINED_BYTES:
            lists = [_joined(lists)]
        self._weights = weights
        self._lists = lists
        self._scores = scoring.coarse_scores(weights, [rows.codes for rows in lists])
        self._places: npt.NDArray[np.intp] | None = None  # of the rows kept; None: all

    def __len__(self) -> int:
        return len(self._scores)

    def keep(self, eligible: npt.NDArray[np.bool_]) -> None:
        """Leaves only eligible images to take from.

        Args:
            eligible: bool (n,), by image key; its last stands for all keys beyond, too.
        """
        keys = np.concatenate([rows.image_keys for rows in self._lists])
        self._places = np.flatnonzero(eligible.take(keys, mode="clip"))
        self._scores = self._scores[self._places]

    def best(self, count: int) -> Candidates:
        """The `count` images of the highest similarity, by the float query; equals by key."""
        n = len(self._scores)
        taken = min(n, count + max(_RESCORED, count // _RESCORED_SHARE))
        places = _largest(self._scores, taken)
        if self._places is not None:
            places = self._places[places]
        keys, rows = self._gather(places)
        similarities = scoring.similarities(self._weights, rows)
        order = np.lexsort((keys, -similarities))[:count]
        return Candidates(keys[order], similarities[order], rows[order])

    def _gather(
        self, places: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int8]]:
        """Keys and codes of rows by their places in the lists laid end to end."""
        if len(self._lists) > 1 and len(places) > _FEW_ROWS:
            self._lists = [_joined(self._lists)]
        lists = self._lists
        if len(lists) == 1:
            return lists[0].image_keys[places], lists[0].codes[places]
        starts = list(accumulate([len(rows.image_keys) for rows in lists], initial=0))
        keys, found = [], []
        for place in places.tolist():
            number = bisect_right(starts, place) - 1
            row = place - starts[number]
            keys.append(lists[number].image_keys[row])
            found.append(lists[number].codes[row])
        gathered = np.frombuffer(b"".join(found), np.int8)  # `np.array(found)` takes twice as long
        return np.array(keys, np.uint32), gathered.reshape(len(found), len(self._weights))


def _joined(lists: Sequence[Rows]) -> Rows:
    """Lists laid end to end."""
    return Rows(
        np.concatenate([rows.image_keys for rows in lists]),
        np.concatenate([rows.codes for rows in lists]),
    )


def _largest(scores: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.intp]:
    """Places of the `count` largest, in any order, and sometimes a few equal to the last.

    A value to compare with takes a third of the time of `argpartition`.
    """
    n = len(scores)
    if count == 0 or count == n:
        return np.arange(count)
    places = np.flatnonzero(scores >= np.partition(scores, n - count)[n - count])
    return places if len(places) <= 2 * count else np.argpartition(scores, n - count)[n - count :]


def group_products(
    candidates: Candidates,
    products: Sequence[tuple[int, ...]],
    wanted: int,
    *,
    scale: npt.NDArray[np.float32],
    duplicate_cosine: float,
) -> tuple[tuple[Group, ...], bool]:
    """Matches of images that come by falling similarity; see `grouped`.

    Args:
        candidates: Images by falling similarity.
        products: Keys of the products each image shows, ascending, of those that may be returned.
        wanted: Matches to make, 1 or more.
        scale: float32 (dim,), of the codes.
        duplicate_cosine: Cosine of two codes from which they are one picture.

    Returns:
        At most `wanted` matches, best first, and whether more candidates would change nothing.
    """
    units = codes.units(candidates.codes, scale)
    opened, is_complete = grouped(units, products, wanted, duplicate_cosine=duplicate_cosine)
    images, similarities = candidates.image_keys.tolist(), candidates.similarities.tolist()
    groups = tuple(Group(images[place], keys, similarities[place]) for place, keys in opened)
    return groups, is_complete


def grouped(
    units: npt.NDArray[np.float32],
    products: Sequence[tuple[int, ...]],
    wanted: int,
    *,
    duplicate_cosine: float,
) -> tuple[list[tuple[int, tuple[int, ...]]], bool]:
    """Which of the images that come by falling similarity open a match, and what that is of.

    An image opens a match when it shows a product that no earlier match has and is no
    near-duplicate of an earlier winner; new products of a near-duplicate become alternatives of
    that winner's match, the first one's if there are several.

    Args:
        units: float32 (n, dim), unit rows of the images.
        products: Keys of the products each image shows, ascending, of those that may be returned.
        wanted: Matches to make, 1 or more.
        duplicate_cosine: Cosine from which two images are one picture.

    Returns:
        Place of the winner, and keys of its products, of at most `wanted` matches, best first; and
        whether they are complete: one match more would have begun, so that more images change
        nothing.
    """
    placed: set[int] = set()
    opened: dict[int, list[int]] = {}  # place of the winner to product keys, best first
    is_complete = False
    for place, shown in enumerate(products):
        if place % _BLOCK == 0:
            twins = _twins(units, list(opened), place, duplicate_cosine)
        new = [product for product in shown if product not in placed]
        if not new:
            continue
        winner = next((earlier for earlier in twins.get(place, ()) if earlier in opened), None)
        if winner is not None:
            opened[winner].extend(new)
        elif len(opened) == wanted:
            is_complete = True
            break
        else:
            opened[place] = new
        placed.update(new)
    return [(place, tuple(keys)) for place, keys in opened.items()], is_complete


def _twins(
    units: npt.NDArray[np.float32], winners: list[int], start: int, duplicate_cosine: float
) -> dict[int, list[int]]:
    """Near-duplicates of each place of the block at `start`: winners and earlier ones of the block.

    Args:
        units: float32 (n, dim), unit rows by falling similarity.
        winners: Places before the block.
        start: Of the block.
        duplicate_cosine: From which two are near-duplicates.

    Returns:
        Place to earlier places, ascending; only where there are any.
    """
    block = units[start : start + _BLOCK]
    earlier = np.concatenate([np.array(winners, np.intp), np.arange(start, start + len(block))])
    alike = block @ units[earlier].T >= duplicate_cosine
    found: dict[int, list[int]] = {}
    for row, column in np.argwhere(alike).tolist():
        if column < len(winners) + row:
            found.setdefault(start + row, []).append(int(earlier[column]))
    return found
