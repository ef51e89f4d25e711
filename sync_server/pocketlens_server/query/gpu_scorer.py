"""Rows that may be nearest to queries, found on a GPU by CuPy: a `scorers.Scorer`.

    scorer = on_gpu()                          # None without a GPU, or without CuPy
    scorer.candidates(parts, queries, 10)

Blocks stay on the GPU after their first use; of their scores, only those of candidates come back.
A block that has no room there, or whose scores have none, is left to the CPU for good, as all are
once the GPU fails; `accelerator` says so. The code is the same for numpy, which tests give it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np

from pocketlens_server.query import exact_blocks
from pocketlens_server.query.candidates import Candidates, error_bound
from pocketlens_server.query.exact_blocks import BLOCK_ROWS, Block, Floats, Part
from pocketlens_server.query.scorers import CpuScorer, Scorer

logger = logging.getLogger(__name__)

_SCORES = 1 << 26  # at once, 256 MB: a million rows for 64 queries, each more launch costs its time
# Groups of rows, whose best scores tell what a candidate must reach: that is told by coarse ones,
# at least so many, and so many for each row that is wanted; each is made of finer ones.
_FINER, _FEWEST_COARSE, _COARSE_FOR_EACH = 16, 128, 4
_LOWEST = float(np.finfo(np.float32).min)  # rows that are not there score -inf, and are below it
_SHARE = 0.75  # of a GPU's memory at most: the float model of photos may be there as well

_Numbered = tuple[int, Part]
"""A part and its number."""


class GpuScorer:
    """Arrays of one device."""

    def __init__(self, arrays: Any, release: Callable[[], None] = lambda: None) -> None:
        """Begins with nothing on the device.

        Args:
            arrays: The module that makes them: cupy, or numpy.
            release: Gives memory back that is kept for later arrays.
        """
        self._arrays, self._release = arrays, release
        self._here = getattr(arrays, "asnumpy", np.asarray)
        self._cpu = CpuScorer()
        self._one_at_a_time = threading.Lock()
        self._rows: WeakKeyDictionary[Block, Any] = WeakKeyDictionary()
        self._hidden: WeakKeyDictionary[Part, Any] = WeakKeyDictionary()
        self._refused: WeakSet[Block] = WeakSet()
        self._is_short, self._is_lost, self._has_brought = False, False, False

    @property
    def accelerator(self) -> str:
        """See `Scorer.accelerator`."""
        return "cpu" if self._is_lost else "gpu and cpu" if self._is_short else "gpu"

    def candidates(self, parts: Sequence[Part], queries: Floats, count: int) -> Candidates:
        """See `Scorer.candidates`."""
        found = Candidates(len(queries), count, error_bound(queries.shape[1]))
        with self._one_at_a_time:
            if not self._is_lost:
                try:
                    self._score_all(parts, queries, found, count)
                except RuntimeError as exc:  # what CUDA, and its libraries, raise
                    logger.error("query.gpu.lost error=%s", _first_line(exc))  # noqa: TRY400  # told
                    self._is_lost = True
                    self._rows.clear()
                    self._hidden.clear()
            left = [part if part.block in self._refused else Part(part.block, 0) for part in parts]
        if self._is_lost:
            return self._cpu.candidates(parts, queries, count)
        if any(part.rows for part in left):
            found.merge(self._cpu.candidates(left, queries, count))
        return found

    def _score_all(
        self, parts: Sequence[Part], queries: Floats, found: Candidates, count: int
    ) -> None:
        """Every row that the device has room for."""
        for share in _shares(parts, _SCORES // len(queries)):
            some = [each for each in share if self._is_there(each[1])]
            while some:
                try:
                    self._score(some, queries, found, count)
                    break
                except MemoryError as exc:
                    self._refuse(some.pop()[1], exc)
        if self._has_brought:
            self._release()  # what arrays took on their way
            self._has_brought = False

    def _is_there(self, part: Part) -> bool:
        """Whether the device has a part's rows, or had room for them."""
        if part.block in self._refused:
            return False
        try:
            self._rows_there(part)
        except MemoryError as exc:
            self._refuse(part, exc)
            return False
        return True

    def _refuse(self, part: Part, exc: Exception) -> None:
        logger.warning("query.gpu.full rows=%d error=%s", part.rows, type(exc).__name__)
        self._rows.pop(part.block, None)
        self._refused.add(part.block)
        self._is_short = True

    def _score(
        self, parts: Sequence[_Numbered], queries: Floats, found: Candidates, count: int
    ) -> None:
        """Gives candidates among the rows of some parts.

        Rows are dealt into groups, one after the other, so that neighbours, which may be much the
        same, are in different ones. Where the best of `count` groups score s or more, so do `count`
        rows: only groups that reach it, less the error, can hold a candidate.
        """
        arrays, asked = self._arrays, len(queries)
        coarse = 1 << (max(_FEWEST_COARSE, _COARSE_FOR_EACH * count) - 1).bit_length()
        groups = _FINER * coarse
        starts = np.cumsum([0] + [part.rows for _, part in parts])
        of_each = -(-int(starts[-1]) // groups)
        there = [self._rows_there(part) for _, part in parts]
        scores = arrays.empty((of_each * groups, asked), np.float32)
        scores[int(starts[-1]) :] = -np.inf
        columns = arrays.asarray(queries).T
        for (_, part), rows, start in zip(parts, there, starts.tolist(), strict=False):
            share = scores[start : start + part.rows]
            arrays.matmul(rows, columns, out=share)
            if part.hidden is not None:
                arrays.copyto(share, -np.inf, where=self._hidden_there(part)[:, None])
        by_group = scores.reshape(of_each, groups * asked)
        best = by_group.max(axis=0)
        coarser = best.reshape(_FINER, coarse * asked).max(axis=0).reshape(coarse, asked)
        last = coarse - count
        floors = arrays.partition(coarser.T, last, axis=1)[:, last] - float(found.slack)
        floors = arrays.maximum(floors, _LOWEST)
        near = arrays.flatnonzero(best.reshape(groups, asked) >= floors)  # a group for a query
        scores = by_group[:, near]
        reached = arrays.flatnonzero(scores >= floors[near % asked])
        near, scores, reached = (
            self._here(each) for each in (near, scores.ravel()[reached], reached)
        )
        turn, place = np.divmod(reached, len(near))
        group, whose = np.divmod(near[place], asked)
        row = turn * groups + group
        part_of_each = np.searchsorted(starts, row, side="right") - 1
        numbers = np.array([number for number, _ in parts], np.int64)
        places = numbers[part_of_each] * BLOCK_ROWS + row - starts[part_of_each]
        found.add(places, whose, scores)

    def _rows_there(self, part: Part) -> Any:
        """Rows on the device, which are brought again only when some were appended."""
        there = self._rows.get(part.block)
        if there is None or there.shape[0] < part.rows:
            self._rows.pop(part.block, None)
            self._has_brought = True
            there = self._arrays.asarray(part.block.vectors[: part.rows])
            self._rows[part.block] = there
        return there[: part.rows]

    def _hidden_there(self, part: Part) -> Any:
        """Which rows a part does not see, on the device."""
        there = self._hidden.get(part)
        if there is None:
            there = self._hidden[part] = self._arrays.asarray(part.hidden)
        return there


def on_gpu() -> Scorer | None:
    """On the first GPU; None where there is none, or no CuPy that multiplies on it as it should."""
    arrays = _cupy()
    return None if arrays is None else GpuScorer(arrays, functools.partial(_release, arrays))


@functools.cache  # so that a server with many catalogues tells it once
def _cupy() -> Any:
    """CuPy, tried out, and kept to its share of the memory; None where it cannot be used."""
    try:
        import cupy

        pool = cupy.get_default_memory_pool()
        if not pool.get_limit():  # $CUPY_GPU_MEMORY_LIMIT sets one
            pool.set_limit(fraction=_SHARE)
        try_out(GpuScorer(cupy), cupy)
    except ImportError as exc:
        logger.warning(
            "query.gpu.unused error=%s install=%s",
            _first_line(exc),
            "pip install 'pocketlens[gpu]'",
        )
        return None
    except Exception as exc:  # whatever its driver, its compiler and its libraries may lack
        logger.warning("query.gpu.unused error=%s", _first_line(exc))
        return None
    return cupy


def try_out(scorer: GpuScorer, arrays: Any) -> None:
    """Multiplies and searches once: kernels compile, and products are as precise as they must be.

    Args:
        scorer: On a device.
        arrays: The module that makes its arrays.

    Raises:
        RuntimeError: It fails, or is less precise than float32.
    """
    dim, rng = 128, np.random.default_rng(1)
    rows = rng.standard_normal((4096, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries = rows[:16]
    products = arrays.matmul(arrays.asarray(rows), arrays.asarray(queries).T)
    exact = rows.astype(np.float64) @ queries.astype(np.float64).T
    here = getattr(arrays, "asnumpy", np.asarray)
    error = float(np.abs(here(products) - exact).max())
    if error > error_bound(dim):
        raise RuntimeError(
            f"Expected products of float32. Received an error of {error:.1e} (is CUPY_TF32 set?)."
        )
    keys = np.arange(len(rows), dtype=np.uint32)
    parts = exact_blocks.changed((), np.zeros(0, np.int64), keys, rows)
    found = scorer.candidates([parts[0].without(keys == 1)], queries, 1)
    nearest = [found.of(number).tolist()[:1] for number in range(3)]
    if scorer.accelerator != "gpu" or nearest[0] != [0] or nearest[2] != [2] or nearest[1] == [1]:
        raise RuntimeError("Expected a GPU that finds what is nearest. Received one that does not.")


def _release(cupy: Any) -> None:
    """What CuPy keeps for later arrays, on the GPU, where TensorFlow may want it, and here."""
    cupy.get_default_memory_pool().free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()


def _shares(parts: Sequence[Part], most: int) -> Iterator[list[_Numbered]]:
    """Parts with rows, so many at once that these are no more than `most`, or a single one."""
    share: list[_Numbered] = []
    rows = 0
    for number, part in enumerate(parts):
        if share and rows + part.rows > most:
            yield share
            share, rows = [], 0
        if part.rows:
            share.append((number, part))
            rows += part.rows
    if share:
        yield share


def _first_line(exc: Exception) -> str:
    return str(exc).partition("\n")[0]
