"""Verdicts: the logistic formula, its thresholds, and what has no number."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest

from pocketlens.formats.bundle import Calibration
from pocketlens.query.verdict import judge
from pocketlens.results import Verdict

CALIBRATION = Calibration("device", -4.0, 10.0, 5.0, -0.2, 0.8, 0.3)


def test_confidence_is_the_logistic_of_the_weights() -> None:
    found = judge(0.7, 0.1, 1000, CALIBRATION)

    exponent = -4.0 + 10.0 * 0.7 + 5.0 * 0.1 - 0.2 * math.log(1000)
    assert found.confidence == pytest.approx(1 / (1 + math.exp(-exponent)), rel=1e-12)
    assert found.threshold == 0.8


@pytest.mark.parametrize(
    ("similarity", "verdict"),
    [
        (0.9, Verdict.MATCH),
        (0.5, Verdict.UNSURE),
        (0.2, Verdict.NO_MATCH),
        (-1.0, Verdict.NO_MATCH),
    ],
)
def test_verdict_follows_the_thresholds(similarity: float, verdict: Verdict) -> None:
    assert judge(similarity, 0.05, 100, CALIBRATION).verdict is verdict


def test_a_confidence_at_the_threshold_is_a_match() -> None:
    even = Calibration("device", 0.0, 0.0, 0.0, 0.0, 0.5, 0.5)

    assert judge(0.1, 0.0, 10, even).verdict is Verdict.MATCH


def test_without_calibration_nothing_is_sure() -> None:
    found = judge(0.99, 0.5, 10, None)

    assert (found.verdict, found.confidence, found.threshold) == (Verdict.UNSURE, None, None)


def test_an_empty_store_has_no_match() -> None:
    assert judge(None, None, 0, CALIBRATION).verdict is Verdict.NO_MATCH
    assert judge(None, None, 0, CALIBRATION).confidence == 0.0
    assert judge(None, None, 0, None).confidence is None


def test_a_lone_product_leads_over_nothing() -> None:
    assert judge(0.6, None, 1, CALIBRATION) == judge(0.6, 0.6, 1, CALIBRATION)
    assert judge(-0.2, None, 1, CALIBRATION) == judge(-0.2, 0.0, 1, CALIBRATION)


@pytest.mark.parametrize("weight", [1e4, -1e4])
def test_large_exponents_do_not_overflow(weight: float) -> None:
    steep = Calibration("device", 0.0, weight, 0.0, 0.0, 0.5, 0.2)

    assert judge(1.0, 0.0, 10, steep).confidence == (1.0 if weight > 0 else 0.0)
