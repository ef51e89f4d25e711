"""Vectors to matches in one version of a gallery, as a device has them, but at full precision.

    answers = answered(gallery, [Asked(vector, 10, None)], terms)

An image's products, near-duplicates and the verdict follow the rules of the device's search
(`pocketlens.query.search`, docs/formats.md); what is nearest is found exactly.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pocketlens.errors import ServerUnavailable
from pocketlens.formats.bundle import Calibration
from pocketlens.query import search
from pocketlens.query.filters import Filter, Wanted, in_categories
from pocketlens.query.likely_categories import NEIGHBOURS, LikelyCategories, to_search
from pocketlens.query.variety import to_choose_from, varied
from pocketlens.query.verdict import NOT_JUDGED, judge
from pocketlens.results import CategoryShare, Match, Pipeline, SearchResult, Timings
from pocketlens_server.query.fitted_categories import neighbours
from pocketlens_server.query.galleries import Gallery
from pocketlens_server.query.shown import Rows
from pocketlens_server.query.vector_store import Nearest, View

_IMAGES = 2  # asked for, for each match wanted, at first
_MORE = 4  # times as many where they were not enough


@dataclass(frozen=True, slots=True)
class Asked:
    """One question.

    Attributes:
        vector: float32 (dim,), of unit length, or shorter where several were pooled.
        k: Matches wanted.
        wanted: Only such products; None for all. Without a category where some are searched.
        without: Keys of images that are no answer; with any, there is no verdict.
        variety: Of matches, 0 to 1; see `pocketlens.query.variety`.
        likely: Tells likely categories; None where nobody wants to know.
        is_narrowed: Whether these are searched, as a device does for category "auto".
        among: Categories that are; () for all.
    """

    vector: npt.NDArray[np.float32]
    k: int
    wanted: Filter | None = None
    without: frozenset[int] = frozenset()
    variety: float = 0.0
    likely: LikelyCategories | None = None
    is_narrowed: bool = False
    among: tuple[str, ...] = ()

    @property
    def condition(self) -> Wanted:
        """That a match must satisfy."""
        return in_categories(self.wanted or Filter(), self.among)

    @property
    def some(self) -> int:
        """Matches to find, which those that are wanted are chosen from."""
        return to_choose_from(self.k, self.variety)


@dataclass(frozen=True, slots=True)
class Terms:
    """What answers of a gallery have in common.

    Attributes:
        generation: Hex id.
        pipeline: Whose thresholds hold.
        calibration: Of it; None where the bundle has none.
        duplicate_cosine: From which two images are one picture.
    """

    generation: str
    pipeline: Pipeline
    calibration: Calibration | None
    duplicate_cosine: float


@dataclass(frozen=True, slots=True)
class _Found:
    """Matches of one question, by keys: image, products, similarity."""

    best: Sequence[_Group]
    groups: Sequence[_Group]
    matching: int


_Group = tuple[int, tuple[int, ...], float]


def answered(gallery: Gallery, asked: Sequence[Asked], terms: Terms) -> list[SearchResult]:
    """Answers some questions from one and the same version.

    Args:
        gallery: That is searched.
        asked: Questions; those without a filter are searched together.
        terms: Of the answers.

    Raises:
        ServerError: The tables cannot be read.
        ServerUnavailable: They have forgotten the version already.
    """
    with gallery.store.view() as view:
        shares = _shares(view, asked)
        found, searched = _class_first(view, asked, shares, terms)
        groups = [group for each in found for group in (*each.best, *each.groups)]
        try:
            rows = gallery.shown.of(
                gallery.folder,
                view.version,
                images={image for image, _, _ in groups},
                products={key for _, products, _ in groups for key in products},
            )
        except KeyError as exc:
            raise ServerUnavailable("The catalogue has moved on. Try again.") from exc
        return [
            replace(
                _result(rows, view, each, question, terms), categories=_named(likely), searched=of
            )
            for each, question, likely, of in zip(found, asked, shares, searched, strict=True)
        ]


def _shares(view: View, asked: Sequence[Asked]) -> list[tuple[CategoryShare, ...]]:
    """Likely categories of each question that is to be told them."""
    shares: list[tuple[CategoryShare, ...]] = [()] * len(asked)
    voted = [(place, each.likely) for place, each in enumerate(asked) if each.likely is not None]
    if voted:
        queries = np.stack([asked[place].vector for place, _ in voted])
        found = neighbours(view, queries, NEIGHBOURS)
        for (place, likely), nearest in zip(voted, found, strict=True):
            shares[place] = likely.of(nearest)
    return shares


def _class_first(
    view: View, asked: Sequence[Asked], shares: Sequence[Sequence[CategoryShare]], terms: Terms
) -> tuple[list[_Found], list[tuple[str, ...]]]:
    """What each finds, and the categories that it was searched in; () for all."""
    narrowed = [
        replace(each, among=to_search(likely)) if each.is_narrowed else each
        for each, likely in zip(asked, shares, strict=True)
    ]
    found, searched = _found(view, narrowed, terms), [each.among for each in narrowed]
    missed = [place for place, among in enumerate(searched) if among and not found[place].groups]
    for place, each in zip(missed, _found(view, [asked[p] for p in missed], terms), strict=True):
        found[place], searched[place] = each, ()  # nothing there satisfies the filter
    return found, searched


def _named(shares: Sequence[CategoryShare]) -> tuple[CategoryShare, ...]:
    return tuple(each for each in shares if each.category)


def _found(view: View, asked: Sequence[Asked], terms: Terms) -> list[_Found]:
    plain = [replace(each, k=max(each.k, 2)) for each in asked]
    found = [
        _Found(groups[:2], _chosen(view, groups, each), view.products)
        for groups, each in zip(_groups(view, plain, None, terms), asked, strict=True)
    ]
    filtered: dict[object, tuple[Wanted, list[int]]] = {}
    for place, condition in enumerate([each.condition for each in asked]):
        if not condition.is_empty:
            filtered.setdefault(condition.identity, (condition, []))[1].append(place)
    for wanted, places in filtered.values():
        satisfying = view.satisfying(wanted)
        narrowed = _groups(view, [asked[place] for place in places], wanted, terms, satisfying)
        for place, groups in zip(places, narrowed, strict=True):
            groups = _chosen(view, groups, asked[place])
            found[place] = _Found(found[place].best, groups, len(satisfying))
    return found


def _chosen(view: View, groups: list[_Group], asked: Asked) -> list[_Group]:
    """The matches wanted, of those that were found."""
    if not asked.variety:
        return groups[: asked.k]
    similarities = np.array([similarity for _, _, similarity in groups], np.float32)
    units = view.vectors([image for image, _, _ in groups])
    return [groups[place] for place in varied(similarities, units, asked.k, asked.variety)]


def _groups(
    view: View,
    asked: Sequence[Asked],
    wanted: Wanted | None,
    terms: Terms,
    allowed: npt.NDArray[np.uint32] | None = None,
) -> list[list[_Group]]:
    """Matches of questions with one filter, from ever more images until they are complete."""
    done: dict[int, list[_Group]] = {}
    count = _IMAGES * max((each.some for each in asked), default=1)
    while left := [place for place in range(len(asked)) if place not in done]:
        queries = np.stack([asked[place].vector for place in left])
        for place, nearest in zip(left, view.search(queries, count, wanted=wanted), strict=True):
            groups, is_complete = _grouped(view, nearest, asked[place], terms, allowed)
            if is_complete or len(nearest.keys) < count:
                done[place] = groups
        count *= _MORE
    return [done[place] for place in range(len(asked))]


def _grouped(
    view: View,
    nearest: Nearest,
    asked: Asked,
    terms: Terms,
    allowed: npt.NDArray[np.uint32] | None,
) -> tuple[list[_Group], bool]:
    keys = nearest.keys.tolist()
    shown = view.product_keys(keys)
    if asked.without:
        both = zip(keys, shown, strict=True)
        shown = [() if key in asked.without else products for key, products in both]
    if allowed is not None:  # which may be almost all of a catalogue
        may_be = _members(allowed, {key for products in shown for key in products})
        shown = [tuple(key for key in products if key in may_be) for products in shown]
    opened, is_complete = search.grouped(
        nearest.vectors, shown, asked.some, duplicate_cosine=terms.duplicate_cosine
    )
    similarities = nearest.similarities.tolist()
    return [(keys[place], products, similarities[place]) for place, products in opened], is_complete


def _members(ascending: npt.NDArray[np.uint32], keys: set[int]) -> set[int]:
    """Those of some keys that are among others."""
    wanted = np.fromiter(keys, np.uint32, len(keys))
    places = np.searchsorted(ascending, wanted)
    found = places < len(ascending)
    found[found] = ascending[places[found]] == wanted[found]
    return set(wanted[found].tolist())


def _result(rows: Rows, view: View, found: _Found, asked: Asked, terms: Terms) -> SearchResult:
    def match(group: _Group) -> Match:
        image, products, similarity = group
        first, *others = (rows.products[key] for key in products)
        return Match(first, rows.images[image], similarity, tuple(others))

    margin = found.best[0][2] - found.best[1][2] if len(found.best) > 1 else None
    judged = NOT_JUDGED
    if not asked.without:
        similarity = found.best[0][2] if found.best else None
        judged = judge(similarity, margin, view.products, terms.calibration)
    matches = tuple(map(match, found.groups))
    is_first = found.best[:1] == found.groups[:1]
    best = matches[:1] if is_first else tuple(map(match, found.best[:1]))
    return SearchResult(
        verdict=judged.verdict,
        confidence=judged.confidence,
        best=best[0] if best else None,
        matches=matches,
        threshold=judged.threshold,
        margin=margin,
        matches_in_filter=found.matching,
        gallery_size=view.products,
        generation=terms.generation,
        version=view.version,
        as_of=rows.as_of,
        timings=Timings(),
        answered_by=terms.pipeline,
    )
