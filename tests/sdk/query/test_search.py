"""Nearest images against a full sort; matches against a plain walk over the images."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.making.embeddings import clustered, turned, unit

from pocketlens.query import codes, scoring
from pocketlens.query.list_cache import Rows
from pocketlens.query.search import Candidates, Group, Scored, group_products

DIM = 32
SCALE = np.full(DIM, 1.1, np.float32)


def lists_of(n: int, parts: int, seed: int = 1) -> list[Rows]:
    rng = np.random.default_rng(seed)
    encoded = codes.encode(clustered(rng, n, DIM), SCALE)
    keys = rng.permutation(n).astype(np.uint32) + 1
    places = np.array_split(np.arange(n), parts)
    return [Rows(keys[place], encoded[place]) for place in places]


def plain_best(
    query: npt.NDArray[np.float32], lists: list[Rows], count: int
) -> list[tuple[float, int]]:
    keys = np.concatenate([rows.image_keys for rows in lists])
    similarities = codes.decode(np.concatenate([rows.codes for rows in lists]), SCALE) @ query
    pairs = zip(similarities.tolist(), keys.tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (-round(pair[0], 6), pair[1]))[:count]


@pytest.mark.parametrize(("n", "parts"), [(1, 1), (5, 3), (24, 1), (500, 1), (500, 9), (0, 1)])
@pytest.mark.parametrize("count", [1, 10, 60, 1_000])
def test_best_images_are_those_of_a_full_sort(n: int, parts: int, count: int) -> None:
    lists = lists_of(n, parts)
    for query in clustered(np.random.default_rng(2), 5, DIM):
        found = Scored(scoring.weights(query, SCALE), lists).best(count)

        expected = plain_best(query, lists, count)
        assert len(found) == min(n, count) == len(expected)
        np.testing.assert_allclose(
            found.similarities, [similarity for similarity, _ in expected], atol=2e-5
        )
        overlap = np.intersect1d(found.image_keys, [key for _, key in expected])
        assert len(overlap) >= 0.98 * len(expected)


def test_equal_similarities_come_by_key() -> None:
    code = codes.encode(clustered(np.random.default_rng(1), 1, DIM), SCALE)
    rows = Rows(np.array([9, 3, 7], np.uint32), np.repeat(code, 3, axis=0))

    found = Scored(scoring.weights(np.ones(DIM, np.float32), SCALE), [rows]).best(3)

    assert found.image_keys.tolist() == [3, 7, 9]


def test_codes_come_with_their_images() -> None:
    lists = lists_of(300, 7)
    by_key = {
        key: code.tolist()
        for rows in lists
        for key, code in zip(rows.image_keys.tolist(), rows.codes, strict=True)
    }

    found = Scored(scoring.weights(np.ones(DIM, np.float32), SCALE), lists).best(40)

    for key, code in zip(found.image_keys.tolist(), found.codes, strict=True):
        assert by_key[key] == code.tolist()


def test_only_eligible_images_are_kept_and_keys_beyond_the_end_are_not() -> None:
    lists = lists_of(100, 4)
    eligible = np.zeros(62, np.bool_)
    eligible[:61:3] = True
    scored = Scored(scoring.weights(np.ones(DIM, np.float32), SCALE), lists)

    scored.keep(eligible)

    assert len(scored) == 20  # keys 3, 6, ... 60
    assert sorted(scored.best(99).image_keys.tolist()) == list(range(3, 61, 3))


def candidates(rows: npt.NDArray[np.float32], query: npt.NDArray[np.float32]) -> Candidates:
    encoded = codes.encode(rows, SCALE)
    keys = np.arange(1, len(rows) + 1, dtype=np.uint32)
    return Scored(scoring.weights(query, SCALE), [Rows(keys, encoded)]).best(len(rows))


def plain_groups(
    found: Candidates, products: list[tuple[int, ...]], wanted: int, cosine: float
) -> tuple[tuple[Group, ...], bool]:
    """One image after the other, every winner looked at."""
    units = unit(codes.decode(found.codes, SCALE))
    placed: set[int] = set()
    opened: list[tuple[int, list[int]]] = []
    for place, shown in enumerate(products):
        new = [product for product in shown if product not in placed]
        if not new:
            continue
        twin = next((m for m in opened if float(units[m[0]] @ units[place]) >= cosine), None)
        if twin is not None:
            twin[1].extend(new)
        elif len(opened) == wanted:
            return _as_groups(found, opened), True
        else:
            opened.append((place, new))
        placed.update(new)
    return _as_groups(found, opened), False


def _as_groups(found: Candidates, opened: list[tuple[int, list[int]]]) -> tuple[Group, ...]:
    return tuple(
        Group(int(found.image_keys[place]), tuple(keys), float(found.similarities[place]))
        for place, keys in opened
    )


QUERY = unit(np.random.default_rng(5).standard_normal(DIM).astype(np.float32))


def at(cosine: float, seed: int) -> npt.NDArray[np.float32]:
    """An image at a cosine from the query, in a direction of its own."""
    return turned(np.random.default_rng(seed), QUERY, cosine)


def grouped(
    images: list[npt.NDArray[np.float32]], shows: list[tuple[int, ...]], wanted: int
) -> tuple[list[tuple[int, tuple[int, ...]]], bool]:
    found = candidates(np.stack(images), QUERY)
    products = [shows[key - 1] for key in found.image_keys.tolist()]
    groups, complete = group_products(found, products, wanted, scale=SCALE, duplicate_cosine=0.97)
    return [(group.image_key, group.product_keys) for group in groups], complete


def test_a_product_comes_once_with_its_best_image() -> None:
    images = [at(0.6, 1), at(0.9, 2), at(0.8, 3)]

    assert grouped(images, [(7,), (7,), (8,)], 5) == ([(2, (7,)), (3, (8,))], False)


def test_products_of_one_image_are_alternatives() -> None:
    assert grouped([at(0.9, 1), at(0.8, 2)], [(3, 5), (4,)], 5)[0] == [(1, (3, 5)), (2, (4,))]


def test_products_of_a_near_duplicate_are_alternatives() -> None:
    twin = at(0.9, 1)
    twin[0] += 0.02

    found, _ = grouped([at(0.9, 1), unit(twin), at(0.8, 2)], [(3,), (5,), (4,)], 5)

    assert [products for _, products in found] in ([(3, 5), (4,)], [(5, 3), (4,)])


def test_a_near_duplicate_of_an_alternative_is_a_match_of_its_own() -> None:
    first, far = at(0.95, 1), at(0.95, 2)
    chain = [unit(first + share * (far - first)) for share in (0.0, 0.6, 1.2)]
    cosines = [float(a @ b) for a, b in itertools.pairwise(chain)]
    assert min(cosines) > 0.97 > float(chain[0] @ chain[2])

    found, _ = grouped(chain, [(1,), (2,), (3,)], 5)

    assert sorted(len(products) for _, products in found) in ([1, 2], [3])


def test_images_without_products_are_passed_over() -> None:
    assert grouped([at(0.9, 1), at(0.8, 2)], [(), (4,)], 5) == ([(2, (4,))], False)


def test_complete_when_one_match_more_would_begin() -> None:
    images = [at(0.9, 1), at(0.8, 2), at(0.7, 3)]

    assert grouped(images, [(1,), (2,), (3,)], 2) == ([(1, (1,)), (2, (2,))], True)
    assert grouped(images[:2], [(1,), (2,)], 2) == ([(1, (1,)), (2, (2,))], False)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(0, 700),
    products=st.integers(1, 60),
    wanted=st.integers(1, 40),
)
@settings(deadline=None, max_examples=40)
def test_matches_agree_with_a_plain_walk(seed: int, n: int, products: int, wanted: int) -> None:
    rng = np.random.default_rng(seed)
    rows = clustered(rng, n, DIM, clusters=8, spread=0.25)  # many near-duplicates
    found = candidates(rows, QUERY)
    shows = [
        tuple(sorted(set(rng.integers(1, products + 1, rng.integers(0, 4)).tolist())))
        for _ in range(n)
    ]
    cosine = 0.9612345  # no pair of these lies within rounding of it

    result = group_products(found, shows, wanted, scale=SCALE, duplicate_cosine=cosine)

    assert result == plain_groups(found, shows, wanted, cosine)
