"""Searches with known answers, for calibration: products left out, galleries made smaller.

Every photo is searched twice in galleries of several sizes: once with its product among random
others (present) and once with none of its products (absent). A model that learned a product knows
how to tell it from the others, so real absent things are taken for matches more often than these:
where photos of such things are at hand, they alone are the absent ones. Matches are made by the
same rules as on the device: int8 codes, near-duplicates within one match.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pocketlens.errors import TrainingError
from pocketlens.query.search import Candidates, group_products
from pocketlens_converter.galleries import Gallery

SIZES = 4  # galleries: all products, then each a half of the one before
LEAST_PRODUCTS = 4
FIRST_CANDIDATES = 32


@dataclass(frozen=True, slots=True)
class Searches:
    """What was found by n searches.

    Attributes:
        similarity, margin: float64 (n,), as a verdict takes them.
        products: int64 (n,), size of the gallery.
        is_right: bool (n,), whether the first match is what the photo shows.
        is_present: bool (n,), whether the gallery had it.
        is_whole: bool (n,), whether the gallery was all there is.
        photo: int64 (n,), number of the photo.
    """

    similarity: npt.NDArray[np.float64]
    margin: npt.NDArray[np.float64]
    products: npt.NDArray[np.int64]
    is_right: npt.NDArray[np.bool_]
    is_present: npt.NDArray[np.bool_]
    is_whole: npt.NDArray[np.bool_]
    photo: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.photo)

    @property
    def features(self) -> npt.NDArray[np.float64]:
        """Similarity, margin and ln(products): float64 (n, 3)."""
        return np.column_stack([self.similarity, self.margin, np.log(self.products)])

    def chosen(self, where: npt.NDArray[np.bool_]) -> Searches:
        """Those searches for which `where`, bool (n,), holds."""
        return Searches(*(getattr(self, name)[where] for name in self.__slots__))


def simulate(
    queries: npt.NDArray[np.float32],
    shown: npt.NDArray[np.bool_],
    gallery: Gallery,
    duplicate_cosine: float,
    rng: np.random.Generator,
    *,
    leaves_out: bool = True,
    whole_only: bool = False,
) -> Searches:
    """Searches every photo in whole and smaller galleries, with and without its product.

    Args:
        queries: float32 (q, dim), unit rows.
        shown: bool (q, p): the products of each photo; none for a photo of something else,
            which is only searched as absent.
        gallery: In codes.
        duplicate_cosine: As the bundle says.
        rng: Draws the smaller galleries.
        leaves_out: Whether photos of the gallery's products are searched without them, too.
        whole_only: Whether the smaller galleries are left out.
    """
    found: list[tuple[float, float, int, bool, bool, bool, int]] = []
    similarities = queries @ gallery.embeddings.T
    finder = _Finder(gallery, duplicate_cosine)
    for photo, right in enumerate(shown):
        others = np.flatnonzero(~right)
        for step in range(1 if whole_only else SIZES):
            is_whole = step == 0
            size = max(LEAST_PRODUCTS, len(right) >> step)
            drawn = others if is_whole else rng.permutation(others)[:size]
            if not is_whole and len(drawn) < size:
                continue  # the gallery is too small to be made smaller
            kept = np.zeros(len(right), np.bool_)
            kept[drawn] = True
            if len(drawn) and (leaves_out or not right.any()):
                first = finder.first_match(similarities[photo], kept)
                found.append((*first[:2], len(drawn), False, False, is_whole, photo))
            if not right.any():
                continue
            if is_whole:
                kept |= right
            else:  # its product takes the place of another
                kept[drawn[0]] = False
                kept[rng.choice(np.flatnonzero(right))] = True
            similarity, margin, matched = finder.first_match(similarities[photo], kept)
            is_right = bool(right[list(matched)].any())
            size = int(np.count_nonzero(kept))
            found.append((similarity, margin, size, is_right, True, is_whole, photo))
    columns = list(zip(*found, strict=True))
    kinds = (np.float64, np.float64, np.int64, np.bool_, np.bool_, np.bool_, np.int64)
    return Searches(*(np.array(c, kind) for c, kind in zip(columns, kinds, strict=True)))


class _Finder:
    """First matches within some of a gallery's products."""

    def __init__(self, gallery: Gallery, duplicate_cosine: float) -> None:
        if gallery.codes is None or gallery.scale is None:
            raise TrainingError("Expected a gallery of a bundle, in codes. Received a float one.")
        self._codes, self._scale = gallery.codes, gallery.scale
        self._duplicate_cosine = duplicate_cosine
        shown: list[list[int]] = [[] for _ in range(len(gallery.embeddings))]
        for image, product in zip(gallery.images, gallery.product_numbers, strict=True):
            shown[image].append(int(product))
        self._shown = [tuple(sorted(each)) for each in shown]

    def first_match(
        self, similarities: npt.NDArray[np.float32], kept: npt.NDArray[np.bool_]
    ) -> tuple[float, float, tuple[int, ...]]:
        """Similarity, margin and products of the first match among the `kept` products.

        Without a second match the margin is the similarity, at least 0: see
        `pocketlens.query.verdict.judge`.
        """
        order = np.argsort(-similarities, kind="stable")
        order = order[[bool(kept[list(self._shown[image])].any()) for image in order]]
        count = FIRST_CANDIDATES
        while True:
            taken = order[:count]
            candidates = Candidates(
                taken.astype(np.uint32), similarities[taken], self._codes[taken]
            )
            groups, is_complete = group_products(
                candidates,
                [tuple(p for p in self._shown[image] if kept[p]) for image in taken],
                2,
                scale=self._scale,
                duplicate_cosine=self._duplicate_cosine,
            )
            if is_complete or len(groups) == 2 or count >= len(order):
                break
            count *= 4
        first = groups[0]
        margin = first.similarity - groups[1].similarity if len(groups) > 1 else None
        if margin is None:
            margin = max(first.similarity, 0.0)
        return first.similarity, margin, first.product_keys
