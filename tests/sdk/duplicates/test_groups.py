"""Links to groups, against a plain walk."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pocketlens.duplicates import groups

PAIRS = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40)


def plain_groups(n: int, pairs: list[tuple[int, int]]) -> list[int]:
    labels = list(range(n))
    for one, other in pairs:
        low, high = sorted((labels[one], labels[other]))
        labels = [low if label == high else label for label in labels]
    return labels


@given(PAIRS, PAIRS)
def test_joined_is_what_a_plain_walk_finds(
    first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> None:
    labels = np.arange(20)
    for pairs in (first, second):
        ends = np.array(pairs, np.int64).reshape(-1, 2)
        labels = groups.joined(labels, ends[:, 0], ends[:, 1])

    assert labels.tolist() == plain_groups(20, first + second)


def test_joined_leaves_what_it_was_given() -> None:
    labels = np.arange(3)

    groups.joined(labels, np.array([0]), np.array([2]))

    assert labels.tolist() == [0, 1, 2]


def test_long_chain_is_one_group() -> None:
    n = 50_000
    order = np.random.default_rng(3).permutation(n)

    labels = groups.joined(np.arange(n), order[:-1], order[1:])

    assert not labels.any()
    assert [len(rows) for rows in groups.members(labels)] == [n]


def test_members_are_those_of_two_or_more_largest_first() -> None:
    found = groups.members(np.array([0, 1, 1, 3, 4, 4, 4]))

    assert [rows.tolist() for rows in found] == [[4, 5, 6], [1, 2]]
    assert groups.members(np.zeros(0, np.int64)) == []
