"""A server that fails is left alone, ever longer, and tried by one question at a time."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pocketlens.fallback.breaker import FAILURES, LONGEST_SECONDS, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def broken(clock: Clock, failures: int = FAILURES) -> Breaker:
    breaker = Breaker(clock=clock, rng=random.Random(1))
    for _ in range(failures):
        breaker.failed()
    return breaker


def test_a_few_failures_stop_nobody() -> None:
    breaker = broken(Clock(), FAILURES - 1)

    assert breaker.why_not() is None


def test_after_more_it_is_left_alone_and_then_tried_once() -> None:
    clock = Clock()
    breaker = broken(clock)
    assert "left alone" in (breaker.why_not() or "")

    clock.now += 5
    assert breaker.why_not() is None
    assert "tries it" in (breaker.why_not() or "")
    breaker.answered()
    assert breaker.why_not() is None
    assert breaker.why_not() is None


def test_one_who_did_not_ask_after_all_lets_the_next_try() -> None:
    clock = Clock()
    breaker = broken(clock)
    clock.now += 5
    assert breaker.why_not() is None

    breaker.let_go()

    assert breaker.why_not() is None


def test_a_server_that_asks_to_be_spared_is() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock, rng=random.Random(1))

    breaker.failed(retry_seconds=2.5)

    assert breaker.why_not() is not None
    clock.now += 2.5
    assert breaker.why_not() is None


@given(st.lists(st.sampled_from(["fail", "answer", "wait"]), max_size=60), st.integers())
def test_it_never_waits_for_ever_and_one_answer_mends_it(steps: list[str], seed: int) -> None:
    clock = Clock()
    breaker = Breaker(clock=clock, rng=random.Random(seed))
    for step in steps:
        if step == "wait":
            clock.now += LONGEST_SECONDS
        elif breaker.why_not() is None:
            breaker.failed() if step == "fail" else breaker.answered()
    clock.now += LONGEST_SECONDS

    assert breaker.why_not() is None
    breaker.answered()
    assert breaker.why_not() is None
