"""Threads that search a store while it goes from version to version, and what they were told.

told = searched_while_syncing(course, scratch / "store", searches=50)
told.wrong, told.errors
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

from pocketlens import Lens
from pocketlens.errors import PocketLensError
from tests.making import golden
from tests.making.courses import Course, Step

THREADS = 8
STANDS_STILL_SECONDS = 300.0  # searches take milliseconds
OPENED_EVERY = 50  # one search of so many is in a Lens of its own, and is not timed


@dataclass
class Told:
    """What searches were told.

    Attributes:
        searches: In all.
        wrong: Answers that are no version's, or older than one that was there already.
        errors: Of searches and of syncs.
        quiet_seconds, busy_seconds: Each search, before and while the store changed.
    """

    searches: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    quiet_seconds: list[float] = field(default_factory=list)
    busy_seconds: list[float] = field(default_factory=list)

    @property
    def p99_ratio(self) -> float:
        """What of a hundred searches the slowest takes while the store changes, to when not."""
        return float(np.quantile(self.busy_seconds, 0.99) / np.quantile(self.quiet_seconds, 0.99))


def searched_while_syncing(
    course: Course, store: Path, *, searches: int, threads: int = THREADS
) -> Told:
    """Goes the steps of a course but the first, with so many searches after each, or more.

    Before them come ten times as many, of a store that stays as it is.
    """
    shutil.copytree(course.steps[0].after, store)
    told = Told()
    with Lens.open(store) as lens, ThreadPoolExecutor(threads) as pool, ExitStack() as at_the_end:
        searchers = _Searchers(store, lens, course.steps, told)
        at_the_end.callback(searchers.stop)
        for number in range(threads):
            pool.submit(searchers.search, number)
        searchers.wait_for(10 * searches)
        searchers.is_quiet = False
        for number, step in enumerate(course.steps[1:], 1):
            try:
                step.follow(store)
                lens.refresh()
            except PocketLensError as exc:
                told.errors.append(f"sync to step {number}: {exc!r}")
                break
            searchers.reached = number
            searchers.wait_for(searches)
    return told


class _Searchers:
    """Threads that search until they are stopped; they share a Lens, and open others."""

    def __init__(self, store: Path, lens: Lens, steps: Sequence[Step], told: Told) -> None:
        self.reached, self.is_quiet = 0, True
        self._store, self._lens, self._told = store, lens, told
        self._queries = steps[0].queries
        self._steps_of: list[dict[golden.Answer, int]] = [
            {step.new_answers[query]: number for number, step in enumerate(steps)}
            for query in range(len(self._queries))
        ]
        self._stopped = threading.Event()
        self._counted = threading.Condition()

    def stop(self) -> None:
        self._stopped.set()

    def wait_for(self, searches: int) -> None:
        """Until so many more were told, or one failed."""
        told = self._told
        with self._counted:
            until = told.searches + searches
            if not self._counted.wait_for(
                lambda: told.searches >= until or told.errors, STANDS_STILL_SECONDS
            ):
                told.errors.append(f"{until - told.searches} searches do not end")

    def search(self, number: int) -> None:
        """What one thread does."""
        while not self._stopped.is_set():
            number += 1
            query, reached = number % len(self._queries), self.reached
            began = perf_counter()
            try:
                if number % OPENED_EVERY:
                    answer = golden.search(self._lens, self._queries, query)
                else:
                    with Lens.open(self._store) as own:
                        answer = golden.search(own, self._queries, query)
            except Exception as exc:
                with self._counted:
                    self._told.errors.append(repr(exc))
                    self._counted.notify_all()
                return
            seconds = perf_counter() - began if number % OPENED_EVERY else None
            self._note(query, reached, answer, seconds)

    def _note(self, query: int, reached: int, answer: golden.Answer, seconds: float | None) -> None:
        told = self._told
        with self._counted:
            told.searches += 1
            if self._steps_of[query].get(answer, -1) < reached:
                told.wrong.append(answer)
            if seconds is not None:
                (told.quiet_seconds if self.is_quiet else told.busy_seconds).append(seconds)
            self._counted.notify_all()
