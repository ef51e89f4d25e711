"""Two and three photos of a product searched together, against one.

Every pair and every three of a product's photos in photo_val are searched in grocery's catalogue,
alone and among homeshop's pictures, as a device does: codes, one picture a product. Pooled are
their similarities (mean, maximum, and weighted, the mean that `Lens.search_together` ranks by, in
which photos near some image count more) or their ranks (reciprocal rank fusion: Cormack, Clarke
and Buettcher 2009, with 60). Figures are means over products, and intervals are drawn over
products: the pairs of one product are no independent questions.

Whether a verdict may be believed is asked of the same searches, and of those in which the product
is not in the catalogue, and of pairs of different products: judged by the plain mean, as
`Lens.search_together` does it, by the weighted one, and by the mean at unit length.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from shop_grocery import Grocery, Pictures

from pocketlens.formats.bundle import Calibration
from pocketlens.open_install import OpenInstall, Settings
from pocketlens.options import PictureLimits, SearchOptions
from pocketlens.query import codes, query_vectors
from pocketlens.query.verdict import judge
from pocketlens.results import AGREES
from pocketlens_converter.bootstrap import interval

Figures = dict[str, Any]
Floats = npt.NDArray[np.floating]

RECALLS = (1, 3)
_RANKS_FROM = 60
_DIFFERENT = 2000  # pairs, and threes with one odd, of photos of different products
POOLS: dict[str, Callable[[Floats], Floats]] = {
    "weighted": lambda similarities: _weighted(similarities),
    "mean": lambda similarities: similarities.mean(axis=0),
    "maximum": lambda similarities: similarities.max(axis=0),
    "ranks": lambda similarities: (
        1 / (_RANKS_FROM + (-similarities).argsort(axis=1).argsort(axis=1))
    ).sum(axis=0),
}


def measured(model: Path, *, quick: bool = False) -> Figures:
    """Figures of a bundle; verdicts only where it has a calibration of the device."""
    grocery = Grocery.by(model, ("catalog", "homeshop", "photo_val"), quick=quick)
    photos = grocery.pictures["photo_val"]
    figures: Figures = {"photos": len(photos.rows)}
    for name, lists in (("alone", ("catalog",)), ("among_homeshop", ("catalog", "homeshop"))):
        shown = [grocery.pictures[each] for each in lists]
        with tempfile.TemporaryDirectory() as folder:
            store = grocery.store(Path(folder) / name, *shown)
            with closing(OpenInstall.opened(store, _SETTINGS)) as install:
                vectors = _decoded(install)
                calibration = install.bundle().calibration("device")
                background = query_vectors.background_of(install.bundle().representative)
        products = np.concatenate([each.products for each in shown])
        found = _of_gallery(photos, vectors, products, calibration)
        figures |= {f"{name}_{key}": value for key, value in found.items()}
    figures |= _agreement(photos, background)
    return {f"together_{key}": value for key, value in figures.items()}


def goals_of(figures: Figures) -> list[dict[str, object]]:
    """What several photos are to gain, and verdicts not to lose."""
    goals: list[dict[str, object]] = []
    for name in ("alone", "among_homeshop"):
        low = figures[f"together_{name}_3_weighted_recall_at_1_beside_one_low"]
        goals.append(
            {
                "name": f"together, {name}: three photos beside one, recall@1, 95 % interval",
                "value": round(low, 4),
                "goal": "> 0 at its low end",
                "met": low > 0,
            }
        )
        one, pooled = (
            figures.get(f"together_{name}_{key}_absent_match_share")
            for key in ("1_by_mean", "3_by_mean")
        )
        if one is not None and pooled is not None:
            goals.append(
                {
                    "name": f"together, {name}: MATCH on three photos of an absent product",
                    "value": round(pooled, 4),
                    "goal": f"<= {one:.4f}, that of one photo",
                    "met": pooled <= one,
                }
            )
    return goals


_SETTINGS = Settings(SearchOptions(), "auto", PictureLimits())


def _decoded(install: OpenInstall) -> Floats:
    """What the codes of images stand for, by key: those of the list in its order."""
    reader = install.reader
    keys = np.arange(1, reader.facts.images + 1, dtype=np.uint32)
    return codes.decode(reader.codes_of(keys), reader.facts.scale)


def _of_gallery(
    photos: Pictures,
    vectors: Floats,
    products: npt.NDArray[np.str_],
    calibration: Calibration | None,
) -> Figures:
    similarities = photos.vectors @ vectors.T
    figures: Figures = {}
    alone: dict[str, Floats] = {}
    for count in (1, 2, 3):
        groups = _groups(photos, count)
        pools = POOLS if count > 1 else {"": POOLS["mean"]}
        for pool, pooled in pools.items():
            key = f"{count}_{pool}".rstrip("_")
            ranks = {
                product: np.array(
                    [_rank(pooled(similarities[group]), products == product) for group in some]
                )
                for product, some in groups.items()
            }
            for at in RECALLS:
                hits = np.array([(each <= at).mean() for each in ranks.values()])
                figures[f"{key}_recall_at_{at}"] = float(hits.mean())
                if count == 1:
                    alone[f"{at}"] = hits
                else:
                    found = interval(alone[f"{at}"], hits, np.random.default_rng(0))
                    beside = f"{key}_recall_at_{at}_beside_one"
                    figures[beside] = found.difference
                    figures[f"{beside}_low"], figures[f"{beside}_high"] = found.low, found.high
        if calibration is not None:
            figures |= _verdicts(photos, similarities, products, groups, count, calibration)
    return figures


def _groups(photos: Pictures, count: int) -> dict[str, list[list[int]]]:
    """Every `count` photos of each product that has three or more: the same products for each."""
    names = photos.products
    return {
        product: [list(each) for each in combinations(np.flatnonzero(names == product), count)]
        for product in dict.fromkeys(names.tolist())
        if np.count_nonzero(names == product) >= 3
    }


def _rank(scores: Floats, is_right: npt.NDArray[np.bool_]) -> int:
    return 1 + int(np.count_nonzero(scores > scores[is_right].max()))


def _verdicts(
    photos: Pictures,
    similarities: Floats,
    products: npt.NDArray[np.str_],
    groups: dict[str, list[list[int]]],
    count: int,
    calibration: Calibration,
) -> Figures:
    """Confidence against what is so, where the product is there and where it is not."""
    figures: Figures = {}
    ways = ("by_mean", "by_weighted", "at_unit_length") if count > 1 else ("by_mean",)
    for way in ways:
        confidences, rights, absent = [], [], []
        for product, some in groups.items():
            is_right = products == product
            for group in some:
                vectors, shown = photos.vectors[group], similarities[group]
                confidence, first = _judged(shown, vectors, way, calibration)
                confidences.append(confidence)
                rights.append(bool(is_right[first]))
                absent.append(_judged(shown[:, ~is_right], vectors, way, calibration)[0])
        told, right = np.array(confidences), np.array(rights)
        is_match = told >= calibration.match_threshold
        key = f"{count}_{way}"
        figures[f"{key}_confidence_mean"] = float(told.mean())
        figures[f"{key}_right_share"] = float(right.mean())
        figures[f"{key}_calibration_error"] = _calibration_error(told, right)
        figures[f"{key}_match_share"] = float(is_match.mean())
        if is_match.any():
            figures[f"{key}_match_is_right_share"] = float(right[is_match].mean())
        figures[f"{key}_absent_match_share"] = float(
            np.mean(np.array(absent) >= calibration.match_threshold)
        )
        if count == 2:
            different = [
                _judged(similarities[pair], photos.vectors[pair], way, calibration)[0]
                for pair in _different_pairs(photos)
            ]
            figures[f"{key}_of_different_things_match_share"] = float(
                np.mean(np.array(different) >= calibration.match_threshold)
            )
    return figures


def _weighted(similarities: Floats) -> Floats:
    """As `Answering.answer_together` ranks."""
    weights = query_vectors.weights_of(similarities.max(axis=1))
    pooled: Floats = weights @ similarities
    return pooled


def _judged(
    similarities: Floats, vectors: Floats, way: str, calibration: Calibration
) -> tuple[float, int]:
    """Confidence in the first of the ranking, and its place."""
    ranked = similarities.mean(axis=0) if way == "at_unit_length" else _weighted(similarities)
    second, first = np.argsort(ranked)[-2:].tolist()
    scores = ranked if way == "by_weighted" else similarities.mean(axis=0)
    if way == "at_unit_length":
        scores = scores / np.linalg.norm(query_vectors.pooled(vectors))
    best, next_best = float(scores[first]), float(scores[second])
    found = judge(best, best - next_best, len(scores), calibration)
    assert found.confidence is not None
    return found.confidence, first


def _calibration_error(told: Floats, right: npt.NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error in bins of equal width."""
    numbers = np.minimum((told * bins).astype(int), bins - 1)
    gaps = [
        abs(float(told[numbers == n].mean() - right[numbers == n].mean())) * np.mean(numbers == n)
        for n in np.unique(numbers)
    ]
    return float(np.sum(gaps))


