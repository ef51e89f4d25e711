"""Both miners against a plain loop over every anchor, positive and negative."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from tests.making.embeddings import clustered

from pocketlens_converter.distances import euclidean
from pocketlens_converter.miners.batch_hard import batch_hard
from pocketlens_converter.miners.semi_hard import semi_hard
from pocketlens_converter.miners.triplets import Triplets


def batch(seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    embeddings = clustered(rng, 12, 8, clusters=4)
    return np.asarray(euclidean(embeddings, embeddings)), rng.integers(0, 4, 12).astype(np.int32)


def chosen(triplets: Triplets) -> list[tuple[float, float]]:
    positive, negative, valid = (np.asarray(each) for each in triplets)
    pairs = zip(positive[valid].tolist(), negative[valid].tolist(), strict=True)
    return sorted((round(dp, 5), round(dn, 5)) for dp, dn in pairs)


@pytest.mark.parametrize("seed", range(6))
def test_batch_hard_takes_the_farthest_positive_and_the_nearest_negative(seed: int) -> None:
    distances, products = batch(seed)

    found = chosen(batch_hard(distances, products))

    expected = []
    for anchor in range(len(products)):
        same = [i for i in range(len(products)) if products[i] == products[anchor] and i != anchor]
        other = [i for i in range(len(products)) if products[i] != products[anchor]]
        if same and other:
            far = max(float(distances[anchor, i]) for i in same)
            near = min(float(distances[anchor, i]) for i in other)
            expected.append((round(far, 5), round(near, 5)))
    assert found == sorted(expected)


@pytest.mark.parametrize("seed", range(6))
def test_semi_hard_takes_the_nearest_negative_beyond_the_positive(seed: int) -> None:
    distances, products = batch(seed)
    margin = 0.5

    found = chosen(semi_hard(distances, products, margin))

    expected = []
    for anchor in range(len(products)):
        for positive in range(len(products)):
            if positive == anchor or products[positive] != products[anchor]:
                continue
            dp = float(distances[anchor, positive])
            beyond = [
                float(distances[anchor, i])
                for i in range(len(products))
                if products[i] != products[anchor] and dp < float(distances[anchor, i])
            ]
            if beyond and min(beyond) < dp + margin:
                expected.append((round(dp, 5), round(min(beyond), 5)))
    assert found == sorted(expected)


def test_a_batch_of_one_product_has_no_triplet() -> None:
    distances, _ = batch(0)
    same = np.zeros(12, np.int32)

    assert chosen(batch_hard(distances, same)) == []
    assert chosen(semi_hard(distances, same, 1.0)) == []
