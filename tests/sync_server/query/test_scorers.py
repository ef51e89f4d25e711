"""What multiplies: numpy in threads, what a GPU runs, and a device that runs out of memory."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.sync_server.query.scored_rows import (
    DIM,
    expect_appended_rows,
    expect_the_nearest,
    parts_of,
    unit_rows,
)
from tests.sync_server.query.vector_store_suite import VectorStoreSuite

from pocketlens_server.query import gpu_scorer
from pocketlens_server.query.exact_blocks import Floats, Part
from pocketlens_server.query.exact_store import ExactStore
from pocketlens_server.query.gpu_scorer import GpuScorer, try_out
from pocketlens_server.query.scorers import CpuScorer, Scorer
from pocketlens_server.query.vector_store import VectorStore


class TestArrays(VectorStoreSuite):
    def made(self, dim: int) -> VectorStore:
        return ExactStore(dim, GpuScorer(np))


class Failing:
    """numpy that fails where a check says so of the function's name and its first argument."""

    def __init__(self, check: Callable[[str, Any], None]) -> None:
        self._check = check

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if name not in ("asarray", "empty", "matmul"):
            return found

        def checked(first: Any, *others: Any, **named: Any) -> Any:
            self._check(name, first)
            return found(first, *others, **named)

        return checked


SCORERS = {
    "one thread": lambda: CpuScorer(1),
    "three threads": lambda: CpuScorer(3),
    "arrays": lambda: GpuScorer(np),
}


@pytest.mark.parametrize("hidden_share", [0, 0.5, 0.95, 1])
@pytest.mark.parametrize("queries", [1, 3, 20])
@pytest.mark.parametrize("made", SCORERS.values(), ids=SCORERS)
def test_the_nearest_are_among_the_candidates_and_these_are_few(
    made: Callable[[], Scorer], queries: int, hidden_share: float
) -> None:
    expect_the_nearest(made(), queries, hidden_share)


@pytest.mark.parametrize("made", SCORERS.values(), ids=SCORERS)
def test_equals_are_candidates_all(made: Callable[[], Scorer]) -> None:
    vectors = np.repeat(unit_rows(3, 1), 70_000, axis=0)

    found = made().candidates(parts_of(vectors), unit_rows(4, 2), 10)

    assert sorted(found.of(0).tolist()) == list(range(70_000))


def agrees(scorer: Scorer, parts: tuple[Part, ...], asked: Floats) -> None:
    expected, found = CpuScorer(1).candidates(parts, asked, 10), scorer.candidates(parts, asked, 10)
    for number in range(len(asked)):
        assert sorted(found.of(number).tolist()) == sorted(expected.of(number).tolist())


def test_blocks_without_room_are_left_to_the_cpu_for_good(caplog: pytest.LogCaptureFixture) -> None:
    parts, asked = parts_of(unit_rows(1, 200_000), 0.3), unit_rows(2, 3)
    brought: list[int] = []

    def check(name: str, first: Any) -> None:
        if name == "asarray" and first.shape[1:] == (DIM,) and len(first) > len(asked):
            brought.append(len(first))
            if len(brought) > 2:
                raise MemoryError

    scorer = GpuScorer(Failing(check))

    with caplog.at_level(logging.WARNING):
        agrees(scorer, parts, asked)
    tried = list(brought)
    agrees(scorer, parts, asked)

    assert brought == tried == [65_536, 65_536, 65_536, 3_392]
    assert scorer.accelerator == "gpu and cpu"
    assert caplog.text.count("query.gpu.full") == 2


@pytest.mark.parametrize("most", [70_000, 0])
def test_blocks_whose_scores_have_no_room_are_left_to_the_cpu(most: int) -> None:
    parts, asked = parts_of(unit_rows(1, 200_000)), unit_rows(2, 3)
    scored: list[int] = []

    def check(name: str, first: Any) -> None:
        if name == "empty" and first[0] > most:
            raise MemoryError
        if name == "matmul":
            scored.append(len(first))

    scorer = GpuScorer(Failing(check))

    for _ in range(2):
        agrees(scorer, parts, asked)

    assert scorer.accelerator == "gpu and cpu"
    assert scored == ([65_536] * 2 if most else [])


def test_new_blocks_are_tried_again() -> None:
    has_room, scored, asked = [False], [0], unit_rows(2, 1)

    def check(name: str, _: Any) -> None:
        if name == "empty" and not has_room[0]:
            raise MemoryError
        scored[0] += name == "matmul"

    scorer = GpuScorer(Failing(check))
    agrees(scorer, parts_of(unit_rows(1, 1000)), asked)
    assert scored == [0]
    has_room[0] = True

    agrees(scorer, parts_of(unit_rows(1, 1000)), asked)

    assert scored == [1]


def test_a_gpu_that_fails_is_left_for_good(caplog: pytest.LogCaptureFixture) -> None:
    parts, asked = parts_of(unit_rows(1, 100_000)), unit_rows(2, 3)
    calls: list[str] = []

    def check(name: str, _: Any) -> None:
        calls.append(name)
        if calls.count("matmul") > 3:
            raise RuntimeError("cudaErrorIllegalAddress: an illegal memory access\nmore")

    scorer = GpuScorer(Failing(check))
    agrees(scorer, parts, asked)
    assert scorer.accelerator == "gpu"

    with caplog.at_level(logging.ERROR):
        agrees(scorer, parts, asked)
    tried = len(calls)
    agrees(scorer, parts, asked)

    assert scorer.accelerator == "cpu"
    assert len(calls) == tried
    assert "query.gpu.lost error=cudaErrorIllegalAddress: an illegal memory access" in caplog.text


def test_a_device_is_tried_out() -> None:
    class Coarse(Failing):
        def __getattr__(self, name: str) -> Any:
            if name != "matmul":
                return super().__getattr__(name)
            return lambda left, right, out=None: np.matmul(  # ten bits, as TF32 has
                left.astype(np.float16).astype(np.float32), right, out=out
            )

    try_out(GpuScorer(np), np)
    coarse = Coarse(lambda *_: None)
    with pytest.raises(RuntimeError, match=r"Expected products of float32\. Received an error"):
        try_out(GpuScorer(coarse), coarse)


def test_more_scores_than_fit_at_once_are_made_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_scorer, "_SCORES", 150_000)
    agrees(GpuScorer(np), parts_of(unit_rows(1, 200_000), 0.2), unit_rows(2, 2))


def test_rows_that_are_appended_come_to_the_device() -> None:
    expect_appended_rows(GpuScorer(np))
