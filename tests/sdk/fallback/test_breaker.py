"""The circuit breaker: who may ask, and when again, on a clock of its own."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random

import pytest

from pocketlens.fallback.breaker import (
    FAILURES_IN_A_ROW,
    FIRST_SECONDS,
    LONGEST_SECONDS,
    Breaker,
)


class Story:
    """A breaker, and a clock that is set."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 0.0
        self.breaker = Breaker(clock=lambda: self.now, rng=random.Random(seed))

    def fail(self, times: int = FAILURES_IN_A_ROW) -> None:
        for _ in range(times):
            assert self.breaker.begin() == 0
            self.breaker.failed()

    def rest(self) -> float:
        """Waits until it may be asked again; returns for how long."""
        seconds = self.breaker.begin()
        self.now += seconds
        return seconds


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_few_failures_do_not_open_it(story: Story) -> None:
    story.fail(FAILURES_IN_A_ROW - 1)

    assert story.breaker.begin() == 0


def test_an_answer_in_between_begins_the_count_anew(story: Story) -> None:
    for _ in range(5):
        story.fail(FAILURES_IN_A_ROW - 1)
        assert story.breaker.begin() == 0
        story.breaker.answered()

    assert story.breaker.begin() == 0


def test_failures_in_a_row_open_it_for_a_time(story: Story) -> None:
    story.fail()

    assert FIRST_SECONDS / 2 <= story.rest() <= FIRST_SECONDS * 1.5
    assert story.breaker.begin() == 0


def test_one_tries_while_others_are_told_to_wait(story: Story) -> None:
    story.fail()
    story.rest()

    assert story.breaker.begin() == 0
    assert story.breaker.begin() > 0
    story.breaker.answered()
    assert story.breaker.begin() == 0
    assert story.breaker.begin() == 0


def test_it_opens_for_ever_longer_up_to_a_limit(story: Story) -> None:
    story.fail()
    rests = [story.rest()]
    for _ in range(12):
        story.fail(1)
        rests.append(story.rest())

    expected = [min(FIRST_SECONDS * 2**n, LONGEST_SECONDS) for n in range(13)]
    assert all(mean / 2 <= rest <= mean * 1.5 for rest, mean in zip(rests, expected, strict=True))


def test_devices_that_lost_a_server_at_once_come_back_at_different_times() -> None:
    stories = [Story(seed) for seed in range(20)]
    for each in stories:
        each.fail()

    assert len({round(each.rest(), 3) for each in stories}) == 20


@pytest.mark.parametrize("asked", [1.0, 60.0, float("inf")])
def test_a_server_that_asks_to_be_spared_is(story: Story, asked: float) -> None:
    assert story.breaker.begin() == 0
    assert story.breaker.failed(asked)

    rest = story.rest()
    assert min(asked, LONGEST_SECONDS) < rest <= min(asked, LONGEST_SECONDS) + 1.5 * FIRST_SECONDS


def test_one_who_asks_nothing_in_the_end_leaves_the_trial_to_the_next(story: Story) -> None:
    story.fail()
    story.rest()
    assert story.breaker.begin() == 0
    story.breaker.withdrawn()

    assert story.breaker.begin() == 0


def test_failures_of_those_who_asked_before_it_opened_do_not_count(story: Story) -> None:
    for _ in range(6):
        assert story.breaker.begin() == 0
    opened = [story.breaker.failed() for _ in range(6)]

    assert opened == [False, False, True, False, False, False]
    assert story.rest() <= FIRST_SECONDS * 1.5
