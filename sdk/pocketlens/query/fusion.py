"""Words beside a picture: images lifted by what their products have of the words asked for.

    fused = search(searcher, source, query, 10, wanted, product_keys=keys, shares=shares, ...)

An image's place is its similarity and LIFT times the share of the words that a product of its has:
words settle what pictures leave open, and do not overrule a picture that leaves nothing open. Ranks
of both joined by their reciprocals (Cormack et al. 2009) do overrule it: of 296 photos of groceries
among 1,331 products 83 % have the right product first; with a word of its title 97 %, by ranks
98 %; with a word of another product 79 %, by ranks 1 % (`benchmarks/shop_words.py`). With a model
that knows fewer of them, 57 %, it is 88 and 51 % by LIFT 0.6; 86 and 53 by 0.5, 90 and 32 by 0.8.
The verdict stays that of the picture.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pocketlens.query import filters, scoring
from pocketlens.query.filters import Wanted
from pocketlens.query.search import Candidates, Group, group_products
from pocketlens.query.searcher import Found, RowSource, Searcher

LIFT = 0.6  # in units of similarity

# Images whose products have most of the words are scored whatever list they are in, as long as they
# are so few; others have to be among the nearest.
FEW_IMAGES = 5_000
_NEAREST = 50  # images taken at first
_MORE = 4  # times as many when they were not enough
_MOST_NEAREST = 20_000


@dataclass(frozen=True, slots=True)
class Fused:
    """What was found with words.

    Attributes:
        found: As of a search; the first matches without the filter are those of the picture alone.
        matching: Products under the filter that some image shows and that have any of the words;
            none means that the picture alone has answered.
    """

    found: Found
    matching: int


def search(
    searcher: Searcher,
    source: RowSource,
    query: npt.NDArray[np.float32],
    k: int,
    wanted: Wanted | None,
    *,
    product_keys: npt.NDArray[np.uint32],
    shares: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    duplicate_cosine: float,
) -> Fused:
    """Matches of a picture and of words.

    Args:
        searcher: Of the pictures.
        source: Its rows.
        query: float32 (dim,), unit length.
        k: Matches wanted, 1 or more.
        wanted: Only these products; None asks for all.
        product_keys: uint32 (n,), ascending, of the products that have any of the words.
        shares: float32 (n,), above 0 to 1: how much of them each has.
        scale: float32 (dim,), of the codes.
        duplicate_cosine: Cosine of two codes from which two images are one picture.

    Raises:
        QueryError, StoreCorrupt: As `Searcher.search`.
    """
    plain = searcher.search(query, k, wanted)
    worded = _Worded.of(source, wanted, product_keys, shares)
    if not worded.products:
        return Fused(plain, 0)
    scored, best_left = _scored(searcher, source, query, scale, worded)
    count = max(_NEAREST, 2 * k)
    while True:
        near = searcher.nearest_images(query, count, wanted)
        groups = _grouped(_joined(near, scored), worded, k, scale, duplicate_cosine)
        if len(near) < count or count >= _MOST_NEAREST:
            break
        if len(groups) == k:
            last = groups[-1].similarity + worded.lift(np.array([groups[-1].image_key]))[0]
            if last >= near.similarities[-1] + LIFT * best_left:  # nothing else can come before it
                break
        count *= _MORE
    shown = {key for group in groups for key in group.product_keys}
    others = [group for group in plain.groups if shown.isdisjoint(group.product_keys)]
    return Fused(replace(plain, groups=(*groups, *others)[:k]), worded.products)


@dataclass(frozen=True, slots=True)
class _Worded:
    """Eligible links, and what their products have of the words.

    Attributes:
        link_images, link_products: uint32 (m,), links to eligible products, by image.
        by_product: float32, share of each product by its key.
        by_image: float32, the largest share of each image's products by its key; the last is 0.
        products: That have any, among those of the links.
    """

    link_images: npt.NDArray[np.uint32]
    link_products: npt.NDArray[np.uint32]
    by_product: npt.NDArray[np.float32]
    by_image: npt.NDArray[np.float32]
    products: int

    @classmethod
    def of(
        cls,
        source: RowSource,
        wanted: Wanted | None,
        product_keys: npt.NDArray[np.uint32],
        shares: npt.NDArray[np.float32],
    ) -> _Worded:
        images, products = source.links()
        if wanted is not None and not wanted.is_empty:
            columns = source.columns()
            allowed = filters.eligible_products(wanted, columns, source.attribute_keys)
            kept = filters.linked(columns, allowed)
            images, products = columns.link_image_keys[kept], columns.link_product_keys[kept]
        largest = max(products.max(initial=0), product_keys.max(initial=0))
        by_product = np.zeros(int(largest) + 1, np.float32)
        by_product[product_keys] = shares
        of_links = by_product[products]
        by_image = np.zeros(int(images.max(initial=0)) + 2, np.float32)
        np.maximum.at(by_image, images, of_links)
        return cls(images, products, by_product, by_image, len(np.unique(products[of_links > 0])))

    def lift(self, image_keys: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.float32]:
        """What is added to the similarity of each image."""
        lifted: npt.NDArray[np.float32] = np.float32(LIFT) * self.by_image.take(
            image_keys, mode="clip"
        )
        return lifted

    def products_of(self, image_keys: npt.NDArray[np.uint32]) -> list[tuple[int, ...]]:
        """Eligible products of each image; those that have most of the words first."""
        starts = np.searchsorted(self.link_images, image_keys)
        stops = np.searchsorted(self.link_images, image_keys, side="right")
        return [
            tuple(sorted(found.tolist(), key=lambda key: (-self.by_product[key], key)))
            for found in map(self.link_products.__getitem__, map(slice, starts, stops))
        ]


def _scored(
    searcher: Searcher,
    source: RowSource,
    query: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    worded: _Worded,
) -> tuple[Candidates, float]:
    """Images that have most of the words, and the largest share of those left out."""
    keys = np.flatnonzero(worded.by_image).astype(np.uint32)
    shares = worded.by_image[keys]
    left = 0.0
    if len(keys) > FEW_IMAGES:
        left = float(np.partition(shares, -FEW_IMAGES - 1)[-FEW_IMAGES - 1])
        keys = keys[shares > left]  # all of one share, or none
    rows = searcher.cache.rows(
        (source.version, "words", keys.tobytes()), lambda: (keys, source.codes_of(keys))
    )
    similarities = scoring.similarities(scoring.weights(query, scale), rows.codes)
    return Candidates(rows.image_keys, similarities, rows.codes), left


def _joined(near: Candidates, scored: Candidates) -> Candidates:
    """Each image once."""
    new = ~np.isin(near.image_keys, scored.image_keys)
    return Candidates(
        np.concatenate([near.image_keys[new], scored.image_keys]),
        np.concatenate([near.similarities[new], scored.similarities]),
        np.concatenate([near.codes[new], scored.codes]),
    )


def _grouped(
    candidates: Candidates,
    worded: _Worded,
    k: int,
    scale: npt.NDArray[np.float32],
    duplicate_cosine: float,
) -> tuple[Group, ...]:
    """Matches, by similarity and lift, from ever more of the candidates until complete."""
    lifted = candidates.similarities + worded.lift(candidates.image_keys)
    order = np.lexsort((candidates.image_keys, -lifted))
    count = 2 * k
    while True:
        some = order[:count]
        image_keys = candidates.image_keys[some]
        best = Candidates(image_keys, candidates.similarities[some], candidates.codes[some])
        groups, is_complete = group_products(
            best, worded.products_of(image_keys), k, scale=scale, duplicate_cosine=duplicate_cosine
        )
        if is_complete or count >= len(order):
            return groups
        count *= _MORE
