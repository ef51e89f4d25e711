"""Words beside a picture, against looking at every image; what they may and may not change."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.making.embeddings import clustered, turned
from tests.making.rows import MemoryRows

from pocketlens.query import clustering, fusion, scoring
from pocketlens.query.codebook import Codebook
from pocketlens.query.filters import Filter
from pocketlens.query.fusion import LIFT, Fused
from pocketlens.query.searcher import Searcher

DIM, N, LISTS = 24, 900, 12
WIDE = fusion.FEW_IMAGES + 1_000  # more images with a word than are scored wherever they are
ODD = Filter(attributes={"parity": "odd"})


def rows_of(n: int, lists: int = LISTS, **facts: object) -> MemoryRows:
    rng = np.random.default_rng(1)
    embeddings = clustered(rng, n, DIM, clusters=40)
    centroids = clustering.centroids(embeddings, lists, rng)
    return MemoryRows(embeddings, Codebook(centroids), **facts)  # type: ignore[arg-type]  # by name


ROWS = rows_of(N)


def fused(
    rows: MemoryRows,
    query: npt.NDArray[np.float32],
    shares: dict[int, float],
    k: int = 10,
    wanted: Filter | None = None,
    *,
    probes: int = LISTS,
    duplicate_cosine: float = 0.99999,
) -> Fused:
    searcher = Searcher(
        rows, rows.codebook, scale=rows.scale, probes=probes, duplicate_cosine=duplicate_cosine
    )
    return fusion.search(
        searcher,
        rows,
        query,
        k,
        wanted,
        product_keys=np.array(sorted(shares), np.uint32),
        shares=np.array([shares[key] for key in sorted(shares)], np.float32),
        scale=rows.scale,
        duplicate_cosine=duplicate_cosine,
    )


def products(found: Fused) -> list[int]:
    return [group.product_keys[0] for group in found.found.groups]


def naive(
    rows: MemoryRows, query: npt.NDArray[np.float32], shares: dict[int, float], k: int, *, odd: bool
) -> list[int]:
    """Products, one an image, by similarity and lift, by looking at each."""
    similarities = scoring.similarities(scoring.weights(query, rows.scale), rows.codes)
    scores = {
        key: float(similarities[key - 1]) + LIFT * shares.get(key, 0.0)
        for key in range(1, len(similarities) + 1)
        if key % 2 or not odd
    }
    return sorted(scores, key=lambda key: (-scores[key], key))[:k]


@given(
    photo=st.integers(0, N - 1),
    worded=st.dictionaries(st.integers(1, N), st.sampled_from([0.25, 0.5, 1.0]), max_size=200),
    k=st.integers(1, 30),
    is_filtered=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_matches_are_those_of_looking_at_every_image(
    photo: int, worded: dict[int, float], k: int, is_filtered: bool
) -> None:
    query = turned(np.random.default_rng(photo), ROWS.embeddings[photo : photo + 1], 0.6)[0]

    found = fused(ROWS, query, worded, k, ODD if is_filtered else None)

    assert products(found) == naive(ROWS, query, worded, k, odd=is_filtered)
    assert found.matching == len([key for key in worded if key % 2 or not is_filtered])


def test_few_products_with_a_word_are_found_in_whatever_list() -> None:
    query = turned(np.random.default_rng(4), ROWS.embeddings[:1], 0.6)[0]
    similarities = ROWS.embeddings @ query
    far = (np.argsort(similarities)[:3] + 1).tolist()

    found = fused(ROWS, query, dict.fromkeys(far, 1.0), k=N, probes=1)

    assert set(far) <= {key for group in found.found.groups for key in group.product_keys}


def test_a_word_of_most_products_leaves_their_order_to_the_picture() -> None:
    rows = rows_of(WIDE + 500, lists=40)
    worded = dict.fromkeys(range(1, WIDE + 1), 0.5)
    query = turned(np.random.default_rng(5), rows.embeddings[-1:], 0.7)[0]  # of one without it

    found = fused(rows, query, worded, k=20, probes=40)

    assert products(found) == naive(rows, query, worded, 20, odd=False)


def test_rare_words_among_common_ones_are_found() -> None:
    rows = rows_of(WIDE + 500, lists=40)
    worded = dict.fromkeys(range(1, WIDE + 1), 0.5) | dict.fromkeys(range(1, 50), 1.0)
    query = turned(np.random.default_rng(6), rows.embeddings[-1:], 0.7)[0]

    found = fused(rows, query, worded, k=60, probes=40)

    assert products(found) == naive(rows, query, worded, 60, odd=False)


def test_without_a_product_that_has_them_the_picture_answers() -> None:
    query = turned(np.random.default_rng(7), ROWS.embeddings[5:6], 0.8)[0]
    plain = fused(ROWS, query, {})

    even = fused(ROWS, query, {2: 1.0, 4: 1.0}, wanted=ODD)

    assert plain.matching == even.matching == 0
    assert products(plain) == naive(ROWS, query, {}, 10, odd=False)
    assert products(even) == naive(ROWS, query, {}, 10, odd=True)


def test_the_verdict_stays_that_of_the_picture_which_far_words_do_not_overrule() -> None:
    query = turned(np.random.default_rng(8), ROWS.embeddings[5:6], 0.9)[0]
    order = (np.argsort(-(ROWS.embeddings @ query)) + 1).tolist()

    plain = fused(ROWS, query, {})
    far, near = (fused(ROWS, query, {order[place]: 1.0}) for place in (-1, 3))

    assert far.found.best == near.found.best == plain.found.best
    assert far.found.margin == near.found.margin == plain.found.margin
    assert products(far)[0] == products(plain)[0] == order[0] == 6
    assert products(near)[:2] == [order[3], 6]


@pytest.mark.parametrize(("worded", "first"), [(2, (2, 1, 3)), (3, (3, 1, 2))])
def test_of_products_that_share_a_picture_the_one_with_the_words_comes_first(
    worded: int, first: tuple[int, ...]
) -> None:
    rows = rows_of(
        40, lists=2, shows={key: [1, 2, 3] if key == 1 else [key + 3] for key in range(1, 41)}
    )

    found = fused(rows, rows.embeddings[0], {worded: 1.0}, k=3, probes=2)

    assert found.found.groups[0].product_keys == first


def test_of_near_duplicates_the_one_with_the_words_is_the_match() -> None:
    rng = np.random.default_rng(9)
    embeddings = clustered(rng, 60, DIM, clusters=20)
    embeddings[1] = turned(rng, embeddings[:1], 0.995)[0]
    rows = MemoryRows(embeddings, Codebook(clustering.centroids(embeddings, 2, rng)))

    plain = fused(rows, embeddings[0], {}, probes=2, duplicate_cosine=0.98)
    found = fused(rows, embeddings[0], {2: 1.0}, probes=2, duplicate_cosine=0.98)

    assert plain.found.groups[0].product_keys == (1, 2)
    assert found.found.groups[0].product_keys == (2, 1)


def test_as_many_matches_as_there_are_products() -> None:
    found = fused(ROWS, ROWS.embeddings[0], {5: 1.0}, k=2 * N)

    assert sorted(products(found)) == list(range(1, N + 1))
