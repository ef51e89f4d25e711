"""Lists in memory: a bound on bytes, the oldest out first, many threads."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.query.list_cache import ListCache, Rows

Pair = tuple[npt.NDArray[np.uint32], npt.NDArray[np.int8]]


def made(number: int, n: int = 10) -> Pair:
    return np.arange(n, dtype=np.uint32), np.full((n, 8), number, np.int8)


SIZE = Rows(*made(0)).size_bytes


def test_a_list_is_read_once() -> None:
    cache, reads = ListCache(10 * SIZE), []

    for _ in range(3):
        rows = cache.rows(("list", 4), lambda: (reads.append(4), made(4))[1])

    assert reads == [4]
    assert rows.codes[0, 0] == 4
    assert cache.held_bytes == SIZE


def test_the_least_recently_used_goes_first() -> None:
    cache, reads = ListCache(2 * SIZE), []

    def asked(number: int) -> None:
        cache.rows(number, lambda: (reads.append(number), made(number))[1])

    for number in (1, 2, 1, 3, 1, 2):
        asked(number)

    assert reads == [1, 2, 3, 2]


def test_another_version_is_another_list() -> None:
    cache = ListCache(10 * SIZE)
    cache.rows((1, 7), lambda: made(1))

    assert cache.rows((2, 7), lambda: made(2)).codes[0, 0] == 2


@pytest.mark.parametrize("limit", [0, SIZE - 1])
def test_a_list_larger_than_the_limit_is_handed_out_but_not_held(limit: int) -> None:
    cache = ListCache(limit)

    assert len(cache.rows(1, lambda: made(1)).image_keys) == 10
    assert cache.held_bytes == 0


def test_a_failed_reading_changes_nothing() -> None:
    cache = ListCache(10 * SIZE)
    cache.rows(1, lambda: made(1))

    with pytest.raises(OSError, match="gone"):
        cache.rows(2, lambda: (_ for _ in ()).throw(OSError("gone")))

    assert cache.held_bytes == SIZE
    assert cache.rows(2, lambda: made(2)).codes[0, 0] == 2


def test_drop_forgets_everything() -> None:
    cache = ListCache(10 * SIZE)
    cache.rows(1, lambda: made(1))

    cache.drop()

    assert cache.held_bytes == 0
    assert cache.rows(1, lambda: made(9)).codes[0, 0] == 9


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=60), st.integers(0, 3000)
)
@settings(deadline=None, max_examples=60)
def test_memory_stays_within_the_limit_and_answers_are_right(
    asked: list[tuple[int, int]], limit: int
) -> None:
    cache = ListCache(limit)
    for number, n in asked:
        rows = cache.rows((number, n), lambda number=number, n=n: made(number, n))

        assert rows.codes.shape == (n, 8)
        assert np.all(rows.codes == number)
        assert cache.held_bytes <= limit


def test_threads_get_the_rows_they_ask_for() -> None:
    cache = ListCache(5 * SIZE)

    def search(seed: int) -> int:
        wrong = 0
        for number in np.random.default_rng(seed).integers(0, 12, 400).tolist():
            wrong += int(
                cache.rows(number, lambda number=number: made(number)).codes[0, 0] != number
            )
        return wrong

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(search, range(8))) == 0
    assert cache.held_bytes <= 5 * SIZE
