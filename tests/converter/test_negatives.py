"""Who meets whom in a batch: rounds show everything, neighbourhoods what is confused."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens_converter.negatives import Composition
from pocketlens_converter.options import TrainOptions

ROUNDS = TrainOptions(products=2, neighbourhood_share=0.0)
NEIGHBOURS = TrainOptions(products=15, neighbourhood_share=1.0)


def test_a_round_shows_every_product_once() -> None:
    composition = Composition(np.zeros(6, np.int64))
    for round_number in range(3):
        shown = [
            product
            for step in range(3 * round_number, 3 * round_number + 3)
            for product in composition.products(step, ROUNDS)
        ]
        assert sorted(shown) == [0, 1, 2, 3, 4, 5]


def test_a_neighbourhood_has_the_negatives_that_were_asked_for() -> None:
    categories = np.repeat(np.arange(4), 40)
    composition = Composition(categories)

    for step in range(20):
        products = composition.products(step, NEIGHBOURS)
        alike = np.count_nonzero(categories[products] == categories[products[0]])
        assert len(set(products)) == 15
        assert alike == 13  # the anchor and twelve of its class
        assert len(products) - alike == 2


def test_a_small_batch_keeps_its_negatives_of_other_classes() -> None:
    categories = np.repeat(np.arange(4), 40)
    options = TrainOptions(products=16, neighbourhood_share=1.0, in_class=15, out_of_class=3)

    for step in range(20):
        products = Composition(categories).products(step, options)
        assert len(products) == 16
        assert np.count_nonzero(categories[products] != categories[products[0]]) == 3


def test_a_pool_of_one_class_leaves_no_batch_without_another() -> None:
    categories = np.repeat(np.arange(2), 40)
    nearest = np.array([np.delete(np.arange(40), n % 40)[:20] + 40 * (n // 40) for n in range(80)])

    for step in range(20):
        products = Composition(categories, nearest).products(step, NEIGHBOURS)
        assert np.count_nonzero(categories[products] != categories[products[0]]) == 2


def test_a_mined_neighbourhood_is_drawn_from_the_nearest() -> None:
    nearest = np.array([np.delete(np.arange(40), n)[:20] for n in range(40)])
    composition = Composition(np.zeros(40, np.int64), nearest)
    options = TrainOptions(products=8, neighbourhood_share=1.0, in_class=7, out_of_class=0)

    for step in range(20):
        anchor, *others = composition.products(step, options)
        assert set(others) <= set(nearest[anchor].tolist())


def test_anchors_of_small_classes_come_more_often_than_their_share() -> None:
    categories = np.array([0] * 90 + [1] * 10)
    composition = Composition(categories)

    anchors = [composition.products(step, NEIGHBOURS)[0] for step in range(600)]

    # Square roots: sqrt(10) / (sqrt(10) + sqrt(90)) = 0.25 instead of 0.1.
    assert 0.18 < np.mean(categories[anchors]) < 0.32


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6).filter(lambda each: sum(each) > 1),
    products=st.integers(2, 20),
    in_class=st.integers(0, 15),
    out_of_class=st.integers(0, 5),
    is_mined=st.booleans(),
    step=st.integers(0, 1000),
)
def test_batches_are_full_without_repetition_and_decided_by_the_step(
    sizes: list[int], products: int, in_class: int, out_of_class: int, is_mined: bool, step: int
) -> None:
    categories = np.repeat(np.arange(len(sizes)), sizes)
    count = len(categories)
    nearest = np.array([np.delete(np.arange(count), n)[:3] for n in range(count)])
    composition = Composition(categories, nearest if is_mined else None)
    options = TrainOptions(products=products, in_class=in_class, out_of_class=out_of_class)

    chosen = composition.products(step, options)

    assert len(chosen) == len(set(chosen)) == min(products, count)
    assert chosen == composition.products(step, options)
