"""Class first against plain search: recall, what was searched, and whether probabilities hold.

Photos of photo_val are searched with `category="auto"` and without:

- alone: in grocery's catalogue, 81 products in 42 categories, one picture each.
- among_homeshop: the same, with 1,250 other products in 13 categories.
- photos_30, photos_200: among the photos of photo_train, at most 30 and 200 a category.

Differences come with the interval that a paired bootstrap over the photos gives.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from shop_grocery import Grocery, Pictures

from pocketlens import Lens, SearchResult
from pocketlens_converter.bootstrap import interval

Figures = dict[str, Any]

RECALLS = (1, 3, 10)
LOST = 0.02  # of recall@10 at most, where one category is shown and not all
NO_RANK = 1 << 30


def measured(model: Path, *, quick: bool = False) -> Figures:
    """Figures of a bundle."""
    names = ("catalog", "homeshop", "photo_train", "photo_val")
    grocery = Grocery.by(model, names, quick=quick)
    pictures = grocery.pictures
    galleries = {
        "alone": [pictures["catalog"]],
        "among_homeshop": [pictures["catalog"], pictures["homeshop"]],
        "photos_30": [pictures["photo_train"].at_most(30)],
        "photos_200": [pictures["photo_train"].at_most(200)],
    }
    figures: Figures = {"photos": len(pictures["photo_val"].rows)}
    for name, shown in galleries.items():
        with tempfile.TemporaryDirectory() as folder:
            store = grocery.store(Path(folder) / name, *shown)
            found = _of_store(store, pictures["photo_val"])
        figures |= {f"{name}_{key}": value for key, value in found.items()}
    return {f"classes_{key}": value for key, value in figures.items()}


def goals_of(figures: Figures) -> list[dict[str, object]]:
    """That a category that is searched alone loses next to nothing."""
    goals: list[dict[str, object]] = []
    for name in ("alone", "among_homeshop", "photos_30", "photos_200"):
        for at, lost in ((1, 0.0), (10, LOST)):
            difference = figures[f"classes_{name}_recall_at_{at}_beside_plain"]
            goals.append(
                {
                    "name": f"classes, {name}: recall@{at} beside plain search",
                    "value": round(difference, 4),
                    "goal": f">= {-lost:g}",
                    "met": difference >= -lost,
                }
            )
    return goals


def _of_store(store: Path, photos: Pictures) -> Figures:
    with Lens.open(store) as lens:
        began = perf_counter()
        lens.search_vector(photos.vectors[0], category="auto")
        first_ms = (perf_counter() - began) * 1e3
        plain = [lens.search_vector(each, 10) for each in photos.vectors]
        auto = [lens.search_vector(each, 10, category="auto") for each in photos.vectors]
    figures: Figures = {"first_search_ms": first_ms}
    for name, found in (("plain", plain), ("auto", auto)):
        times = [each.timings.search_ms for each in found]
        figures[f"{name}_search_p50_ms"] = float(np.median(times))
    ranks = {name: _ranks(found, photos) for name, found in (("plain", plain), ("auto", auto))}
    for at in RECALLS:
        hits = {name: each <= at for name, each in ranks.items()}
        for name, each in hits.items():
            figures[f"{name}_recall_at_{at}"] = float(each.mean())
        found = interval(hits["plain"], hits["auto"], np.random.default_rng(0))
        beside = f"recall_at_{at}_beside_plain"
        figures[beside], figures[f"{beside}_low"] = found.difference, found.low
        figures[f"{beside}_high"] = found.high
    searched = np.array([len(each.searched) for each in auto])
    for count, name in ((1, "one"), (2, "two"), (0, "all")):
        figures[f"searched_{name}_share"] = float(np.mean(searched == count))
    is_within = np.array(
        [category in each.searched for category, each in zip(photos.categories, auto, strict=True)]
    )
    for count, name in ((1, "one"), (2, "two")):
        if (searched == count).any():
            figures[f"searched_{name}_is_right_share"] = float(is_within[searched == count].mean())
    return figures | _probabilities(auto, photos)


def _ranks(found: list[SearchResult], photos: Pictures) -> npt.NDArray[np.int64]:
    """Of the right product among the matches; very far where it is not among them."""
    ranks = []
    for each, product in zip(found, photos.products, strict=True):
        shown = [{one.id for one in (match.product, *match.alternatives)} for match in each.matches]
        ranks.append(next((n for n, ids in enumerate(shown, 1) if product in ids), NO_RANK))
    return np.array(ranks)


def _probabilities(auto: list[SearchResult], photos: Pictures) -> Figures:
    """Of the likeliest category: how often it is right, and how far that is from what is told."""
    told = np.array([each.categories[0].probability for each in auto])
    right = np.array(
        [
            each.categories[0].category == category
            for each, category in zip(auto, photos.categories, strict=True)
        ]
    )
    bins = np.minimum((told * 10).astype(int), 9)
    error = sum(
        abs(told[bins == n].mean() - right[bins == n].mean()) * np.mean(bins == n)
        for n in np.unique(bins)
    )
    return {
        "likeliest_is_right_share": float(right.mean()),
        "likeliest_probability_mean": float(told.mean()),
        "calibration_error": float(error),
    }