def _agreement(photos: Pictures, background: float) -> Figures:
    """How often photos of one thing, and of different things, are told as such."""
    rng = np.random.default_rng(1)
    names = photos.products

    def told(groups: list[list[int]]) -> list[list[int]]:
        """Places of the disagreeing photos of each group."""
        each = (query_vectors.agreement(photos.vectors[group], background) for group in groups)
        return [[n for n, cosine in enumerate(one) if cosine < AGREES] for one in each]

    same = {
        count: [group for some in _groups(photos, count).values() for group in some]
        for count in (2, 3)
    }
    places = rng.integers(0, len(same[2]), _DIFFERENT)
    odd = rng.integers(0, len(names), _DIFFERENT)
    threes = [
        [*same[2][place], other]
        for place, other in zip(places.tolist(), odd.tolist(), strict=True)
        if names[other] != names[same[2][place][0]]
    ]
    odd_told = told(threes)
    return {
        "background_cosine": background,
        "2_of_one_thing_told_as_different_share": _share(told(same[2])),
        "3_of_one_thing_told_as_different_share": _share(told(same[3])),
        "2_of_different_things_told_share": _share(told(_different_pairs(photos))),
        "3_with_an_odd_one_told_share": float(np.mean([2 in each for each in odd_told])),
        "3_with_an_odd_one_alone_named_share": float(np.mean([each == [2] for each in odd_told])),
    }


def _different_pairs(photos: Pictures) -> list[list[int]]:
    pairs = np.random.default_rng(2).integers(0, len(photos.rows), (_DIFFERENT, 2))
    names = photos.products
    kept: list[list[int]] = pairs[names[pairs[:, 0]] != names[pairs[:, 1]]].tolist()
    return kept


def _share(told: list[list[int]]) -> float:
    return float(np.mean([bool(each) for each in told]))
