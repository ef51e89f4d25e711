"""Attributes by a vote: who wins, with which share, and what is not voted on."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.estimates.attributes import suggested
from pocketlens.estimates.prices import Neighbour
from pocketlens.products import Product


def item(alike: float = 0.8, category: str = "", **attributes: str) -> Neighbour:
    return Neighbour(Product("p", category=category, attributes=attributes), alike)


def test_the_value_with_most_votes_wins_with_its_share() -> None:
    red, blue = item(colour="red", category="shoes"), item(colour="blue", category="shoes")

    found = suggested([red, red, red, blue])

    assert [(each.name, each.value, each.votes) for each in found] == [
        ("category", "shoes", 4),
        ("colour", "red", 3),
    ]
    assert [each.share for each in found] == pytest.approx([1, 0.75])


def test_those_without_the_attribute_vote_for_none() -> None:
    (found,) = suggested([item(size="42"), item(size="42"), item(), item(size="")])

    assert found.share == pytest.approx(0.5)


def test_what_one_neighbour_alone_has_is_not_suggested() -> None:
    assert suggested([item(serial="a"), item(serial="b")]) == ()
    assert suggested([item(colour="red")]) == ()
    assert suggested([]) == ()


def test_the_category_is_told_once_also_beside_an_attribute_of_that_name() -> None:
    both = Neighbour(Product("p", category="shoes", attributes={"category": "shoes"}), 0.8)
    other = Neighbour(Product("q", attributes={"category": "boots"}), 0.8)

    assert suggested([both]) == ()  # two votes of one neighbour are one
    (found,) = suggested([both, both, other, other, other])
    assert (found.value, found.votes, round(found.share, 6)) == ("shoes", 2, 0.4)


def test_when_it_was_sold_is_not_suggested() -> None:
    assert suggested([item(sold_at="2026-01-01")] * 3) == ()


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-1, 1), st.sampled_from(["red", "blue", "green", ""])),
        min_size=2,
        max_size=12,
    )
)
def test_votes_count_by_likeness(voters: list[tuple[float, str]]) -> None:
    found = suggested([item(alike, colour=value) for alike, value in voters])

    nearest = max(alike for alike, _ in voters)
    weights = [math.exp((alike - nearest) / 0.05) for alike, _ in voters]
    shares: dict[str, float] = {}
    for (_, value), weight in zip(voters, weights, strict=True):
        shares[value] = shares.get(value, 0) + weight / sum(weights)
    counts = [value for _, value in voters]
    able = {value: share for value, share in shares.items() if value and counts.count(value) > 1}
    assert len(found) == bool(able)
    for each in found:
        assert each.share == pytest.approx(max(able.values()))
        assert each.votes == counts.count(each.value)
