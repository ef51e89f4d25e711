"""Threads, and a process, that search a store while it changes, and what they were told.

told = searched_while_syncing(course, scratch / "store", searches=50)
told.wrong, told.errors
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import multiprocessing
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlens import Lens
from pocketlens.errors import PocketLensError
from tests.making import golden
from tests.making.courses import Course, Step

THREADS = 8
STANDS_STILL_SECONDS = 300.0  # searches take milliseconds
OPENED_EVERY = 50  # one search of so many is in a Lens of its own, and is not timed
REFRESHED_EVERY = 10  # of the other process

Steps = list[dict[golden.Answer, int]]


@dataclass
class Told:
    """What searches were told.

    Attributes:
        searches: In all, of this process.
        searches_elsewhere: Of another.
        wrong: Answers that are no version's, or older than one that was there already.
        errors: Of searches and of syncs.
        quiet_seconds, busy_seconds: Each search, before and while the store changed.
    """

    searches: int = 0
    searches_elsewhere: int = 0
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
    with (
        _searched_elsewhere(store, course.steps, told),
        Lens.open(store) as lens,
        ThreadPoolExecutor(threads) as pool,
        ExitStack() as at_the_end,
    ):
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
        self._steps_of = _last_steps(steps)
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


def _last_steps(steps: Sequence[Step]) -> Steps:
    """Of each query, the last step after which an answer is right."""
    return [
        {step.new_answers[query]: number for number, step in enumerate(steps)}
        for query in range(len(steps[0].queries))
    ]


@contextmanager
def _searched_elsewhere(store: Path, steps: Sequence[Step], told: Told) -> Iterator[None]:
    """Another process searches the store, and moves to what is new by itself."""
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    queries, last = steps[0].queries, _last_steps(steps)
    process = spawning.Process(target=_search_elsewhere, args=(store, queries, last, there))
    process.start()
    try:
        assert here.poll(STANDS_STILL_SECONDS)
        here.recv()
        yield
    finally:
        here.send("stop")
        if here.poll(STANDS_STILL_SECONDS):
            told.searches_elsewhere, wrong, errors = here.recv()
            told.wrong += wrong
            told.errors += errors
        process.kill()
        process.join()


def _search_elsewhere(
    store: Path, queries: npt.NDArray[np.float32], last: Steps, pipe: Any
) -> None:
    """What the other process does: an answer may not be older than one before it."""
    searches, wrong, errors, version = 0, list[str](), list[str](), 0
    with Lens.open(store) as lens:
        pipe.send("begins")
        while not pipe.poll():
            query = searches % len(queries)
            searches += 1
            try:
                if searches % REFRESHED_EVERY == 0:
                    lens.refresh()
                answer, before = golden.search(lens, queries, query), version
            except Exception as exc:
                errors.append(f"elsewhere: {exc!r}")
                break
            version = lens.facts.version
            if answer not in last[query] or version < before:
                wrong.append(answer)
    pipe.send((searches, wrong, errors))
