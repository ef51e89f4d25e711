"""Threads get the lock in the order in which they asked, whatever happens inside."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from time import monotonic

import pytest

from pocketlens_server.turns import Turns


def test_who_asks_first_is_first() -> None:
    turns, order = Turns(), list[int]()
    threads = [threading.Thread(target=took, args=(turns, order, each)) for each in range(8)]

    with turns:
        for number, thread in enumerate(threads):
            thread.start()
            until_queued(turns, number + 2)
    for thread in threads:
        thread.join(10)

    assert order == list(range(8))


def test_one_is_inside_at_a_time() -> None:
    turns, inside, most = Turns(), list[int](), list[int]()

    def often(number: int) -> None:
        for _ in range(200):
            with turns:
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=often, args=(each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert (len(most), set(most)) == (800, {1})


def test_an_error_inside_lets_the_next_one_in() -> None:
    turns, order = Turns(), list[int]()
    with pytest.raises(ValueError, match="inside"), turns:
        raise ValueError("inside")

    took(turns, order, 1)

    assert order == [1]


def took(turns: Turns, order: list[int], number: int) -> None:
    with turns:
        order.append(number)


def until_queued(turns: Turns, count: int) -> None:
    """Waits until so many have a turn or wait for one; nothing else says that one has asked."""
    until = monotonic() + 10
    while len(turns._queue) < count:
        assert monotonic() < until
