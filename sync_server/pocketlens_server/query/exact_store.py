"""Vectors in the memory of this process, searched exactly: the VectorStore that a server has.

    store = ExactStore(dim=128)
    store.apply(changes)
    with store.view() as view:
        view.search(queries, 20)

Rows lie in blocks of 65,536. A version shares the blocks of the one before: rows that came are
appended behind those that any view sees, rows that went are named in a mask of the version. A block
of which more than half is gone is written anew, so that twice the vectors, and a block, are the
most that is held; what a view still looks at is freed when that is left.

A search is exact. All rows that float32 could have put among the nearest, by the bound on its
error, are scored again in float64, alone: an answer is the same to the last bit whatever else was
asked with it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pocketlens.query.filters import Filter
from pocketlens_server.query.facets import Facets
from pocketlens_server.query.scorers import CpuScorer, Floats, Scorer, error_bound
from pocketlens_server.query.vector_store import Nearest, VersionChanges

BLOCK_ROWS = 1 << 16
_FEWEST_LIVE = 0.5  # share of a block's rows, below which it is written anew
_GATHERED = 1 / 8  # share of rows that satisfy a filter, below which they alone are multiplied
_RESCORED_ROWS = 4096  # at once, in float64
_FILTERS_HELD = 8  # evaluations remembered a version: 4 bytes an image each

_Keys = npt.NDArray[np.uint32]
_Places = npt.NDArray[np.intp]


class _Block:
    """Rows; those that were appended never change."""

    def __init__(self, dim: int, room: int) -> None:
        self.vectors: Floats = np.empty((room, dim), np.float32)
        self.keys: _Keys = np.empty(room, np.uint32)
        self.used = 0

    @property
    def room(self) -> int:
        return len(self.keys) - self.used

    def append(self, keys: _Keys, vectors: Floats) -> None:
        end = self.used + len(keys)
        self.keys[self.used : end] = keys
        self.vectors[self.used : end] = vectors
        self.used = end


@dataclass(frozen=True, slots=True)
class _Part:
    """What a version sees of a block.

    Attributes:
        block: The rows.
        rows: How many of them, from the first on.
        dead: Places among these that the version has not.
    """

    block: _Block
    rows: int
    dead: _Places

    @property
    def live(self) -> int:
        return self.rows - len(self.dead)


class _Version:
    """One version: a `vector_store.View`."""

    def __init__(
        self, version: int, parts: tuple[_Part, ...], facets: Facets, scorer: Scorer, dim: int
    ) -> None:
        self.version, self.parts, self.facets = version, parts, facets
        self.images = sum(part.live for part in parts)
        self.products = len(facets.columns.keys)
        self._scorer, self._dim = scorer, dim
        self._links = facets.links
        self._places = _places_by_key(parts)
        self._eligible: dict[object, _Keys] = {}

    def search(self, queries: Floats, count: int, *, wanted: Filter | None = None) -> list[Nearest]:
        """See `vector_store.View.search`."""
        queries = np.ascontiguousarray(queries, np.float32)
        if wanted is None or wanted.is_empty:
            eligible = None
        else:
            eligible = self._satisfying_images(wanted)
            if len(eligible) <= _GATHERED * self.images:
                return self._among(eligible, queries, count)
        best = [_Best(count, 2 * error_bound(self._dim)) for _ in queries]
        for place, part in enumerate(self.parts):
            scores = self._scorer.scores(part.block, part.rows, queries)
            scores[:, part.dead] = -np.inf
            if eligible is not None:
                scores[:, ~_is_member(eligible, part.block.keys[: part.rows])] = -np.inf
            for row, each in zip(scores, best, strict=True):
                each.take(place, row)
        return [
            self._rescored(each.places, query, count)
            for each, query in zip(best, queries, strict=True)
        ]

    def product_keys(self, image_keys: Sequence[int]) -> list[tuple[int, ...]]:
        """See `vector_store.View.product_keys`."""
        return self._links.of_each(image_keys)

    def images_of(self, product_key: int) -> _Keys:
        """See `vector_store.View.images_of`."""
        return self._links.keys_of(product_key)

    def vectors(self, image_keys: Sequence[int]) -> Floats:
        """See `vector_store.View.vectors`."""
        keys = np.asarray(image_keys, np.uint32)
        places = np.full(len(keys), -1, np.int64)
        known = keys < len(self._places)
        places[known] = self._places[keys[known]]
        if (places < 0).any():
            raise KeyError(int(keys[np.argmin(places)]))
        return self._gathered(places)

    def categories(self) -> tuple[str, ...]:
        """See `vector_store.View.categories`."""
        columns = self.facets.columns
        counts = np.bincount(columns.categories, minlength=len(columns.category_names)).tolist()
        named = zip(columns.category_names, counts, strict=True)
        ordered = sorted((-count, name) for name, count in named if name and count)
        return tuple(name for _, name in ordered)

    def satisfying(self, wanted: Filter) -> _Keys:
        """See `vector_store.View.satisfying`."""
        return self.facets.satisfying(wanted)

    def _satisfying_images(self, wanted: Filter) -> _Keys:
        found = self._eligible.get(wanted.identity)
        if found is None:
            found = self.facets.eligible_images(wanted)
            if len(self._eligible) >= _FILTERS_HELD:
                self._eligible = {}
            self._eligible[wanted.identity] = found
        return found

    def _among(self, keys: _Keys, queries: Floats, count: int) -> list[Nearest]:
        """The nearest of a few images."""
        places = self._places[keys]
        scores = queries @ self._gathered(places).T
        found = []
        for row, query in zip(scores, queries, strict=True):
            best = _Best(count, 2 * error_bound(self._dim))
            best.take(0, row)
            found.append(self._rescored(places[best.places], query, count))
        return found

    def _rescored(self, places: npt.NDArray[np.int64], query: Floats, count: int) -> Nearest:
        """The first of those that may be the nearest, each scored by itself."""
        exact = query.astype(np.float64)
        keys, similarities = np.zeros(0, np.uint32), np.zeros(0, np.float32)
        kept = np.zeros(0, np.int64)
        for start in range(0, max(len(places), 1), _RESCORED_ROWS):
            some = places[start : start + _RESCORED_ROWS]
            # A sum along a row does not depend on the rows beside it, as a matrix product does.
            scores = (self._gathered(some).astype(np.float64) * exact).sum(axis=1)
            keys = np.concatenate([keys, self._keys(some)])
            similarities = np.concatenate([similarities, scores.astype(np.float32)])
            kept = np.concatenate([kept, some])
            order = np.lexsort((keys, -similarities))[:count]
            keys, similarities, kept = keys[order], similarities[order], kept[order]
        return Nearest(keys, similarities, self._gathered(kept))

    def _keys(self, places: npt.NDArray[np.int64]) -> _Keys:
        found = np.empty(len(places), np.uint32)
        for number, part in enumerate(self.parts):
            here = places // BLOCK_ROWS == number
            found[here] = part.block.keys[places[here] % BLOCK_ROWS]
        return found

    def _gathered(self, places: npt.NDArray[np.int64]) -> Floats:
        found: Floats = np.empty((len(places), self._dim), np.float32)
        numbers = places // BLOCK_ROWS
        for number in np.unique(numbers).tolist():
            here = numbers == number
            found[here] = self.parts[number].block.vectors[places[here] % BLOCK_ROWS]
        return found


class _Best:
    """Places of the rows that may be among the nearest to one query."""

    def __init__(self, count: int, slack: float) -> None:
        """Takes how many are wanted, and how far apart two scores of the wrong order may be."""
        self._count, self._slack = count, slack
        self._places = np.zeros(0, np.int64)
        self._scores = np.zeros(0, np.float32)
        self._floor = -np.inf  # nothing below it can be among the nearest

    @property
    def places(self) -> npt.NDArray[np.int64]:
        return self._places

    def take(self, block: int, scores: Floats) -> None:
        """Takes the scores of the rows of a block, -inf of those that are not there."""
        if self._floor == -np.inf and len(scores) > 4 * self._count:
            self._raise_floor(scores)
        found = np.flatnonzero(scores >= self._floor)
        if self._floor == -np.inf:
            found = found[scores[found] > -np.inf]
        self._places = np.concatenate([self._places, found + block * BLOCK_ROWS])
        self._scores = np.concatenate([self._scores, scores[found]])
        if len(self._scores) > self._count:
            self._raise_floor(self._scores)
            stay = self._scores >= self._floor
            self._places, self._scores = self._places[stay], self._scores[stay]

    def _raise_floor(self, scores: Floats) -> None:
        last = np.partition(scores, len(scores) - self._count)[len(scores) - self._count]
        self._floor = max(self._floor, float(last) - self._slack)


class ExactStore:
    """See the module; a `vector_store.VectorStore`."""

    def __init__(self, dim: int, scorer: Scorer | None = None) -> None:
        """Begins empty, at version 0.

        Args:
            dim: Numbers of a vector.
            scorer: What multiplies; numpy if None.
        """
        self.dim = dim
        self._scorer = scorer or CpuScorer()
        self._applying = threading.Lock()
        self._newest = _Version(0, (), Facets.none(), self._scorer, dim)

    @property
    def version(self) -> int:
        """See `vector_store.VectorStore.version`."""
        return self._newest.version

    @property
    def accelerator(self) -> str:
        """What multiplies; see `Scorer.accelerator`."""
        return self._scorer.accelerator

    def apply(self, changes: VersionChanges) -> None:
        """See `vector_store.VectorStore.apply`."""
        images = changes.images
        if images.vectors.shape != (len(images.keys), self.dim):
            raise ValueError(f"Expected vectors of {self.dim}. Received {images.vectors.shape}.")
        with self._applying:
            before = self._newest
            if changes.base == 0:
                before = _Version(0, (), Facets.none(), self._scorer, self.dim)
            if before.version != changes.base:
                raise ValueError(f"Expected a change of {before.version}. Received {changes.base}.")
            gone = np.union1d(changes.deleted_images, images.keys).astype(np.uint32)
            parts = [_without(part, gone) for part in before.parts]
            parts = _appended(parts, images.keys, images.vectors, self.dim)
            facets = before.facets.changed(changes)
            self._newest = _Version(changes.version, tuple(parts), facets, self._scorer, self.dim)

    @contextmanager
    def view(self) -> Iterator[_Version]:
        """See `vector_store.VectorStore.view`."""
        yield self._newest

    def close(self) -> None:
        """See `vector_store.VectorStore.close`."""
        self._newest = _Version(0, (), Facets.none(), self._scorer, self.dim)


def _without(part: _Part, gone: _Keys) -> _Part:
    """The same part without some images; written anew where little of it is left."""
    places = np.flatnonzero(_is_member(gone, part.block.keys[: part.rows]))
    if not len(places):
        return part
    dead = np.union1d(part.dead, places)
    if part.rows - len(dead) >= _FEWEST_LIVE * part.rows:
        return _Part(part.block, part.rows, dead)
    live = np.delete(np.arange(part.rows), dead)
    block = _Block(part.block.vectors.shape[1], len(part.block.keys))
    block.append(part.block.keys[live], part.block.vectors[live])
    return _Part(block, block.used, dead[:0])


def _appended(parts: list[_Part], keys: _Keys, vectors: Floats, dim: int) -> list[_Part]:
    """Parts with more rows behind them: where the last ends for everybody, or in new blocks."""
    start = 0
    for number, part in enumerate(parts):
        if start == len(keys):
            break
        if part.block.used == part.rows and part.block.room:
            end = min(len(keys), start + part.block.room)
            part.block.append(keys[start:end], vectors[start:end])
            parts[number] = _Part(part.block, part.block.used, part.dead)
            start = end
    while start < len(keys):
        end = min(len(keys), start + BLOCK_ROWS)
        block = _Block(dim, BLOCK_ROWS)
        block.append(keys[start:end], vectors[start:end])
        parts.append(_Part(block, block.used, np.zeros(0, np.intp)))
        start = end
    return parts


def _places_by_key(parts: Sequence[_Part]) -> npt.NDArray[np.int64]:
    """Block and row of each image, by its key; -1 where there is none. Keys are dense."""
    largest = max((int(part.block.keys[: part.rows].max()) for part in parts), default=-1)
    places = np.full(largest + 1, -1, np.int64)
    for number, part in enumerate(parts):
        rows = np.arange(part.rows)
        if len(part.dead):
            rows = np.delete(rows, part.dead)
        places[part.block.keys[rows]] = rows + number * BLOCK_ROWS
    return places


def _is_member(ascending: _Keys, keys: _Keys) -> npt.NDArray[np.bool_]:
    """Which of some keys are among others, which are ascending."""
    if not len(ascending):
        return np.zeros(len(keys), np.bool_)
    found = np.searchsorted(ascending, keys)
    found[found == len(ascending)] = 0
    is_same: npt.NDArray[np.bool_] = ascending[found] == keys
    return is_same
