"""Searches with known answers -> what a similarity is worth: a calibration for the verdict.

    P(match) = 1 / (1 + exp(-(b + w1 similarity + w2 margin + w3 ln(products))))

is fitted by logistic regression to searches whose answers are known (`simulation`), those with
the product in the gallery and those without weighing the same in all. Rates are measured on
products that neither weights nor thresholds have seen: five folds, split by product.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from pocketlens.errors import TrainingError
from pocketlens.formats.bundle import Calibration
from pocketlens_converter import logistic, metrics
from pocketlens_converter.simulation import Searches

FOLDS = 5
MIN_PHOTOS = 20  # a rate of 2 % cannot be seen on fewer, and hardly on these
Pipeline = Literal["device", "embedding", "photo"]
LEAST_IN_CATEGORY = 20  # photos, for figures of its own


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """Error rates to keep to, as shares.

    Attributes:
        false_accept_rate: Of photos whose product is absent: judged MATCH, at most.
        false_reject_rate: Of photos whose product is present: judged NO_MATCH, at most.
        seed: Of folds and smaller galleries.
    """

    false_accept_rate: float = 0.02
    false_reject_rate: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("false_accept_rate", "false_reject_rate"):
            rate = getattr(self, name)
            if not 0 <= rate < 1:
                raise TrainingError(
                    f"Expected a {name} of 0 up to 1, such as 0.02. Received {rate}."
                )


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration and how it does, on the whole gallery, by cross-validation.

    Attributes:
        calibration: For the bundle.
        recall_at_1: Share of present photos whose first match is right.
        match_share: Share of present photos that are judged MATCH and are right.
        wrong_match_share: Share of present photos that are judged MATCH and are wrong.
        absent_refused_share: Share of absent photos that are judged NO_MATCH.
        by_category: The same of the photos of one category, where there are some: recall_at_1,
            match_share, false_reject_rate, false_accept_rate and expected_calibration_error; and,
            where photos of the category were searched without their products, the last of a
            calibration whose intercept is fitted to that category,
            own_expected_calibration_error.
    """

    calibration: Calibration
    recall_at_1: float
    match_share: float
    wrong_match_share: float
    absent_refused_share: float
    by_category: dict[str, dict[str, float]] = field(default_factory=dict)


def calibrate(
    searches: Searches,
    groups: npt.NDArray[np.int64],
    options: CalibrationOptions,
    *,
    name: Pipeline = "device",
    categories: Sequence[str] = (),
) -> Calibrated:
    """Fits a calibration to searches with known answers.

    Args:
        searches: As `simulation.simulate` makes them.
        groups: int64 (photos,), number of each photo's product: folds never share one.
        options: Error rates to keep to.
        name: Of the pipeline that searched.
        categories: Of each photo's product, "" where unknown; left out for none.

    Raises:
        TrainingError: There are too few photos or products to measure a rate on.
    """
    folds = _folds(searches, groups, np.random.default_rng(options.seed))
    of_photo = np.array(categories if categories else [""] * len(groups))
    confidences, own = np.zeros(len(searches)), np.zeros(len(searches))
    verdicts = np.zeros(len(searches), np.int8)  # 1 MATCH, 0 UNSURE, -1 NO_MATCH
    for fold in range(FOLDS):
        held = folds[searches.photo] == fold
        seen = searches.chosen(~held)
        model = _fit(seen)
        match, no_match = _thresholds(logistic.probabilities(model, seen.features), seen, options)
        confidences[held] = logistic.probabilities(model, searches.features[held])
        own[held] = _in_categories(model, seen, searches.chosen(held), of_photo)
        verdicts[held] = (confidences[held] >= match).astype(np.int8)
        verdicts[held & (confidences < no_match)] = -1
    model = _fit(searches)
    match, no_match = _thresholds(confidences, searches, options)
    present = searches.is_present & searches.is_whole
    absent = ~searches.is_present & searches.is_whole
    right = searches.is_right
    calibration = Calibration(
        name=name,
        intercept=float(model[0]),
        similarity_weight=float(model[1]),
        margin_weight=float(model[2]),
        log_products_weight=float(model[3]),
        match_threshold=match,
        no_match_threshold=no_match,
        false_accept_rate=float(np.mean(verdicts[absent] == 1)),
        false_reject_rate=float(np.mean(verdicts[present] == -1)),
        expected_calibration_error=_calibration_error(confidences, searches),
        present_photos=int(np.count_nonzero(present)),
        absent_photos=int(np.count_nonzero(absent)),
        products=int(searches.products.max()),
    )
    return Calibrated(
        calibration=calibration,
        recall_at_1=float(np.mean(right[present])),
        match_share=float(np.mean(((verdicts == 1) & right)[present])),
        wrong_match_share=float(np.mean(((verdicts == 1) & ~right)[present])),
        absent_refused_share=float(np.mean(verdicts[absent] == -1)),
        by_category=_by_category(searches, confidences, own, verdicts, of_photo),
    )


