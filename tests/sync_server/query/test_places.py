"""There is room for so many as are answered in time; the others are told at once."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from contextlib import ExitStack

import pytest

from pocketlens.errors import QuotaExceeded
from pocketlens_server.query.places import Places


class Clock:
    """Stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def places(most: int = 10, *, size_bytes: int = 1000, clock: Clock | None = None) -> Places:
    return Places(most, size_bytes=size_bytes, name="photos", clock=clock or Clock())


def test_as_many_as_may_are_inside_and_who_leaves_makes_room() -> None:
    room = places(2)
    full = r"2 photos wait already. Try again in 0.1 s"
    with room.taken():
        with room.taken(), pytest.raises(QuotaExceeded, match=full), room.taken():
            pass
        with room.taken():
            pass


def test_their_bytes_count_together() -> None:
    room = places(size_bytes=100)
    with room.taken(size_bytes=60):
        with pytest.raises(QuotaExceeded), room.taken(size_bytes=41):
            pass
        with room.taken(size_bytes=40):
            pass
    with room.taken(size_bytes=100):
        pass


def test_who_would_not_be_answered_in_time_is_told_when_to_come_again() -> None:
    clock = Clock()
    room = places(clock=clock)
    with ExitStack() as inside:
        for _ in range(4):
            inside.enter_context(room.taken(within=0.1))  # no pace is known yet
        with room.taken():
            clock.now += 0.5  # five are inside, and one is answered after half a second
        with pytest.raises(QuotaExceeded, match=r"Try again in 2.0 s") as refused:
            inside.enter_context(room.taken(within=1.9))
        assert refused.value.retry_seconds == pytest.approx(2)
        inside.enter_context(room.taken(within=2.1))
        inside.enter_context(room.taken(within=None))


def test_the_pace_is_that_of_the_last_answers() -> None:
    clock = Clock()
    room = places(clock=clock)
    with ExitStack() as inside:
        for _ in range(4):
            inside.enter_context(room.taken())
        for seconds in (10, *[0.01] * 64):
            with room.taken():
                clock.now += seconds
        inside.enter_context(room.taken(within=0.05))


def test_an_error_gives_its_place_back_and_is_no_answer() -> None:
    clock = Clock()
    room = places(4, clock=clock)
    with room.taken(), room.taken():
        with room.taken():
            clock.now += 1
        for _ in range(9):  # at once, as what is no picture
            with pytest.raises(ZeroDivisionError), room.taken(size_bytes=1000):
                raise ZeroDivisionError
        with pytest.raises(QuotaExceeded), room.taken(within=1.9):
            pass
        with room.taken(within=2.1):
            pass


def test_who_comes_when_nobody_is_there_is_let_in_however_slow_it_was() -> None:
    clock = Clock()
    room = places(clock=clock)
    with room.taken():
        clock.now += 60  # as when a model is loaded
    with room.taken(within=0.1), room.taken(within=0.1):
        pass
