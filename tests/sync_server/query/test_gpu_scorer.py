"""Exact search on the GPU of this machine; skipped where there is none, or no CuPy."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import gc
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

from pocketlens_server.query.exact_store import ExactStore
from pocketlens_server.query.gpu_scorer import GpuScorer, on_gpu, try_out
from pocketlens_server.query.scorers import scorer_at_hand
from pocketlens_server.query.vector_store import VectorStore

cupy: Any = pytest.importorskip("cupy", reason="needs CuPy: pip install 'pocketlens[gpu]'")
try:
    DEVICES = cupy.cuda.runtime.getDeviceCount()
except cupy.cuda.runtime.CUDARuntimeError as exc:
    pytest.skip(f"needs a GPU: {exc}", allow_module_level=True)


class TestGpu(VectorStoreSuite):
    def made(self, dim: int) -> VectorStore:
        return ExactStore(dim, GpuScorer(cupy))


def test_it_is_what_a_catalogue_gets() -> None:
    scorer = scorer_at_hand()

    assert isinstance(scorer, GpuScorer)
    assert scorer.accelerator == "gpu"


@pytest.mark.parametrize("hidden_share", [0, 0.5, 0.95, 1])
@pytest.mark.parametrize("queries", [1, 3, 20, 256])
def test_the_nearest_are_among_the_candidates(queries: int, hidden_share: float) -> None:
    expect_the_nearest(GpuScorer(cupy), queries, hidden_share)


def test_equals_are_candidates_all() -> None:
    vectors = np.repeat(unit_rows(3, 1), 70_000, axis=0)

    found = GpuScorer(cupy).candidates(parts_of(vectors), unit_rows(4, 2), 10)

    assert sorted(found.of(0).tolist()) == list(range(70_000))


def test_rows_that_are_appended_come_to_the_gpu() -> None:
    expect_appended_rows(GpuScorer(cupy))


def test_tf32_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from cupy._core import _routines_linalg

    chosen = _routines_linalg.get_compute_type(np.float32)
    _routines_linalg.set_compute_type(np.float32, _routines_linalg.COMPUTE_TYPE_TF32)
    try:
        with pytest.raises(RuntimeError, match="CUPY_TF32"):
            try_out(GpuScorer(cupy), cupy)
    finally:
        _routines_linalg.set_compute_type(np.float32, chosen)


def test_what_has_no_room_is_left_to_the_cpu() -> None:
    pool, parts, asked = cupy.get_default_memory_pool(), parts_of(unit_rows(1, 300_000)), 5
    limit = pool.get_limit()
    pool.free_all_blocks()
    scorer = GpuScorer(cupy)
    pool.set_limit(size=pool.total_bytes() + 3 * 65_536 * DIM * 4)
    try:
        found = scorer.candidates(parts, unit_rows(2, asked), 10)
    finally:
        pool.set_limit(size=limit)

    assert scorer.accelerator == "gpu and cpu"
    exact = unit_rows(1, 300_000).astype(np.float64) @ unit_rows(2, asked).T
    for number in range(asked):
        nearest = np.argsort(-exact[:, number])[:10]
        assert set(nearest.tolist()) <= set(found.of(number).tolist())


def test_memory_of_blocks_that_went_is_given_back_with_the_next_that_come() -> None:
    pool, asked = cupy.get_default_memory_pool(), unit_rows(2, 3)
    scorer = on_gpu()
    assert scorer is not None
    for _ in range(3):
        scorer.candidates(parts_of(unit_rows(1, 300_000)), asked, 10)
        gc.collect()

    # Two versions' blocks: the last one's, and one's that went while the last ones came.
    assert pool.total_bytes() <= 2 * 300_000 * DIM * 4 + (8 << 20)
