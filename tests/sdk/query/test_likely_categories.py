"""Likely categories: the vote against a plain loop, its probabilities, catalogues of every size."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.making.embeddings import clustered, turned, unit
from tests.making.rows import MemoryRows

from pocketlens.query import codes
from pocketlens.query.codebook import Codebook
from pocketlens.query.likely_categories import (
    NEIGHBOURS,
    HeldOut,
    LikelyCategories,
    NearestImages,
    Neighbours,
    Votes,
    fitted_temperature,
    probabilities,
    to_search,
)
from pocketlens.query.searcher import Searcher
from pocketlens.results import CategoryShare

DIM = 24


@dataclass(frozen=True)
class Likely:
    """What is likely of a query."""

    fitted: LikelyCategories
    nearest: NearestImages

    def of(self, query: npt.NDArray[np.float32]) -> tuple[CategoryShare, ...]:
        return self.fitted.of(self.nearest(query[None], NEIGHBOURS)[0])


def likely(
    embeddings: npt.NDArray[np.float32],
    categories: Sequence[str],
    shows: Mapping[int, Sequence[int]] | None = None,
) -> Likely:
    """Of rows that show a product each, of the category given."""
    centroid = unit(np.ones((1, embeddings.shape[1]), np.float32)).astype(np.float16)
    rows = MemoryRows(embeddings, Codebook(centroid), shows, categories=categories)
    searcher = Searcher(rows, rows.codebook, scale=rows.scale, probes=1, duplicate_cosine=0.97)

    def nearest(queries: npt.NDArray[np.float32], count: int) -> list[Neighbours]:
        found = [searcher.nearest_images(query, count) for query in queries]
        return [Neighbours(each.image_keys, each.similarities) for each in found]

    fitted = LikelyCategories.fitted(
        rows.columns(),
        nearest,
        lambda keys: codes.units(rows.codes_of(keys), rows.scale),
        duplicate_cosine=0.97,
    )
    return Likely(fitted, nearest)


def catalogue(
    each: Sequence[int], seed: int = 3
) -> tuple[npt.NDArray[np.float32], list[str], npt.NDArray[np.float32]]:
    """So many images of each category around a centre of its own, their names, and the centres."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((len(each), DIM), dtype=np.float32))
    images = turned(rng, np.repeat(centres, each, axis=0), 0.7)
    names = [f"category {n}" for n, count in enumerate(each) for _ in range(count)]
    return images, names, centres


