"""What multiplies: numpy in threads, TensorFlow, and a device that runs out of memory."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tests.sync_server.query.vector_store_suite import VectorStoreSuite

from pocketlens_server.query import exact_blocks
from pocketlens_server.query.exact_blocks import Floats, Part
from pocketlens_server.query.exact_store import ExactStore
from pocketlens_server.query.scorers import CpuScorer, Scorer
from pocketlens_server.query.tensorflow_scorer import TensorFlowScorer
from pocketlens_server.query.vector_store import VectorStore

DIM = 16


class TestTensorFlow(VectorStoreSuite):
    def made(self, dim: int) -> VectorStore:
        return ExactStore(dim, TensorFlowScorer("/CPU:0"))


def unit_rows(seed: int, count: int) -> Floats:
    rows = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def parts_of(vectors: Floats, hidden_share: float = 0.0) -> tuple[Part, ...]:
    keys = np.arange(1, len(vectors) + 1, dtype=np.uint32)
    rng = np.random.default_rng(5)
    parts = exact_blocks.changed((), np.zeros(0, np.int64), keys, vectors)
    if not hidden_share:
        return parts
    return tuple(part.without(rng.random(part.rows) < hidden_share) for part in parts)


def running_out(
    times: Callable[[int, int], bool], error: type[Exception]
) -> tuple[Callable[[Any, Any], Any], list[int]]:
    """A product that has no memory where `times` says so of its call and its rows."""
    calls: list[int] = []

    def product(queries: Any, vectors: Any) -> Any:
        calls.append(vectors.shape[0])
        if times(len(calls), vectors.shape[0]):
            raise error(None, None, "no room")
        return tf.matmul(queries, vectors, transpose_b=True)

    return product, calls


SCORERS = {
    "one thread": lambda: CpuScorer(1),
    "three threads": lambda: CpuScorer(3),
    "tensorflow": lambda: TensorFlowScorer("/CPU:0"),
}


@pytest.mark.parametrize("hidden_share", [0, 0.5, 0.95, 1])
@pytest.mark.parametrize("queries", [1, 3, 20])
@pytest.mark.parametrize("made", SCORERS.values(), ids=SCORERS)
def test_the_nearest_are_among_the_candidates_and_these_are_few(
    made: Callable[[], Scorer], queries: int, hidden_share: float
) -> None:
    vectors, asked = unit_rows(1, 80_000), unit_rows(2, queries)
    parts = parts_of(vectors, hidden_share)
    is_seen = np.concatenate(
        [np.ones(part.rows, np.bool_) if part.hidden is None else ~part.hidden for part in parts]
    )
    exact = vectors.astype(np.float64) @ asked.T.astype(np.float64)
    exact[~is_seen] = -np.inf

    found = made().candidates(parts, asked, 10)

    for number in range(queries):
        places = found.of(number).tolist()
        order = np.argsort(-exact[:, number], kind="stable")[: min(10, int(is_seen.sum()))]
        assert set(order.tolist()) <= set(places)
        assert len(places) == len(set(places)) <= 20


@pytest.mark.parametrize("made", SCORERS.values(), ids=SCORERS)
def test_equals_are_candidates_all(made: Callable[[], Scorer]) -> None:
    vectors = np.repeat(unit_rows(3, 1), 70_000, axis=0)

    found = made().candidates(parts_of(vectors), unit_rows(4, 2), 10)

    assert sorted(found.of(0).tolist()) == list(range(70_000))


@pytest.mark.parametrize(
    "error",
    [tf.errors.ResourceExhaustedError, tf.errors.InternalError],
    ids=lambda each: each.__name__,
)
def test_a_block_without_room_comes_in_smaller_ones(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    parts, asked = parts_of(unit_rows(1, 65_536)), unit_rows(2, 3)
    expected = CpuScorer(1).candidates(parts, asked, 10)
    product, calls = running_out(lambda _, rows: rows > 20_000, error)
    scorer = TensorFlowScorer("/CPU:0", product=product)

    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = scorer.candidates(parts, asked, 10)
            assert sorted(found.of(2).tolist()) == sorted(expected.of(2).tolist())

    assert calls == [65_536, 32_768, 16_384, 16_384, 32_768, 16_384, 16_384, *[16_384] * 4]
    assert scorer.accelerator == "gpu"
    assert "query.gpu.full device=/CPU:0 rows=65536" in caplog.text


def test_rows_without_any_room_are_left_to_the_cpu_for_good() -> None:
    parts, asked = parts_of(unit_rows(1, 100_000)), unit_rows(2, 3)
    expected = CpuScorer(1).candidates(parts, asked, 10)
    product, calls = running_out(lambda call, _: call > 1, tf.errors.ResourceExhaustedError)
    scorer = TensorFlowScorer("/CPU:0", product=product)

    tried = []
    for _ in range(4):
        found = scorer.candidates(parts, asked, 10)
        assert sorted(found.of(0).tolist()) == sorted(expected.of(0).tolist())
        tried.append(len(calls))

    assert scorer.accelerator == "gpu and cpu"
    assert min(calls) < 8_192  # smaller and smaller ones, of both blocks, but each only once
    assert tried[0] < tried[1] == tried[2] == tried[3]


def test_rows_that_are_appended_come_to_the_device() -> None:
    vectors, asked = unit_rows(1, 3000), unit_rows(2, 1)
    scorer = TensorFlowScorer("/CPU:0")
    before = parts_of(vectors[:1000])
    scorer.candidates(before, asked, 5)
    after = exact_blocks.changed(
        before, np.zeros(0, np.int64), np.arange(1001, 3001, dtype=np.uint32), vectors[1000:]
    )

    for parts in (after, before, after):
        rows = sum(part.rows for part in parts)
        nearest = np.argsort(-(vectors[:rows] @ asked[0]))[:5]
        assert set(nearest.tolist()) <= set(scorer.candidates(parts, asked, 5).of(0).tolist())
