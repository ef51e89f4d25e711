"""A query embedding to matches, over the rows of one store.

    searcher = Searcher(source, codebook, scale=scale, probes=24)
    found = searcher.search(embedding, k=10, wanted=Filter(in_stock=True))
    found.groups, found.best_similarities, found.matching_products

`source` gives rows (a store's reader, or rows in memory); the codebook says which lists; what is
nearest and what counts as one match is said by `query.search`. Lists stay in memory after their
first read, up to `SearchOptions.cache_bytes`.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pocketlens.errors import QueryError
from pocketlens.options import SearchOptions
from pocketlens.product_columns import ProductColumns
from pocketlens.query import filters, scoring
from pocketlens.query.codebook import Codebook
from pocketlens.query.filters import Wanted
from pocketlens.query.list_cache import ListCache, Rows
from pocketlens.query.search import Candidates, Group, Scored, group_products

# Up to so many eligible images are scanned exactly: their codes are held like a list of their own,
# and scoring them costs no more than probing does (as `clustering.SINGLE_LIST_IMAGES`).
FEW_IMAGES = 20_000
_FILTERS_HELD = 4  # evaluations remembered: a byte an image each
_CANDIDATES = 2  # images taken for each match wanted, at first
_MORE = 4  # times as many when they were not enough, images and lists alike


class RowSource(Protocol):
    """What a search reads of a store: one consistent view. Called from many threads at once."""

    @property
    def version(self) -> int:
        """Grows whenever rows change; lists read under an older one are dropped."""

    def read_list(self, number: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int8]]:
        """Image keys (n,), ascending, and codes (n, dim) of one list; at a miss of the cache.

        Raises:
            StoreCorrupt: A checksum does not fit; asking again will not help.
        """

    def codes_of(self, image_keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.int8]:
        """Codes (n, dim) of images that exist; at the first search with a narrow filter."""

    def lists_of(self, image_keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        """The list (n,) of each image; at the first search with a wide filter."""

    def links(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """Image keys (m,), ascending, and a product key of each (m,); once a version."""

    def columns(self) -> ProductColumns:
        """Every product; at the first search with a filter."""

    def attribute_keys(self, name: str, value: str) -> npt.NDArray[np.uint32]:
        """Ascending keys of the products with this value of this attribute."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one search found.

    Attributes:
        groups: At most k matches under the filter, best first.
        best: The first two matches without the filter; fewer where there are not so many. What a
            verdict is made of.
        matching_products: Products under the filter that some image shows; None without a filter.
    """

    groups: tuple[Group, ...]
    best: tuple[Group, ...]
    matching_products: int | None

    @property
    def similarity(self) -> float | None:
        """Of the first match without the filter."""
        return self.best[0].similarity if self.best else None

    @property
    def margin(self) -> float | None:
        """Lead of the first match over the second, without the filter; None without a second."""
        if len(self.best) < 2:
            return None
        return self.best[0].similarity - self.best[1].similarity


@dataclass(frozen=True, slots=True)
class _Links:
    """Products of each image: those of image key i are products[starts[i] : starts[i + 1]].

    Images that are hidden show none.
    """

    version: int
    starts: npt.NDArray[np.uint32]
    products: npt.NDArray[np.uint32]
    images: int
    hidden: frozenset[int] = frozenset()

    def without(self, image_keys: frozenset[int]) -> _Links:
        """The same but for images that are hidden."""
        return replace(self, hidden=image_keys) if image_keys else self

    def products_of(self, image_keys: npt.NDArray[np.uint32]) -> list[tuple[int, ...]]:
        places = np.minimum(image_keys, len(self.starts) - 2)  # beyond the last: no product
        starts, ends = self.starts[places].tolist(), self.starts[places + 1].tolist()
        return [
            () if key in self.hidden else tuple(self.products[start:end].tolist())
            for key, start, end in zip(image_keys.tolist(), starts, ends, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Eligible:
    """A filter evaluated over one version.

    Attributes:
        links: Of images to eligible products only.
        image_keys: uint32 (n,), images that show one, ascending.
        products: Eligible products that some image shows.
        of_images: Images that show any product, eligible or not.
        by_key: bool (largest image key + 2,), the last False; None where the images are few.
        by_list: intp (k,), eligible images of each list; None where they are few.
    """

    links: _Links
    image_keys: npt.NDArray[np.uint32]
    products: int
    of_images: int
    by_key: npt.NDArray[np.bool_] | None
    by_list: npt.NDArray[np.intp] | None


class Searcher:
    """Searches the rows of one source. Thread-safe; an error changes nothing."""

    def __init__(
        self,
        source: RowSource,
        codebook: Codebook,
        *,
        scale: npt.NDArray[np.float32],
        probes: int,
        options: SearchOptions | None = None,
        duplicate_cosine: float = 0.97,
    ) -> None:
        """Takes what a store holds; reads nothing yet.

        Args:
            source: Rows.
            codebook: Of the same store.
            scale: float32 (dim,), of the codes.
            probes: Lists to score, as fitted to the codebook; `options.probes` goes before it.
            options: Defaults where None.
            duplicate_cosine: Cosine of two codes from which two images are one picture.

        Raises:
            QueryError: `options.probes` is not 1 or more.
        """
        options = options or SearchOptions()
        self.probes = probes if options.probes is None else options.probes
        if self.probes < 1:
            raise QueryError(f"Expected 1 or more lists to probe. Received {self.probes}.")
        self.cache = ListCache(options.cache_bytes)
        self._source = source
        self._codebook = codebook
        self._scale = scale
        self._duplicate_cosine = duplicate_cosine
        self._links: _Links | None = None
        self._filters: OrderedDict[object, _Eligible] = OrderedDict()
        self._lock = threading.Lock()

    def search(
        self,
        query: npt.NDArray[np.float32],
        k: int,
        wanted: Wanted | None = None,
        *,
        without: frozenset[int] = frozenset(),
    ) -> Found:
        """Matches of a query.

        Args:
            query: float32 (dim,), of unit length, or shorter where several were pooled.
            k: Matches wanted, 1 or more; all there are when they are fewer.
            wanted: Only these products; None or an empty filter asks for all.
            without: Keys of images that are no answer.

        Returns:
            At most k matches; never fewer than min(k, matching) but for products that share one
            picture.

        Raises:
            QueryError: k is below 1, or the query has another length or is not finite.
            StoreCorrupt: A list that had to be read is damaged.
        """
        query = self._checked(query)
        if k < 1:
            raise QueryError(f"Expected k of 1 or more. Received {k}.")
        links = self._current_links().without(without)
        if wanted is None or wanted.is_empty:
            groups = self._unfiltered(query, max(k, 2), links)
            return Found(groups[:k], groups[:2], None)
        best = self._unfiltered(query, 2, links)
        eligible = self._evaluated(wanted, links)
        return Found(
            groups=self._filtered(query, k, wanted, eligible, without),
            best=best,
            matching_products=eligible.products,
        )

    def nearest_images(
        self, query: npt.NDArray[np.float32], count: int, wanted: Wanted | None = None
    ) -> Candidates:
        """The nearest images of the probed lists, whatever they show.

        Args:
            query: float32 (dim,), unit length.
            count: Images wanted, 1 or more.
            wanted: Only images that show such a product.

        Returns:
            At most `count`, by falling similarity.

        Raises:
            QueryError, StoreCorrupt: As `search`.
        """
        query = self._checked(query)
        if count < 1:
            raise QueryError(f"Expected 1 or more images. Received {count}.")
        if wanted is None or wanted.is_empty:
            return self._scored(query, self.probes)[0].best(count)
        eligible = self._evaluated(wanted, self._current_links())
        return self._scored_eligible(query, self.probes, wanted, eligible)[0].best(count)

    def _checked(self, query: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        dim = self._codebook.dim
        if query.shape != (dim,):
            raise QueryError(
                f"Expected a vector of {dim} numbers, as the store's model makes them. "
                f"Received shape {query.shape}."
            )
        query = np.ascontiguousarray(query, np.float32)
        if not np.isfinite(query).all():
            raise QueryError("Expected a vector of finite numbers. Received NaN or infinity.")
        return query

    def _unfiltered(
        self, query: npt.NDArray[np.float32], matches: int, links: _Links
    ) -> tuple[Group, ...]:
        return self._grouped(matches, links, lambda probes: self._scored(query, probes))

    def _filtered(
        self,
        query: npt.NDArray[np.float32],
        k: int,
        wanted: Wanted,
        eligible: _Eligible,
        without: frozenset[int],
    ) -> tuple[Group, ...]:
        if eligible.products == 0:
            return ()
        return self._grouped(
            k,
            eligible.links.without(without),
            lambda probes: self._scored_eligible(query, probes, wanted, eligible),
        )

    def _grouped(
        self, matches: int, links: _Links, scored_at: Callable[[int], tuple[Scored, bool]]
    ) -> tuple[Group, ...]:
        """Matches from ever more images, of ever more lists, until complete or images end.

        Args:
            matches: Wanted.
            links: To the products that may be returned.
            scored_at: Number of lists to their scored rows, and whether those are all there are.
        """
        probes = self.probes
        while True:
            scored, is_all = scored_at(probes)
            count = _CANDIDATES * matches
            while True:
                best = scored.best(count)
                groups, is_complete = group_products(
                    best,
                    links.products_of(best.image_keys),
                    matches,
                    scale=self._scale,
                    duplicate_cosine=self._duplicate_cosine,
                )
                if is_complete or count >= len(scored):
                    break
                count *= _MORE
            if len(groups) == matches or is_all:
                return groups
            probes *= _MORE

    def _scored(self, query: npt.NDArray[np.float32], probes: int) -> tuple[Scored, bool]:
        numbers = self._codebook.nearest_lists(query, probes).tolist()
        scored = Scored(scoring.weights(query, self._scale), self._lists(numbers))
        return scored, probes >= self._codebook.k

    def _scored_eligible(
        self, query: npt.NDArray[np.float32], probes: int, wanted: Wanted, eligible: _Eligible
    ) -> tuple[Scored, bool]:
        """Scores all eligible images where they are few; else lists until they hold enough."""
        weights = scoring.weights(query, self._scale)
        if eligible.by_list is None or eligible.by_key is None:
            keys = eligible.image_keys
            rows = self.cache.rows(
                (eligible.links.version, wanted.identity),
                lambda: (keys, self._source.codes_of(keys)),
            )
            return Scored(weights, [rows]), True
        order = self._codebook.nearest_lists(query, self._codebook.k)
        order = order[eligible.by_list[order] > 0]
        expected = probes * eligible.of_images / self._codebook.k
        reached = np.cumsum(eligible.by_list[order])
        count = int(np.searchsorted(reached, expected)) + 1
        scored = Scored(weights, self._lists(order[:count].tolist()))
        scored.keep(eligible.by_key)
        return scored, count >= len(order)

    def _lists(self, numbers: list[int]) -> list[Rows]:
        version, read = self._source.version, self._source.read_list
        keys = [(version, number) for number in numbers]
        return self.cache.many(keys, lambda place: read(numbers[place]))

    def _current_links(self) -> _Links:
        links, version = self._links, self._source.version
        if links is None or links.version != version:
            self.cache.drop()
            links = _linked(version, *self._source.links())
            self._links = links
        return links

    def _evaluated(self, wanted: Wanted, links: _Links) -> _Eligible:
        key = (links.version, wanted.identity)
        with self._lock:
            if key in self._filters:
                self._filters.move_to_end(key)
                return self._filters[key]
        eligible = self._evaluate(wanted, links)
        with self._lock:
            self._filters[key] = eligible
            while len(self._filters) > _FILTERS_HELD:
                self._filters.popitem(last=False)
        return eligible

    def _evaluate(self, wanted: Wanted, links: _Links) -> _Eligible:
        columns = self._source.columns()
        allowed = filters.eligible_products(wanted, columns, self._source.attribute_keys)
        kept = filters.linked(columns, allowed)
        image_keys = filters.eligible_images(columns, allowed)
        products = columns.link_product_keys[kept]
        narrowed = _linked(links.version, columns.link_image_keys[kept], products)
        few = len(image_keys) <= FEW_IMAGES
        by_key = by_list = None
        if not few:
            by_key = np.zeros(int(image_keys[-1]) + 2, np.bool_)
            by_key[image_keys] = True
            by_list = np.bincount(self._source.lists_of(image_keys), minlength=self._codebook.k)
        return _Eligible(
            links=narrowed,
            image_keys=image_keys,
            products=len(np.unique(products)),
            of_images=links.images,
            by_key=by_key,
            by_list=by_list,
        )


def _linked(
    version: int, image_keys: npt.NDArray[np.uint32], product_keys: npt.NDArray[np.uint32]
) -> _Links:
    largest = int(image_keys[-1]) if len(image_keys) else 0
    counts = np.bincount(image_keys, minlength=largest + 2)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)
    return _Links(version, starts, product_keys, int(np.count_nonzero(counts)))
