"""Requests are remembered with their answers, the newest of them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from pocketlens_server.storage import migrations
from pocketlens_server.storage.requests import Answered, Requests

ANSWER = Answered(bytes(16), "applied", 3)


@pytest.fixture
def requests() -> Iterator[Requests]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrations.create(connection)
        yield Requests(connection)


def test_an_answer_is_known_from_then_on(requests: Requests) -> None:
    assert requests.known("one") is None

    requests.remember("one", ANSWER)

    assert requests.known("one") == ANSWER
    assert requests.known("One") is None


def test_an_answer_is_never_another(requests: Requests) -> None:
    requests.remember("one", ANSWER)

    with pytest.raises(sqlite3.IntegrityError):
        requests.remember("one", Answered(bytes(16), "skipped", 0))

    assert requests.known("one") == ANSWER


def test_the_newest_are_kept_whatever_the_clock_says(requests: Requests) -> None:
    for number in range(10):
        requests.remember(str(number), ANSWER)

    requests.forget_old(kept=3)
    requests.forget_old(kept=3)

    assert [number for number in range(10) if requests.known(str(number))] == [7, 8, 9]
    requests.remember("10", ANSWER)
    requests.forget_old(kept=3)
    assert [number for number in range(11) if requests.known(str(number))] == [8, 9, 10]


def test_many_that_are_old_are_forgotten_some_at_once(requests: Requests) -> None:
    """Whoever waits for an answer does not wait until a million of them are deleted."""
    for number in range(2100):
        requests.remember(str(number), ANSWER)

    left = []
    for _ in range(4):
        requests.forget_old(kept=10)
        left.append(sum(requests.known(str(number)) is not None for number in range(2100)))

    assert left == [1100, 100, 10, 10]
    assert requests.known("2090") == ANSWER


def test_with_none_there_is_nothing_to_forget(requests: Requests) -> None:
    requests.forget_old()

    assert requests.known("one") is None
