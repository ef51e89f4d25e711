"""Crowds and buckets say what a plain model says, in any order of what may happen."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens_server.admission import Buckets, Crowd

KEYS = st.sampled_from(["a", "b", "c", "d"])


@given(st.integers(1, 4), st.lists(st.tuples(KEYS, st.booleans()), max_size=200))
def test_a_crowd_is_a_counter_that_never_passes_its_limit(
    most: int, steps: list[tuple[str, bool]]
) -> None:
    crowd, model = Crowd(most), Counter[str]()
    for key, comes in steps:
        if comes:
            assert crowd.is_full(key) is (model[key] == most)
            assert crowd.enter(key) is (model[key] < most)
            model[key] = min(most, model[key] + 1)
        elif model[key]:
            crowd.leave(key)
            model[key] -= 1
        assert len(crowd) == len(+model)


class PlainBucket:
    """Tokens by exact arithmetic, filled by every step of a clock."""

    def __init__(self, rate: int, burst: int) -> None:
        self.rate, self.burst, self.tokens = rate, burst, Fraction(burst)

    def wait(self, seconds: Fraction) -> None:
        self.tokens = min(Fraction(self.burst), self.tokens + seconds * self.rate)

    def take(self) -> Fraction:
        if self.tokens >= 1:
            self.tokens -= 1
            return Fraction(0)
        return (1 - self.tokens) / self.rate


@settings(deadline=None)
@given(
    st.integers(1, 50),
    st.integers(1, 6),
    # 64ths of a second, so that floats are exact too; 0 for many at once.
    st.lists(st.tuples(KEYS, st.sampled_from([0, 0, 0, 1, 3, 64, 640])), max_size=200),
)
def test_buckets_are_filled_over_time_and_forgotten_when_they_are_full(
    rate: int, burst: int, steps: list[tuple[str, int]]
) -> None:
    buckets, models = Buckets(rate=rate, burst=burst), dict[str, PlainBucket]()
    now, last = 1_000.0, dict[str, float]()
    for key, sixtyfourths in steps:
        now += sixtyfourths / 64
        for model in models.values():
            model.wait(Fraction(sixtyfourths, 64))
        expected = models.setdefault(key, PlainBucket(rate, burst)).take()
        found = buckets.take(key, now)
        assert found == pytest.approx(float(expected), abs=1e-6)
        if found == 0:
            last[key] = now
        lately = [key for key, at in last.items() if now - at <= burst / rate + 1e-6]
        assert len(buckets) <= len(lately)


def test_a_burst_is_as_many_as_it_says_whatever_floats_make_of_it() -> None:
    buckets = Buckets(rate=200, burst=400)

    taken = sum(buckets.take("client", 12_345.678) == 0 for _ in range(1_000))

    assert taken == 400


def test_clients_that_come_once_are_not_kept() -> None:
    buckets = Buckets(rate=10, burst=10)

    for number in range(10_000):
        buckets.take(number, number * 0.01)

    assert len(buckets) <= 11  # a tenth of a second for the one token of each
