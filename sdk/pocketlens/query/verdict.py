"""Whether the first match is the thing in the photo.

    P(match) = 1 / (1 + exp(-(intercept + similarity_weight * similarity
        + margin_weight * margin + log_products_weight * ln(products))))

Source: Calibration in pocketlens_protos/v1/bundle.proto. Values in, values out.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pocketlens.results import SearchResult, Verdict

if TYPE_CHECKING:
    from pocketlens.formats.bundle import Calibration


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a calibration says of one search.

    Attributes:
        verdict: UNSURE without a calibration; NO_MATCH where there is no candidate at all.
        confidence: P(the first match is right), 0 to 1; None without a calibration.
        threshold: Confidence from which the verdict is MATCH; None without a calibration.
    """

    verdict: Verdict
    confidence: float | None
    threshold: float | None


NOT_JUDGED = Judgement(Verdict.UNSURE, None, None)


def judge(
    similarity: float | None,
    margin: float | None,
    products: int,
    calibration: Calibration | None,
) -> Judgement:
    """Judges the first match of the unfiltered search.

    Args:
        similarity: Of the first match, -1 to 1; None when the store has no image.
        margin: Similarity of the first match less that of the second; None when there is no
            second, which counts as a lead over nothing similar at all: `similarity`, at least 0.
        products: Gallery size.
        calibration: Of this pipeline, from the bundle.

    Returns:
        The verdict, with the confidence and the threshold where there is a calibration.
    """
    if similarity is None:
        threshold = None if calibration is None else calibration.match_threshold
        return Judgement(Verdict.NO_MATCH, None if calibration is None else 0.0, threshold)
    if calibration is None:
        return NOT_JUDGED
    confidence = _probability(
        calibration, similarity, max(similarity, 0.0) if margin is None else margin, products
    )
    if confidence >= calibration.match_threshold:
        verdict = Verdict.MATCH
    elif confidence < calibration.no_match_threshold:
        verdict = Verdict.NO_MATCH
    else:
        verdict = Verdict.UNSURE
    return Judgement(verdict, confidence, calibration.match_threshold)


def of_blank(found: SearchResult) -> SearchResult:
    """What a search is worth whose photo is of one colour.

    There is always something of such a colour, and some of it is near: calibrations are of photos
    that show something, and say nothing of this one.
    """
    return replace(
        found,
        verdict=NOT_JUDGED.verdict,
        confidence=NOT_JUDGED.confidence,
        threshold=NOT_JUDGED.threshold,
        is_blank=True,
    )


def _probability(
    calibration: Calibration, similarity: float, margin: float, products: int
) -> float:
    exponent = (
        calibration.intercept
        + calibration.similarity_weight * similarity
        + calibration.margin_weight * margin
        + calibration.log_products_weight * math.log(max(products, 1))
    )
    # Two forms of one value: exp of a large positive number overflows.
    if exponent >= 0:
        return 1 / (1 + math.exp(-exponent))
    return math.exp(exponent) / (1 + math.exp(exponent))
