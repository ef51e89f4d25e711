"""Vectors in the memory of this process, searched exactly: the VectorStore that a server has.

    store = ExactStore(dim=128)
    store.apply(changes)
    with store.view() as view:
        view.search(queries, 20)

A search is exact. All rows that float32 could have put among the nearest, by the bound on its
error, are scored again in float64, each by itself: an answer is the same to the last bit whatever
else was asked with it, and whatever multiplied.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pocketlens.product_columns import ProductColumns
from pocketlens.query.filters import Wanted
from pocketlens_server.query import exact_blocks
from pocketlens_server.query.candidates import Candidates
from pocketlens_server.query.exact_blocks import Floats, Keys, Part, Places
from pocketlens_server.query.facets import Facets
from pocketlens_server.query.scorers import CpuScorer, Scorer
from pocketlens_server.query.vector_store import Nearest, VersionChanges

_RESCORED_ROWS = 4096  # at once, in float64
# Filters that are remembered of a version: a byte an image each, and 4 a product that satisfies it.
_FILTER_BYTES, _FEWEST_FILTERS, _MOST_FILTERS = 32 << 20, 8, 256


@dataclass(frozen=True, slots=True)
class _Narrowed:
    """What a filter leaves of a version."""

    parts: Sequence[Part]
    products: Keys


class _Version:
    """One version: a `vector_store.View`."""

    def __init__(
        self, version: int, parts: Sequence[Part], facets: Facets, scorer: Scorer, dim: int
    ) -> None:
        self.version, self.parts, self.facets = version, parts, facets
        self.images = sum(part.seen for part in parts)
        self.products = len(facets.columns.keys)
        self._scorer, self._dim = scorer, dim
        self._links = facets.links
        self._places = exact_blocks.place_of_each(parts)
        self._narrowed: dict[object, _Narrowed] = {}  # those used longest ago first
        held = _FILTER_BYTES // max(1, self.images)
        self._filters_held = min(max(held, _FEWEST_FILTERS), _MOST_FILTERS)

    def search(self, queries: Floats, count: int, *, wanted: Wanted | None = None) -> list[Nearest]:
        """See `vector_store.View.search`."""
        queries = np.ascontiguousarray(queries, np.float32)
        parts = self.parts if wanted is None or wanted.is_empty else self._by(wanted).parts
        return self._rescored(self._scorer.candidates(parts, queries, count), queries, count)

    def product_keys(self, image_keys: Sequence[int]) -> list[tuple[int, ...]]:
        """See `vector_store.View.product_keys`."""
        return self._links.of_each(image_keys)

    def images_of(self, product_key: int) -> Keys:
        """See `vector_store.View.images_of`."""
        return self._links.keys_of(product_key)

    def vectors(self, image_keys: Sequence[int]) -> Floats:
        """See `vector_store.View.vectors`."""
        places = self.places(np.asarray(image_keys, np.uint32))
        if (places < 0).any():
            raise KeyError(image_keys[int(np.argmin(places))])
        return exact_blocks.rows_at(self.parts, places, self._dim)[1]

    def categories(self) -> tuple[str, ...]:
        """See `vector_store.View.categories`."""
        columns = self.facets.columns
        counts = np.bincount(columns.categories, minlength=len(columns.category_names)).tolist()
        named = zip(columns.category_names, counts, strict=True)
        ordered = sorted((-count, name) for name, count in named if name and count)
        return tuple(name for _, name in ordered)

    def columns(self) -> ProductColumns:
        """See `vector_store.View.columns`."""
        return self.facets.columns

    def values_of(self, name: str) -> Iterable[tuple[str, Keys]]:
        """See `vector_store.View.values_of`."""
        return self.facets.values_of(name)

    def satisfying(self, wanted: Wanted) -> Keys:
        """See `vector_store.View.satisfying`."""
        return self._by(wanted).products

    def places(self, keys: Keys) -> Places:
        """Where images lie; -1 for one that is not there."""
        places = np.full(len(keys), -1, np.int64)
        known = keys < len(self._places)
        places[known] = self._places[keys[known]]
        return places

    def _by(self, wanted: Wanted) -> _Narrowed:
        found = self._narrowed.get(wanted.identity)
        if found is None:
            images, products = self.facets.narrowed(wanted)
            is_left = np.zeros(len(self._places), np.bool_)
            is_left[images] = True
            parts = [part.without(~is_left[part.keys]) for part in self.parts]
            found = _Narrowed(parts, products)
            too_many = max(0, len(self._narrowed) + 1 - self._filters_held)
            for identity in list(self._narrowed)[:too_many]:
                self._narrowed.pop(identity, None)  # another thread may have done it
        else:
            self._narrowed.pop(wanted.identity, None)  # it comes last
        self._narrowed[wanted.identity] = found
        return found

    def _rescored(self, found: Candidates, queries: Floats, count: int) -> list[Nearest]:
        """The first of those that may be the nearest, each scored by itself."""
        exact = queries.astype(np.float64)
        all_whose, places = found.each()
        whose, keys = np.zeros(0, np.intp), np.zeros(0, np.uint32)
        similarities = np.zeros(0, np.float32)
        vectors: Floats = np.zeros((0, self._dim), np.float32)
        for start in range(0, len(places), _RESCORED_ROWS):
            some = slice(start, start + _RESCORED_ROWS)
            more, own = exact_blocks.rows_at(self.parts, places[some], self._dim), all_whose[some]
            # A sum along a row does not depend on the rows beside it, as a matrix product does.
            scores = (more[1].astype(np.float64) * exact[own]).sum(axis=1)
            whose, keys = np.concatenate([whose, own]), np.concatenate([keys, more[0]])
            vectors = np.concatenate([vectors, more[1]])
            similarities = np.concatenate([similarities, scores.astype(np.float32)])
            order = np.lexsort((keys, -similarities, whose))
            whose = whose[order]
            is_first = np.arange(len(whose)) - np.searchsorted(whose, whose) < count
            order, whose = order[is_first], whose[is_first]
            keys, similarities, vectors = keys[order], similarities[order], vectors[order]
        bounds = np.searchsorted(whose, np.arange(len(queries) + 1)).tolist()
        return [
            Nearest(keys[start:end], similarities[start:end], vectors[start:end])
            for start, end in pairwise(bounds)
        ]


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
        self._newest = self._of(0, (), Facets.none())

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
            before = self._newest if changes.base else self._of(0, (), Facets.none())
            if before.version != changes.base:
                raise ValueError(f"Expected a change of {before.version}. Received {changes.base}.")
            facets = before.facets.changed(changes)  # fails before rows were appended
            gone = before.places(np.union1d(changes.deleted_images, images.keys).astype(np.uint32))
            parts = exact_blocks.changed(before.parts, gone[gone >= 0], images.keys, images.vectors)
            self._newest = self._of(changes.version, parts, facets)

    @contextmanager
    def view(self) -> Iterator[_Version]:
        """See `vector_store.VectorStore.view`."""
        yield self._newest

    def close(self) -> None:
        """See `vector_store.VectorStore.close`."""
        self._newest = self._of(0, (), Facets.none())

    def _of(self, version: int, parts: Sequence[Part], facets: Facets) -> _Version:
        return _Version(version, parts, facets, self._scorer, self.dim)