@given(st.integers(1, 20), st.integers(0, 200), st.sampled_from([0.02, 0.1, 0.5]))
def test_probabilities_are_those_of_a_plain_loop(n: int, seed: int, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    votes = Votes(
        rng.uniform(-1, 1, n).astype(np.float32),
        rng.integers(0, 3, n).astype(np.int32),
        rng.choice([0.5, 1.0], n),
    )
    prior = np.array([0.5, 0.3, 0.2])

    found = probabilities(votes, temperature, prior)

    counted = [0.0, 0.0, 0.0]
    nearest = float(votes.similarities.max())
    distance = max(float(np.sqrt(2 - 2 * nearest)), 0.03)
    for similarity, category, weight in zip(
        votes.similarities.tolist(), votes.categories.tolist(), votes.weights.tolist(), strict=True
    ):
        counted[category] += weight * np.exp((similarity - nearest) / (temperature * distance))
    expected = [
        0.98 * each / sum(counted) + 0.02 * p for each, p in zip(counted, prior, strict=True)
    ]
    assert found == pytest.approx(expected, abs=1e-6)
    assert found.sum() == pytest.approx(1)


def test_temperature_is_the_one_under_which_what_is_known_is_likeliest() -> None:
    """Where the nearest is always right it is low, where that says nothing it is high."""

    def pictures(right: int) -> list[HeldOut]:
        similarities = np.linspace(0.8, 0.2, 10).astype(np.float32)
        categories = np.ones(10, np.int32)
        categories[right] = 0
        own, even = np.zeros(1, np.int32), np.ones(10)
        return [HeldOut(Votes(similarities, categories, even), own, 0.5)]

    first = [each for _ in range(2000) for each in pictures(0)]
    any_of_them = [each for _ in range(200) for right in range(10) for each in pictures(right)]

    assert fitted_temperature(first) < 0.05
    assert fitted_temperature(any_of_them) > 1
    assert fitted_temperature([]) == 0.13
    assert 0.05 < fitted_temperature(first[:20]) < 0.13  # a few say little


def test_pictures_without_neighbours_fit_nothing() -> None:
    none = Votes(np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(0))

    assert fitted_temperature([]) == fitted_temperature([HeldOut(none, np.zeros(1, np.int32), 1)])


@pytest.mark.parametrize(("low", "high"), [(30, 30), (200, 200), (30, 200)])
def test_probabilities_hold_for_photos(low: int, high: int) -> None:
    """Of photos further out than the catalogue's own pictures they are right as often as told."""
    images, names, centres = catalogue([low, high] * 5)
    found = likely(images, names)
    photos = turned(np.random.default_rng(8), np.repeat(centres, 30, 0), 0.6)

    first = [found.of(photo)[0] for photo in photos]

    truth = [f"category {n}" for n in range(10) for _ in range(30)]
    right = np.array([one.category == name for one, name in zip(first, truth, strict=True)])
    told = np.array([one.probability for one in first])
    assert right.mean() > 0.8
    assert abs(right.mean() - told.mean()) < 0.1


def test_shares_fall_and_hold_all_that_is_worth_telling() -> None:
    images, names, centres = catalogue([40, 40, 40])

    shares = likely(images, names).of(unit(centres[0] + centres[1]))

    told = [each.probability for each in shares]
    assert {each.category for each in shares[:2]} == {"category 0", "category 1"}
    assert told == sorted(told, reverse=True)
    assert 0.98 < sum(told) <= 1 + 1e-9


def test_a_picture_that_the_catalogue_has_is_surely_of_its_category() -> None:
    images, names, _ = catalogue([30, 30, 30])

    assert to_search(likely(images, names).of(images[40])) == ("category 1",)


def test_categories_of_one_image_can_be_likely() -> None:
    images, names, _ = catalogue([1, 1, 50])

    assert likely(images, names).of(images[1])[0].category == "category 1"


@pytest.mark.parametrize("count", [1, 2])
def test_tiny_catalogues_have_an_answer(count: int) -> None:
    images, names, _ = catalogue([1] * count)

    first = likely(images, names).of(images[0])[0]

    assert first.category == "category 0"
    assert first.probability >= 0.5


def test_one_category_is_all_there_is() -> None:
    images, names, _ = catalogue([20])

    (only,) = likely(images, names).of(images[3])

    assert only == CategoryShare("category 0", pytest.approx(1))


def test_an_image_of_two_categories_votes_for_both() -> None:
    images, _, _ = catalogue([1])

    shares = likely(images, ["coat", "hat"], shows={1: [1, 2]}).of(images[0])

    assert {each.category: each.probability for each in shares} == pytest.approx(
        {"coat": 0.5, "hat": 0.5}
    )


def test_copies_of_one_picture_do_not_make_the_vote_sure_of_itself() -> None:
    """Each image twice: left out with its copy, it tells no more than it would alone."""
    images, names, centres = catalogue([12] * 6)
    query = unit(centres[0] + centres[1])

    once = likely(images, names).of(query)[0].probability
    twice = likely(np.repeat(images, 2, 0), [name for name in names for _ in range(2)])

    assert twice.of(query)[0].probability == pytest.approx(once, abs=0.1)


def test_identical_pictures_in_two_categories_are_a_tie() -> None:
    images = np.repeat(clustered(np.random.default_rng(1), 1, DIM), 400, 0)

    shares = likely(images, ["a", "b"] * 200).of(images[0])

    assert [round(each.probability, 1) for each in shares] == [0.5, 0.5]
    assert to_search(shares) == ("a", "b")


@pytest.mark.parametrize(
    ("told", "searched"),
    [
        ({}, ()),
        ({"a": 0.98, "b": 0.01}, ("a",)),
        ({"a": 0.97}, ("a",)),
        ({"a": 0.969}, ()),
        ({"a": 0.6, "b": 0.38}, ("a", "b")),
        ({"a": 0.5, "b": 0.3, "c": 0.2}, ()),
        ({"": 0.97}, ()),
        ({"a": 0.6, "": 0.38}, ()),
        ({"a": 0.97, "": 0.02}, ("a",)),
    ],
)
def test_what_is_searched_follows_from_how_sure_one_is(
    told: dict[str, float], searched: tuple[str, ...]
) -> None:
    assert to_search([CategoryShare(*each) for each in told.items()]) == searched


def test_a_product_of_many_pictures_is_no_evidence_for_itself() -> None:
    """Its own pictures are nearest to each other, which says nothing of photos of another."""
    images, names, centres = catalogue([24] * 6)
    rng = np.random.default_rng(2)
    copies = turned(rng, np.repeat(images, 5, 0), 0.9)
    shows = {key: [1 + (key - 1) // 5] for key in range(1, len(copies) + 1)}
    query = unit(centres[0] + centres[1])

    one_each = likely(images, names).of(query)[0].probability
    five_each = likely(copies, names, shows).of(query)[0].probability

    assert five_each == pytest.approx(one_each, abs=0.15)
    assert to_search(likely(copies, names, shows).of(query)) != ("category 0",)


def test_one_product_with_more_pictures_than_are_looked_at_is_searched() -> None:
    rng = np.random.default_rng(4)
    images = turned(rng, np.repeat(unit(np.ones((1, DIM), np.float32)), 1300, 0), 0.8)
    shows = {key: [min(key, 1200)] if key > 1195 else [1] for key in range(1, 1301)}
    products = len({each[0] for each in shows.values()})

    shares = likely(images, ["a", "b"] * (products // 2), shows).of(images[0])

    assert shares[0].category == "a"
