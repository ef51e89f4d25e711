"""Figures against plain loops over explicit cases, and what must hold of them for any case."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pocketlens_converter import metrics

pytestmark = pytest.mark.filterwarnings("error")

# A few values, so that ties come up.
VALUES = st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75])


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Similarities (q, p) and which products are right, one or more a row."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 7)))
    similarities = draw(hnp.arrays(np.float32, shape, elements=VALUES))
    relevant = draw(hnp.arrays(np.bool_, shape))
    relevant[
        np.arange(shape[0]),
        draw(hnp.arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1))),
    ] = True
    return similarities, relevant


def own_images(similarities: np.ndarray) -> np.ndarray:
    """Winners when every product has one image of its own."""
    return np.tile(np.arange(similarities.shape[1]), (len(similarities), 1))


def plain_rank(row: np.ndarray, right: np.ndarray) -> int:
    best = max(row[j] for j in range(len(row)) if right[j])
    return 1 + sum(1 for j in range(len(row)) if not right[j] and row[j] >= best)


def plain_average_precision(row: np.ndarray, right: np.ndarray) -> float:
    order = sorted(range(len(row)), key=lambda j: (-row[j], right[j]))
    hits, total = 0, 0.0
    for place, j in enumerate(order, start=1):
        if right[j]:
            hits += 1
            total += hits / place
    return total / hits


def plain_absolute_accuracy(row: np.ndarray, right: np.ndarray) -> float:
    pairs = [(a, b) for a in range(len(row)) for b in range(len(row)) if right[a] and not right[b]]
    return sum(row[a] > row[b] for a, b in pairs) / len(pairs) if pairs else 1.0


@settings(deadline=None, max_examples=60)
@given(cases())
def test_figures_are_those_of_plain_loops(case: tuple[np.ndarray, np.ndarray]) -> None:
    similarities, relevant = case
    pairs = list(zip(similarities, relevant, strict=True))

    ranks = metrics.ranks(similarities, own_images(similarities), relevant)

    assert ranks.tolist() == [plain_rank(*pair) for pair in pairs]
    np.testing.assert_allclose(
        metrics.average_precisions(similarities, relevant),
        [plain_average_precision(*pair) for pair in pairs],
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        metrics.absolute_accuracies(similarities, relevant),
        [plain_absolute_accuracy(*pair) for pair in pairs],
        rtol=1e-6,
    )


@settings(deadline=None, max_examples=30)
@given(cases(), st.integers(0, 2**32 - 1))
def test_order_of_products_does_not_matter(case: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    similarities, relevant = case
    order = np.random.default_rng(seed).permutation(similarities.shape[1])
    winners = own_images(similarities)

    shuffled = metrics.ranks(similarities[:, order], winners[:, order], relevant[:, order])

    assert shuffled.tolist() == metrics.ranks(similarities, winners, relevant).tolist()


def test_recall_grows_with_k_and_reaches_one() -> None:
    ranks = np.array([1, 2, 5, 11, metrics.NEVER])

    assert [metrics.recall_at(ranks, k) for k in (1, 3, 10, 11)] == [0.2, 0.4, 0.6, 0.8]


def test_a_model_that_tells_nothing_apart_scores_nothing() -> None:
    similarities = np.full((3, 4), 0.9, np.float32)
    relevant = np.eye(3, 4, dtype=np.bool_)

    ranks = metrics.ranks(similarities, own_images(similarities), relevant)

    assert metrics.recall_at(ranks, 1) == 0
    assert metrics.absolute_accuracies(similarities, relevant).tolist() == [0, 0, 0]
    np.testing.assert_allclose(metrics.average_precisions(similarities, relevant), 0.25)


def test_products_of_one_image_do_not_stand_in_each_others_way() -> None:
    similarities = np.array([[0.8, 0.8, 0.1]], np.float32)  # products 0 and 1 share image 0
    winners = np.array([[0, 0, 1]])
    relevant = np.array([[False, True, False]])

    assert metrics.ranks(similarities, winners, relevant).tolist() == [1]


def test_a_query_without_its_product_is_never_found() -> None:
    similarities = np.array([[0.8, 0.1]], np.float32)

    ranks = metrics.ranks(similarities, own_images(similarities), np.zeros((1, 2), np.bool_))

    assert ranks.tolist() == [metrics.NEVER]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_a_product_has_the_similarity_of_its_best_image(
    queries: int, images: int, products: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    similarities = rng.normal(size=(queries, images)).astype(np.float32)
    links = [(i, p) for i in range(images) for p in range(products) if rng.random() < 0.5]
    links += [(int(rng.integers(images)), p) for p in range(products)]

    best, winners = metrics.product_similarities(
        similarities, np.array([i for i, _ in links]), np.array([p for _, p in links]), products
    )

    for q in range(queries):
        for p in range(products):
            shown = [i for i, product in links if product == p]
            assert best[q, p] == max(similarities[q, i] for i in shown)
            assert winners[q, p] in shown
            assert similarities[q, winners[q, p]] == best[q, p]


def test_calibration_error_is_nothing_for_honest_confidence_and_all_for_false() -> None:
    outcomes = np.array([True, False] * 50)

    assert metrics.expected_calibration_error(np.full(100, 0.5), outcomes) == 0
    assert metrics.expected_calibration_error(np.ones(100), np.zeros(100, np.bool_)) == 1
    # Half of them at 0.95 of which all are right, half at 0.25 of which none is.
    confidences = np.where(outcomes, 0.95, 0.25)
    assert metrics.expected_calibration_error(confidences, outcomes) == pytest.approx(0.15)


def test_cosines_of_equal_rows_are_one() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    np.testing.assert_allclose(metrics.cosines(rows, rows), 1, rtol=1e-6)
    np.testing.assert_allclose(metrics.cosines(rows, -rows), -1, rtol=1e-6)
