"""Vectors to results over the rows of one install: what is found, judged and told.

    answering = Answering(reader, bundle, codebook, SearchOptions())
    answering.answer(embedding, 10, Filter(in_stock=True))
    answering.similar(10, None, product_id="R-1")
    answering.worded(hits, words.scores(hits), 10)

No picture is opened here, and no model loaded.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Literal

import numpy as np
import numpy.typing as npt

from pocketlens.errors import NotFound, QueryError
from pocketlens.formats.bundle import Bundle
from pocketlens.options import SearchOptions
from pocketlens.query import codes, filters, fusion, likely_categories, query_vectors
from pocketlens.query.codebook import Codebook
from pocketlens.query.filters import Filter
from pocketlens.query.likely_categories import NEIGHBOURS, LikelyCategories, Neighbours
from pocketlens.query.search import Group
from pocketlens.query.searcher import Found, Searcher
from pocketlens.query.variety import to_choose_from, varied
from pocketlens.query.verdict import NOT_JUDGED, Judgement, judge
from pocketlens.results import (
    CategoryShare,
    Match,
    SearchResult,
    TextMatch,
    TextResult,
    Timings,
    WordsReport,
)
from pocketlens.store.reader import Reader
from pocketlens.store.words import Hits

Auto = Literal["auto"]

_PIPELINE = "device"  # of calibrations: the bundle's model against codes


class Answering:
    """Answers from one version of a store. Thread-safe; an error changes nothing.

    Attributes:
        searcher: Of its rows, with the lists that are held in memory.
    """

    def __init__(
        self,
        reader: Reader,
        bundle: Bundle,
        codebook: Codebook | None = None,
        options: SearchOptions | None = None,
    ) -> None:
        """Takes what `searcher_of` takes."""
        self._reader, self._scale = reader, reader.facts.scale
        self._duplicate_cosine = bundle.spec.duplicate_cosine
        self._calibration = bundle.calibration(_PIPELINE)
        self._background = query_vectors.background_of(bundle.representative)
        self.searcher = searcher_of(reader, bundle, codebook, options)
        self._fitting = threading.Lock()
        self._likely: LikelyCategories | None = None

    def answer(
        self,
        query: npt.NDArray[np.float32],
        k: int,
        wanted: Filter | None = None,
        category: Auto | None = None,
        hits: Hits | None = None,
        *,
        judged_by: npt.NDArray[np.float32] | None = None,
    ) -> SearchResult:
        """What a photo shows.

        Args:
            query: float32 (dim,), of unit length, or of several photos pooled.
            k: Matches wanted.
            wanted: Filter.
            category: "auto" searches the likely categories.
            hits: Of words beside the photo.
            judged_by: float32 (dim,), whose similarities the verdict is made of; `query` if None.

        Raises:
            QueryError: The query, `k` or `category` cannot be.
            StoreCorrupt: Something that had to be read is damaged.
        """
        started = perf_counter()
        if category is not None:
            _check_category(category, wanted)
        shares = () if category is None else self._shares(query)
        searched = likely_categories.to_search(shares)
        found, words = self._searched(query, k, wanted or Filter(), searched, hits)
        if searched and not found.groups:  # nothing there satisfies the filter
            searched = ()
            found, words = self._searched(query, k, wanted or Filter(), (), hits)
        told = self._told(found, self._judged(found, judged_by), started)
        told = replace(told, words=words)
        named = tuple(each for each in shares if each.category)
        return replace(told, categories=named, searched=searched) if category else told

    def answer_together(
        self,
        photos: npt.NDArray[np.float32],
        k: int,
        wanted: Filter | None = None,
        category: Auto | None = None,
        hits: Hits | None = None,
    ) -> SearchResult:
        """What several photos of one thing show.

        They are ranked by a mean in which good photos count more, and judged by one in which all
        count the same: the first finds more, but of photos of different things it follows one.

        Args:
            photos: float32 (n, dim), unit rows, one at least.
            k: As for `answer`.
            wanted: As for `answer`.
            category: As for `answer`.
            hits: As for `answer`.

        Raises:
            QueryError, StoreCorrupt: As `answer`.
        """
        started = perf_counter()
        alone = [self.searcher.nearest_images(photo, 1).similarities for photo in photos]
        nearest = np.concatenate(alone) if all(map(len, alone)) else np.zeros(len(photos), "f4")
        query = query_vectors.pooled(photos, query_vectors.weights_of(nearest))
        evenly = query_vectors.pooled(photos)
        found = self.answer(query, k, wanted, category, hits, judged_by=evenly)
        agreement = query_vectors.agreement(photos, self._background)
        spent = Timings(search_ms=(perf_counter() - started) * 1e3)
        return replace(found, agreement=agreement, timings=spent)

    def similar(
        self,
        k: int,
        wanted: Filter | None = None,
        *,
        product_id: str | None = None,
        image_id: str | None = None,
        variety: float = 0.0,
    ) -> SearchResult:
        """What looks like a product of the store, by its own codes; see `Lens.similar`."""
        started = perf_counter()
        some = to_choose_from(k, variety)
        of_query, without = self._own_images(product_id, image_id)
        query = query_vectors.pooled(self._units(of_query[: query_vectors.MOST_IMAGES]))
        found = self.searcher.search(query, some, wanted, without=without)
        if variety:
            found = replace(found, groups=self._varied(found.groups, k, variety))
        return self._told(found, NOT_JUDGED, started)

    def worded(
        self, hits: Hits, scores: npt.NDArray[np.float32], k: int, wanted: Filter | None = None
    ) -> TextResult:
        """Products that have words, those with most of them first; see `Lens.search_text`.

        Args:
            hits: The products.
            scores: float32 (n,), of each, which tell apart those that have as much.
            k: Products wanted.
            wanted: Filter.

        Raises:
            QueryError: `k` cannot be.
            StoreCorrupt: Something that had to be read is damaged.
        """
        if k < 1:
            raise QueryError(f"Expected k of 1 or more. Received {k}.")
        facts, columns = self._reader.facts, self._reader.columns()
        allowed = filters.eligible_products(wanted or Filter(), columns, self._reader.products_with)
        is_eligible = np.isin(hits.product_keys, columns.keys[allowed], assume_unique=True)
        order = np.lexsort((hits.product_keys, -scores, -hits.shares))
        places = order[is_eligible[order]][:k]
        keys = hits.product_keys[places].tolist()
        shown = np.isin(columns.link_product_keys, keys)
        links = columns.link_product_keys[shown].tolist(), columns.link_image_keys[shown].tolist()
        first: dict[int, int] = {}
        for product_key, image_key in zip(*links, strict=True):
            first.setdefault(product_key, image_key)
        images = self._reader.images_only(list(first.values()))
        products = self._reader.products(keys)
        return TextResult(
            matches=tuple(
                TextMatch(products[key], images.get(first.get(key, 0)), share)
                for key, share in zip(keys, hits.shares[places].tolist(), strict=True)
            ),
            words=WordsReport(hits.asked, hits.unknown, int(np.count_nonzero(is_eligible))),
            matches_in_filter=int(np.count_nonzero(allowed)),
            gallery_size=facts.products,
            generation=facts.generation,
            version=facts.version,
            as_of=facts.as_of,
        )

    def _searched(
        self,
        query: npt.NDArray[np.float32],
        k: int,
        wanted: Filter,
        categories: tuple[str, ...],
        hits: Hits | None,
    ) -> tuple[Found, WordsReport | None]:
        among = filters.in_categories(wanted, categories)
        if hits is None:
            return self.searcher.search(query, k, among), None
        fused = fusion.search(
            self.searcher,
            _Source(self._reader),
            query,
            k,
            among,
            product_keys=hits.product_keys,
            shares=hits.shares,
            scale=self._scale,
            duplicate_cosine=self._duplicate_cosine,
        )
        return fused.found, WordsReport(hits.asked, hits.unknown, fused.matching)

    def _judged(self, found: Found, judged_by: npt.NDArray[np.float32] | None) -> Judgement:
        similarity, margin = found.similarity, found.margin
        if judged_by is not None and found.best:
            keys = np.array([group.image_key for group in found.best], np.uint32)
            cosines = codes.decode(self._reader.codes_of(keys), self._scale) @ judged_by
            similarity = float(cosines[0])
            margin = None if len(cosines) < 2 else float(cosines[0] - cosines[1])
        return judge(similarity, margin, self._reader.facts.products, self._calibration)

    def _shares(self, query: npt.NDArray[np.float32]) -> tuple[CategoryShare, ...]:
        with self._fitting:
            if self._likely is None:
                self._likely = LikelyCategories.fitted(
                    self._reader.columns(),
                    self._neighbours,
                    self._units,
                    duplicate_cosine=self._duplicate_cosine,
                )
        return self._likely.of(self._neighbours([query], NEIGHBOURS)[0])

    def _neighbours(
        self, queries: Iterable[npt.NDArray[np.float32]], count: int
    ) -> list[Neighbours]:
        found = (self.searcher.nearest_images(query, count) for query in queries)
        return [Neighbours(each.image_keys, each.similarities) for each in found]

    def _own_images(
        self, product_id: str | None, image_id: str | None
    ) -> tuple[npt.NDArray[np.uint32], frozenset[int]]:
        """Keys of the images to search with, and of all that are no answer to them."""
        images, products = self._reader.links()
        if product_id is not None and image_id is None:
            key = self._reader.product_keys([product_id]).get(product_id)
            own = images[products == key] if key is not None else images[:0]
            if not len(own):
                raise NotFound(f"There is no product {product_id!r} with a picture in the store.")
            return own, frozenset(own.tolist())
        if image_id is not None and product_id is None:
            key = self._reader.image_keys([image_id]).get(image_id)
            if key is None:
                raise NotFound(f"There is no image {image_id!r} in the store.")
            own = images[np.isin(products, products[images == key])]
            return np.array([key], np.uint32), frozenset([key, *own.tolist()])
        raise QueryError("Expected a product or an image. Received both or neither.")

    def _varied(self, groups: Sequence[Group], k: int, wish: float) -> tuple[Group, ...]:
        similarities = np.array([group.similarity for group in groups], np.float32)
        units = self._units(np.array([group.image_key for group in groups], np.uint32))
        return tuple(groups[place] for place in varied(similarities, units, k, wish))

    def _units(self, image_keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
        """Embeddings that the codes of images stand for, float32 (n, dim), at unit length."""
        return codes.units(self._reader.codes_of(image_keys), self._scale)

    def _told(self, found: Found, judged: Judgement, started: float) -> SearchResult:
        facts = self._reader.facts
        matches = self._matches(found.groups)
        is_first = found.best[:1] == found.groups[:1]
        best = matches[:1] if is_first else self._matches(found.best[:1])
        matching = found.matching_products
        return SearchResult(
            verdict=judged.verdict,
            confidence=judged.confidence,
            best=best[0] if best else None,
            matches=matches,
            threshold=judged.threshold,
            margin=found.margin,
            matches_in_filter=facts.products if matching is None else matching,
            gallery_size=facts.products,
            generation=facts.generation,
            version=facts.version,
            as_of=facts.as_of,
            timings=Timings(search_ms=(perf_counter() - started) * 1e3),
        )

    def _matches(self, groups: Sequence[Group]) -> tuple[Match, ...]:
        images = self._reader.images_only([group.image_key for group in groups])
        keys = sorted({key for group in groups for key in group.product_keys})
        products = self._reader.products(keys)
        return tuple(
            Match(
                product=products[group.product_keys[0]],
                image=images[group.image_key].shown_by(self._reader.thumbnails.of),
                similarity=group.similarity,
                alternatives=tuple(products[key] for key in group.product_keys[1:]),
            )
            for group in groups
        )


def searcher_of(
    reader: Reader,
    bundle: Bundle,
    codebook: Codebook | None = None,
    options: SearchOptions | None = None,
) -> Searcher:
    """Searches what a reader sees.

    Args:
        reader: Of the rows.
        bundle: That their codes were made with.
        codebook: Of the same rows; read, and scanned, if None.
        options: Defaults if None.

    Raises:
        StoreCorrupt: The codebook is damaged.
    """
    return Searcher(
        _Source(reader),
        codebook or Codebook(reader.centroids(), index="exact"),
        scale=reader.facts.scale,
        probes=reader.facts.probes,
        options=options,
        duplicate_cosine=bundle.spec.duplicate_cosine,
    )


class _Source:
    """A reader as the rows that `query.searcher` asks for."""

    def __init__(self, reader: Reader) -> None:
        self.version = reader.facts.version
        self.read_list, self.codes_of = reader.read_list, reader.codes_of
        self.links, self.attribute_keys = reader.links, reader.products_with
        self.columns = reader.columns
        self._reader = reader

    def lists_of(self, image_keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        return self._reader.lists_of(image_keys).astype(np.int32)


def _check_category(category: str, wanted: Filter | None) -> None:
    if category != "auto":
        raise QueryError(
            f"Expected category 'auto' or None. Received {category!r}. To search one of your own "
            f"choice: filter=Filter(category={category!r})."
        )
    if wanted is not None and wanted.category is not None:
        raise QueryError(
            f"Expected category 'auto' or a filter with a category. Received both: "
            f"{wanted.category!r}."
        )
