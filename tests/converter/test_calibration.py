"""Calibration: the fit against known truths, rates that hold on unseen products, simulation."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.errors import TrainingError
from pocketlens.formats.bundle import Calibration
from pocketlens.query import codes
from pocketlens.query.verdict import judge
from pocketlens.results import Verdict
from pocketlens_converter import logistic
from pocketlens_converter.calibration import CalibrationOptions, calibrate
from pocketlens_converter.galleries import Gallery
from pocketlens_converter.judging import similarities_at_thresholds
from pocketlens_converter.simulation import Searches, simulate

DIM = 24


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def gallery_of(rows: np.ndarray, products: np.ndarray) -> Gallery:
    scale = codes.scale_of(np.abs(rows).max(axis=0))
    coded = codes.encode(rows, scale)
    names = tuple(f"p{number}" for number in range(products.max() + 1))
    return Gallery(
        products=names,
        categories=("",) * len(names),
        distractors=0,
        embeddings=codes.decode(coded, scale),
        codes=coded,
        scale=scale,
        images=np.arange(len(rows)),
        product_numbers=products,
        problems=(),
    )


def shop_of(
    products: int, *, photos: int = 400, noise: float = 0.9, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, Gallery]:
    """Photos (n, dim), what they show (n, p), and a gallery of one image a product."""
    rng = np.random.default_rng(seed)
    rows = unit(rng.normal(size=(products, DIM)))
    shown = rng.integers(0, products, photos)
    drift = unit(rng.normal(size=(photos, DIM))) * rng.uniform(0.2, 1.6, (photos, 1)) * noise
    queries = unit(rows[shown] + drift)
    return queries, np.eye(products, dtype=np.bool_)[shown], gallery_of(rows, np.arange(products))


def searched(products: int = 60, **choices: float) -> tuple[Searches, np.ndarray]:
    queries, shown, gallery = shop_of(products, **choices)  # type: ignore[arg-type]
    found = simulate(queries, shown, gallery, 0.97, np.random.default_rng(1))
    return found, shown.argmax(axis=1)


# --- the fit -------------------------------------------------------------------------------------


def test_fit_finds_the_weights_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal((0.5, 2.0), (0.2, 3.0), (40_000, 2))
    truth = np.array([-2.0, 5.0, -0.4])
    outcomes = rng.random(40_000) < logistic.probabilities(truth, features)

    found = logistic.fit(features, outcomes, np.ones(40_000))

    np.testing.assert_allclose(found, truth, atol=0.15)


def test_fit_is_where_the_gradient_is_nothing() -> None:
    rng = np.random.default_rng(3)
    features, outcomes = rng.normal(size=(60, 3)), rng.random(60) < 0.4
    weights = rng.uniform(0.5, 2, 60)

    found = logistic.fit(features, outcomes, weights, ridge=1e-9)

    missing = weights * (outcomes - logistic.probabilities(found, features))
    np.testing.assert_allclose(features.T @ missing, 0, atol=1e-4)
    assert missing.sum() == pytest.approx(0, abs=1e-4)


def test_a_weight_counts_as_so_many_samples() -> None:
    rng = np.random.default_rng(4)
    features, outcomes = rng.normal(size=(30, 2)), rng.random(30) < 0.5
    repeats = rng.integers(1, 4, 30)

    weighted = logistic.fit(features, outcomes, repeats.astype(float), ridge=1e-9)
    repeated = logistic.fit(
        features.repeat(repeats, axis=0),
        outcomes.repeat(repeats),
        np.ones(repeats.sum()),
        ridge=1e-9,
    )

    np.testing.assert_allclose(weighted, repeated, atol=1e-4)


def test_a_shift_is_the_intercept_that_a_fit_would_find() -> None:
    rng = np.random.default_rng(4)
    scores = rng.normal(size=5000) * 3
    outcomes = rng.random(5000) < logistic.sigmoid(scores - 1.5)

    shift = logistic.shift(scores, outcomes, np.ones(5000), ridge=0.0)

    assert shift == pytest.approx(-1.5, abs=0.15)
    residual = outcomes - logistic.sigmoid(scores + shift)
    assert abs(residual.sum()) < 1e-6  # where the slope is nothing


def test_a_shift_of_one_outcome_or_of_nothing_is_finite() -> None:
    surely_not = np.full(9, -40.0)

    # Nine samples pull by one each, the penalty by the shift itself.
    assert logistic.shift(surely_not, np.ones(9, np.bool_), np.ones(9)) == pytest.approx(9)
    assert abs(logistic.shift(surely_not, np.zeros(9, np.bool_), np.ones(9))) < 1e-9
    assert logistic.shift(np.zeros(0), np.zeros(0, np.bool_), np.zeros(0)) == 0


def test_separable_or_constant_data_give_finite_weights() -> None:
    features = np.column_stack([np.linspace(-1, 1, 40), np.full(40, 3.0)])

    found = logistic.fit(features, features[:, 0] > 0, np.ones(40))

    assert np.isfinite(found).all()
    assert found[1] > 0
    assert found[2] == pytest.approx(0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-800, 800), min_size=1, max_size=9))
def test_sigmoid_stays_within_zero_and_one(values: list[float]) -> None:
    found = logistic.sigmoid(np.array(values))

    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(found + logistic.sigmoid(-np.array(values)), 1)


# --- the simulation ------------------------------------------------------------------------------


def test_every_photo_is_searched_with_and_without_its_product_in_four_galleries() -> None:
    found, _ = searched(photos=10)

    assert len(found) == 10 * 4 * 2
    assert sorted(set(found.products.tolist())) == [7, 15, 30, 59, 60]
    assert np.count_nonzero(found.is_whole & found.is_present) == 10
    assert not found.is_right[~found.is_present].any()


def test_whole_gallery_searches_are_those_of_a_plain_loop() -> None:
    queries, shown, gallery = shop_of(12, photos=30)

    found = simulate(queries, shown, gallery, 0.97, np.random.default_rng(1))

    whole = found.chosen(found.is_whole & found.is_present)
    for photo, right, similarity, margin in zip(
        whole.photo, whole.is_right, whole.similarity, whole.margin, strict=True
    ):
        order = sorted(
            ((float(row @ queries[photo]), p) for p, row in enumerate(gallery.embeddings)),
            reverse=True,
        )
        assert similarity == pytest.approx(order[0][0], abs=1e-5)
        assert margin == pytest.approx(order[0][0] - order[1][0], abs=1e-5)
        assert right == shown[photo, order[0][1]]


def test_near_duplicates_are_one_match_and_give_no_margin() -> None:
    rows = unit(np.random.default_rng(0).normal(size=(9, DIM)))
    rows = np.concatenate([rows, rows[:1]])  # product 9 has the picture of product 0
    gallery = gallery_of(rows, np.arange(10))
    shown = np.eye(10, dtype=np.bool_)[[9]]

    found = simulate(rows[:1], shown, gallery, 0.97, np.random.default_rng(0))

    whole = found.chosen(found.is_whole & found.is_present)
    assert whole.is_right.tolist() == [True]
    assert whole.margin[0] > 0.1


def test_a_photo_of_something_else_is_searched_as_absent_only() -> None:
    queries, shown, gallery = shop_of(12, photos=3)
    shown[0] = False

    found = simulate(queries, shown, gallery, 0.97, np.random.default_rng(0))

    assert not found.is_present[found.photo == 0].any()
    assert np.count_nonzero(found.is_whole & ~found.is_present) == 3


def test_with_photos_of_absent_things_no_product_is_left_out() -> None:
    queries, shown, gallery = shop_of(12, photos=5)
    shown[:2] = False

    found = simulate(queries, shown, gallery, 0.97, np.random.default_rng(0), leaves_out=False)

    assert set(found.photo[~found.is_present].tolist()) == {0, 1}
    assert set(found.photo[found.is_present].tolist()) == {2, 3, 4}


def test_in_a_gallery_of_one_product_its_photos_are_only_searched_as_present() -> None:
    queries, shown, gallery = shop_of(1, photos=5)

    found = simulate(queries, shown, gallery, 0.97, np.random.default_rng(0))

    assert found.is_present.tolist() == found.is_right.tolist() == [True] * 5
    assert found.products.tolist() == [1] * 5


# --- the calibration -----------------------------------------------------------------------------


def test_rates_keep_to_what_was_asked() -> None:
    found, groups = searched(photos=800)

    result = calibrate(found, groups, CalibrationOptions())

    calibration = result.calibration
    assert calibration.false_accept_rate < 0.035
    assert calibration.false_reject_rate < 0.035
    assert calibration.expected_calibration_error < 0.05
    assert result.match_share > 0.3  # it does not keep to them by refusing everything
    assert (calibration.present_photos, calibration.absent_photos) == (800, 800)
    assert calibration.products == 60


def test_confidence_is_honest_on_photos_never_seen() -> None:
    found, groups = searched(photos=800)
    calibration = calibrate(found, groups, CalibrationOptions()).calibration
    queries, shown, gallery = shop_of(60, photos=1000, seed=9)
    unseen = simulate(queries, shown, gallery, 0.97, np.random.default_rng(2))

    judged = [
        judge(*each, calibration)
        for each in zip(unseen.similarity, unseen.margin, unseen.products.tolist(), strict=True)
    ]

    confidences = np.array([each.confidence for each in judged], np.float64)
    middle = (confidences > 0.3) & (confidences < 0.7)
    assert abs(confidences[middle].mean() - unseen.is_right[middle].mean()) < 0.12
    absent = unseen.is_whole & ~unseen.is_present
    accepted = [judged[i].verdict is Verdict.MATCH for i in np.flatnonzero(absent)]
    assert np.mean(accepted) < 0.05


def test_a_category_that_is_harder_is_told_and_helped_by_a_fit_of_its_own() -> None:
    queries, shown, gallery = shop_of(60, photos=2000)
    groups = shown.argmax(axis=1)
    is_wrapped = groups % 2 == 1
    rng = np.random.default_rng(5)
    # What one half shows lies under one another's wrapping: as similar, and seldom right.
    shown[is_wrapped] = shown[rng.permutation(np.flatnonzero(is_wrapped))]
    groups = shown.argmax(axis=1)
    found = simulate(queries, shown, gallery, 0.97, np.random.default_rng(1))
    names = np.where(is_wrapped, "wrapped", "plain")

    result = calibrate(found, groups, CalibrationOptions(0.1, 0.1), categories=names.tolist())

    assert sorted(result.by_category) == ["plain", "wrapped"]
    for each in result.by_category.values():
        assert each["own_expected_calibration_error"] < each["expected_calibration_error"] - 0.05
    assert sum(each["photos"] for each in result.by_category.values()) == 2000


def test_without_absent_photos_of_a_category_it_has_no_fit_of_its_own() -> None:
    queries, shown, gallery = shop_of(60, photos=400)
    shown[300:] = False  # photos of what the shop does not have
    found = simulate(queries, shown, gallery, 0.97, np.random.default_rng(1), leaves_out=False)
    names = ["all"] * 300 + [""] * 100

    result = calibrate(found, shown.argmax(axis=1), CalibrationOptions(0.1, 0.1), categories=names)

    assert "expected_calibration_error" in result.by_category["all"]
    assert "own_expected_calibration_error" not in result.by_category["all"]


def test_more_similar_and_further_ahead_is_more_probable() -> None:
    found, groups = searched()

    calibration = calibrate(found, groups, CalibrationOptions()).calibration

    sure, unsure = judge(0.9, 0.5, 60, calibration), judge(0.5, 0.02, 60, calibration)
    assert sure.confidence is not None
    assert unsure.confidence is not None
    assert sure.confidence > unsure.confidence
    assert sure.verdict is Verdict.MATCH
    assert 0 <= calibration.no_match_threshold <= calibration.match_threshold <= 1


def test_a_lower_rate_asks_for_more() -> None:
    found, groups = searched()

    strict, lax = (
        calibrate(found, groups, CalibrationOptions(false_accept_rate=rate)).calibration
        for rate in (0.005, 0.1)
    )

    assert strict.match_threshold > lax.match_threshold


def test_the_same_seed_gives_the_same_calibration() -> None:
    found, groups = searched(photos=60)

    assert calibrate(found, groups, CalibrationOptions()) == calibrate(
        found, groups, CalibrationOptions()
    )


def test_no_photo_of_a_product_is_fitted_and_measured_on() -> None:
    """Photos of one product alike: a split by photo would call them easy, one by product not."""
    found, groups = searched(30, photos=120)

    by_product = calibrate(found, groups, CalibrationOptions())
    by_photo = calibrate(found, np.arange(120), CalibrationOptions())

    assert by_product.calibration.intercept == by_photo.calibration.intercept
    assert by_product != by_photo  # the folds, and only they, differ


def test_photos_of_a_single_absent_thing_are_enough_to_calibrate() -> None:
    queries, shown, gallery = shop_of(60, photos=200)
    shown[:40] = False
    found = simulate(queries, shown, gallery, 0.97, np.random.default_rng(0), leaves_out=False)
    groups = np.where(shown.any(axis=1), shown.argmax(axis=1), 60)

    calibration = calibrate(found, groups, CalibrationOptions()).calibration

    assert calibration.absent_photos == 40
    assert 0 < calibration.no_match_threshold <= calibration.match_threshold <= 1


def test_too_few_photos_or_products_are_told() -> None:
    few, groups = searched(photos=10)
    with pytest.raises(TrainingError, match="20 photos or more"):
        calibrate(few, groups, CalibrationOptions())

    narrow, groups = searched(photos=60)
    with pytest.raises(TrainingError, match="5 products or more"):
        calibrate(narrow, groups % 4, CalibrationOptions())


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_that_is_none_is_told(rate: float) -> None:
    with pytest.raises(TrainingError, match="false_accept_rate"):
        dataclasses.replace(CalibrationOptions(), false_accept_rate=rate)


def test_similarities_at_thresholds_are_where_the_verdict_changes() -> None:
    calibration = Calibration("device", -4.0, 9.0, 5.0, -0.2, 0.8, 0.3)

    low, high = similarities_at_thresholds(calibration, margin=0.1, products=500) or (0, 0)

    for similarity, below, above in (
        (low, Verdict.NO_MATCH, Verdict.UNSURE),
        (high, Verdict.UNSURE, Verdict.MATCH),
    ):
        assert judge(similarity - 1e-6, 0.1, 500, calibration).verdict is below
        assert judge(similarity + 1e-6, 0.1, 500, calibration).verdict is above


def test_where_similarity_tells_nothing_there_is_no_threshold_of_it() -> None:
    calibration = Calibration("device", 0.0, 0.0, 5.0, 0.0, 0.8, 0.3)

    assert similarities_at_thresholds(calibration, margin=0.1, products=500) is None
