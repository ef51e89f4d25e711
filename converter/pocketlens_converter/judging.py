"""What a bundle's calibration says of known searches: confidences, and whether they were earned."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pocketlens.formats.bundle import Calibration
from pocketlens.query.verdict import judge
from pocketlens_converter import metrics
from pocketlens_converter.evaluation import EmbeddedLists, Evaluation
from pocketlens_converter.simulation import Searches, simulate


@dataclass(frozen=True, slots=True)
class Judged:
    """Every photo searched with its product in the gallery, and without.

    Attributes:
        confidences: float64 (n,), of the first matches.
        is_right: bool (n,), whether the photo shows the first match.
        is_present: bool (n,), whether the gallery had the product.
        present_confidences: float64 (q,), of the photos in order, the product being there.
        thresholds: Of NO_MATCH and of MATCH.
        similarity_thresholds: The similarities that have these confidences at the middle margin
            in this gallery; None where similarity tells nothing.
    """

    confidences: npt.NDArray[np.float64]
    is_right: npt.NDArray[np.bool_]
    is_present: npt.NDArray[np.bool_]
    present_confidences: npt.NDArray[np.float64]
    thresholds: tuple[float, float]
    similarity_thresholds: tuple[float, float] | None

    def figures(self) -> dict[str, float]:
        """Rates at the thresholds, by the names of the design."""
        refused, matched = (
            self.confidences < self.thresholds[0],
            self.confidences >= self.thresholds[1],
        )
        present, absent = self.is_present, ~self.is_present
        return {
            "match_share": float(np.mean((matched & self.is_right)[present])),
            "false_accept_rate": float(np.mean(matched[absent])) if absent.any() else 0.0,
            "false_reject_rate": float(np.mean(refused[present])),
            "absent_refused_share": float(np.mean(refused[absent])) if absent.any() else 0.0,
            "expected_calibration_error": metrics.expected_calibration_error(
                self.confidences, self.is_right
            ),
        }


def judged(
    embedded: EmbeddedLists,
    evaluation: Evaluation,
    calibration: Calibration,
    duplicate_cosine: float,
) -> Judged:
    """Judges the photos of an evaluation on the whole gallery.

    Args:
        embedded: What was evaluated, its gallery in codes.
        evaluation: Of it.
        calibration: Of the pipeline.
        duplicate_cosine: As the bundle says.
    """
    outcomes = evaluation.outcomes
    searches = simulate(
        outcomes.embeddings,
        embedded.gallery.shows(outcomes.entries),
        embedded.gallery,
        duplicate_cosine,
        np.random.default_rng(0),
        whole_only=True,
    )
    confidences = confidences_of(searches, calibration)
    present = np.zeros(len(outcomes.ranks))
    present[searches.photo[searches.is_present]] = confidences[searches.is_present]
    return Judged(
        confidences=confidences,
        is_right=searches.is_right,
        is_present=searches.is_present,
        present_confidences=present,
        thresholds=(calibration.no_match_threshold, calibration.match_threshold),
        similarity_thresholds=similarities_at_thresholds(
            calibration,
            margin=float(np.median(searches.margin)),
            products=int(searches.products.max()),
        ),
    )


def confidences_of(searches: Searches, calibration: Calibration) -> npt.NDArray[np.float64]:
    """What a calibration says of each search's first match: float64 (n,), 0 to 1."""
    return np.array(
        [
            judge(similarity, margin, products, calibration).confidence
            for similarity, margin, products in zip(
                searches.similarity.tolist(),
                searches.margin.tolist(),
                searches.products.tolist(),
                strict=True,
            )
        ],
        np.float64,
    )


def similarities_at_thresholds(
    calibration: Calibration, *, margin: float, products: int
) -> tuple[float, float] | None:
    """Similarities from which a match is no NO_MATCH, and a MATCH, at a margin in a gallery.

    The formula of `pocketlens.query.verdict`, solved for similarity.
    """
    if calibration.similarity_weight <= 0:
        return None
    rest = calibration.intercept + calibration.margin_weight * margin
    rest += calibration.log_products_weight * math.log(max(products, 1))
    low, high = (
        (math.log(confidence / (1 - confidence)) - rest) / calibration.similarity_weight
        for confidence in (
            min(max(threshold, 1e-9), 1 - 1e-9)
            for threshold in (calibration.no_match_threshold, calibration.match_threshold)
        )
    )
    return low, high