def _in_categories(
    model: npt.NDArray[np.float64],
    seen: Searches,
    asked: Searches,
    of_photo: npt.NDArray[np.str_],
) -> npt.NDArray[np.float64]:
    """P of searches by `model`, its intercept fitted to the category of each photo."""
    scores, known = (model[0] + each.features @ model[1:] for each in (asked, seen))
    weights = _weights(seen)
    for category in np.unique(of_photo[asked.photo]):
        inside = of_photo[seen.photo] == category
        scores[of_photo[asked.photo] == category] += logistic.shift(
            known[inside], seen.is_right[inside], weights[inside]
        )
    return logistic.sigmoid(scores)


def _by_category(
    searches: Searches,
    confidences: npt.NDArray[np.float64],
    own: npt.NDArray[np.float64],
    verdicts: npt.NDArray[np.int8],
    of_photo: npt.NDArray[np.str_],
) -> dict[str, dict[str, float]]:
    """Figures of the categories with enough photos of products in the gallery."""
    found: dict[str, dict[str, float]] = {}
    for category in sorted(set(of_photo.tolist()) - {""}):
        inside = searches.is_whole & (of_photo[searches.photo] == category)
        present, absent = inside & searches.is_present, inside & ~searches.is_present
        if np.count_nonzero(present) < LEAST_IN_CATEGORY:
            continue
        figures = {
            "photos": float(np.count_nonzero(present)),
            "recall_at_1": float(np.mean(searches.is_right[present])),
            "match_share": float(np.mean(((verdicts == 1) & searches.is_right)[present])),
            "false_reject_rate": float(np.mean(verdicts[present] == -1)),
            "expected_calibration_error": metrics.expected_calibration_error(
                confidences[inside], searches.is_right[inside]
            ),
        }
        if absent.any():
            figures["false_accept_rate"] = float(np.mean(verdicts[absent] == 1))
            figures["own_expected_calibration_error"] = metrics.expected_calibration_error(
                own[inside], searches.is_right[inside]
            )
        found[category] = figures
    return found


def _folds(
    searches: Searches, groups: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The fold of each photo; photos of one product are in one fold."""
    present = np.unique(searches.photo[searches.is_present])
    if len(present) < MIN_PHOTOS or len(np.unique(groups[present])) < FOLDS:
        raise TrainingError(
            f"Expected {MIN_PHOTOS} photos or more, of {FOLDS} products or more of the gallery. "
            f"Received {len(present)} photos of {len(np.unique(groups[present]))} products. Give "
            "more photos, 200 or better."
        )
    is_stranger = ~np.isin(np.arange(len(groups)), present)
    if len(np.unique(groups[is_stranger])) < FOLDS:  # every fold's rest needs some to be fitted on
        apart = groups.max() + 1 + np.arange(len(groups))
        groups = np.where(is_stranger, apart, groups)
    numbers, places = np.unique(groups, return_inverse=True)
    # The present ones are dealt out first, so that every fold has some.
    shuffled = rng.permutation(len(numbers))
    is_absent = ~np.isin(numbers, groups[present])
    order = shuffled[np.argsort(is_absent[shuffled], kind="stable")]
    dealt = np.empty(len(numbers), np.int64)
    dealt[order] = np.arange(len(numbers)) % FOLDS
    return np.asarray(dealt[places], np.int64)


def _fit(searches: Searches) -> npt.NDArray[np.float64]:
    return logistic.fit(searches.features, searches.is_right, _weights(searches))


def _weights(searches: Searches) -> npt.NDArray[np.float64]:
    """Present and absent searches weigh the same in all; the mean weight is 1."""
    present = searches.is_present
    shares = np.where(present, np.mean(present), np.mean(~present))
    return np.asarray(0.5 / shares, np.float64)


def _thresholds(
    confidences: npt.NDArray[np.float64], searches: Searches, options: CalibrationOptions
) -> tuple[float, float]:
    """Thresholds of MATCH and NO_MATCH at the error rates, on whole galleries."""
    absent = np.sort(confidences[~searches.is_present & searches.is_whole])[::-1]
    present = np.sort(confidences[searches.is_present & searches.is_whole])
    accepted = int(options.false_accept_rate * len(absent))  # this many may be judged MATCH
    rejected = int(options.false_reject_rate * len(present))
    # The file keeps float32: the next one up still refuses the first that must be refused.
    match = float(np.nextafter(np.float32(absent[accepted]), np.float32(2)))
    no_match = float(np.nextafter(np.float32(present[rejected]), np.float32(-1)))
    match = min(match, 1.0)
    return match, max(0.0, min(no_match, match))


def _calibration_error(confidences: npt.NDArray[np.float64], searches: Searches) -> float:
    whole = searches.is_whole
    return metrics.expected_calibration_error(confidences[whole], searches.is_right[whole])
