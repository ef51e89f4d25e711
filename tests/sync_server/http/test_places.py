"""Whose place a newcomer has when all are taken."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest

from pocketlens_server.http.places import Place, Places


def taken(wanted: str, *, share: int = 2) -> tuple[Places, dict[str, Place]]:
    """Places of hosts that are letters: a small one's is idle, a large one's is being answered."""
    places, made = Places(most=len(wanted.split()), share=share), {}
    for name in wanted.split():
        made[name] = places.enter(name[0].lower())
        made[name].is_idle = name[0].islower()
    return places, made


@pytest.mark.parametrize(
    ("wanted", "newcomer", "given_up"),
    [
        # Nobody beyond a share: the oldest that is idle, of whom has most.
        ("A1 b1 C1", "d", "b1"),
        ("a1 B1 B2", "d", "a1"),
        ("a1 b1 b2 C1", "d", "b1"),
        ("A1 B1 C1", "d", None),
        # Somebody is: theirs, idle ones first, and not the idle one of somebody else.
        ("b1 A1 A2 A3", "d", "A1"),
        ("b1 A1 A2 a3", "d", "a3"),
        ("B1 B2 B3 A1 A2 A3 A4", "d", "A1"),
        ("b1 B2 B3 A1 A2 A3 A4", "d", "A1"),
        ("b1 A1 A2 A3", "b", "A1"),
        # Who has its share takes from itself alone.
        ("A1 A2 a3 b1", "a", "a3"),
        ("A1 A2 b1", "a", None),
        ("A1 A2 B1 B2 B3", "a", None),
    ],
)
def test_who_has_most_gives_up(wanted: str, newcomer: str, given_up: str | None) -> None:
    places, made = taken(wanted)
    assert places.are_taken

    found = places.to_give_up(newcomer)

    assert found is (None if given_up is None else made[given_up])


def test_a_place_that_was_left_is_free() -> None:
    places, made = taken("A1 A2 B1")
    assert places.has_share("a")

    for _ in range(2):  # given up, and left when its connection ends
        places.leave(made["A1"])

    assert not places.are_taken
    assert not places.has_share("a")
    places.enter("c")
    assert places.are_taken
