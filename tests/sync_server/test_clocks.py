"""A clock is believed while it goes as another does, and again when it is right again."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pocketlens.errors import ClockSuspect
from pocketlens_server.clocks import SteadyClock, elapsed_seconds

START = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
JUMPS = [timedelta(days=100), timedelta(hours=1, seconds=1), -timedelta(days=1)]


class Times:
    """What two clocks show, set by hand."""

    def __init__(self) -> None:
        self.wall, self.elapsed = START, 1000.0
        self.clock = SteadyClock(wall=lambda: self.wall, elapsed=lambda: self.elapsed)

    def go_by(self, wall: timedelta, elapsed: timedelta) -> None:
        self.wall += wall
        self.elapsed += elapsed.total_seconds()


@pytest.fixture
def times() -> Times:
    return Times()


def test_time_that_goes_by_is_believed_however_much(times: Times) -> None:
    times.go_by(timedelta(days=400), timedelta(days=400))

    assert times.clock.now() == START + timedelta(days=400)


def test_a_clock_may_go_wrong_slowly(times: Times) -> None:
    for _ in range(100):
        times.go_by(timedelta(days=1, minutes=5), timedelta(days=1))
        assert times.clock.now() == times.wall


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_is_not_believed_until_it_is_taken_back(
    times: Times, jump: timedelta, caplog: pytest.LogCaptureFixture
) -> None:
    times.wall += jump
    for _ in range(3):
        with pytest.raises(ClockSuspect, match="jumped to"):
            times.clock.now()
        times.go_by(timedelta(days=2), timedelta(days=2))
    assert caplog.text.count("clock.suspect") == 1

    times.wall -= jump

    assert times.clock.now() == times.wall


def test_another_jump_is_told_again(times: Times, caplog: pytest.LogCaptureFixture) -> None:
    for jump in (timedelta(days=1), -timedelta(days=1)) * 2:
        times.wall += jump
        if times.wall > START:
            with pytest.raises(ClockSuspect):
                times.clock.now()
        else:
            assert times.clock.now() == START

    assert caplog.text.count("clock.suspect") == 2


def test_seconds_that_nobody_sets_go_on() -> None:
    before = elapsed_seconds()

    assert 0 <= elapsed_seconds() - before < 60
