"""Exact search on a GPU, beside the CPU's threads and beside PyTorch's product and topk.

    python benchmarks/gpu_search.py [--sizes 10k,100k,1m,10m,1m_1280] [--seconds 200] [--json FILE]

Needs CuPy and a GPU; PyTorch is the rival where it is installed. Vectors are synthetic clusters of
128 numbers, or of 1280; the 20 nearest are wanted. All systems answer the same queries in turn, 1,
16 and 256 at a time, and give their answers to the CPU: ours exact keys and scores, PyTorch rows by
float32.

- exact: how many of the 20 nearest by float64 each system finds.
- search: milliseconds a call, the median and the 99th percentile.
- gpu: seconds of the first search, which copies; bytes on the device.

What is found is written after each size; none is begun after `--seconds`.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlens.cores import usable_cores
from pocketlens_server.query.candidates import Candidates
from pocketlens_server.query.exact_blocks import BLOCK_ROWS, Floats, Part
from pocketlens_server.query.exact_store import ExactStore
from pocketlens_server.query.gpu_scorer import on_gpu
from pocketlens_server.query.scorers import CpuScorer, Scorer
from pocketlens_server.query.vector_store import ImageRows, ProductRow, VersionChanges

GPU, CPU, CANDIDATES, TORCH = "PocketLens, GPU", "PocketLens, CPU", "candidates, GPU", "torch.topk"
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
SIZES = {
    "10k": (10_000, 128),
    "100k": (100_000, 128),
    "1m": (1_000_000, 128),
    "1m_1280": (1_000_000, 1280),
    "10m": (10_000_000, 128),
}
BATCHES = (1, 16, 256)
NEAREST = 20
SECONDS, MOST, FEWEST = 1.2, 300, 3  # for each system and batch; calls at most, and at least
NO_KEYS = np.zeros(0, np.uint32)

Ask = Callable[[Floats], npt.NDArray[np.int64]]
"""Queries (q, dim) to the rows of the nearest (q, NEAREST)."""


class Switched:
    """A scorer that can be another, so that one store is searched by both."""

    accelerator = "either"

    def __init__(self, now: Scorer) -> None:
        self.now = now

    def candidates(self, parts: Sequence[Part], queries: Floats, count: int) -> Candidates:
        return self.now.candidates(parts, queries, count)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write figures there")
    parser.add_argument("--sizes", default=",".join(SIZES), help=f"of {','.join(SIZES)}")
    parser.add_argument("--seconds", type=float, default=200, help="no size is begun after them")
    arguments = parser.parse_args()
    sizes = arguments.sizes.split(",")
    if not set(sizes) <= set(SIZES):
        parser.error(f"--sizes: expected some of {', '.join(SIZES)}")
    if not ONE_THREAD.items() <= os.environ.items():  # numpy reads them when it is loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)  # noqa: S606  # itself again
    scorer = on_gpu()
    if scorer is None:
        talk("Expected CuPy and a GPU. Received none that answers as it should.")
        return 1
    figures: dict[str, Any] = {"gpu": gpu_name(), "cores": usable_cores()}
    goals: list[dict[str, Any]] = []
    begun = perf_counter()
    for size in sizes:
        if perf_counter() - begun > arguments.seconds:
            talk(f"{size}: left out, {arguments.seconds:.0f} seconds are over")
            continue
        figures[size] = measure(size, *SIZES[size])
        share = figures[size]["exact"][GPU]
        goals.append({"name": f"{size}_exact", "value": share, "goal": 1, "met": share == 1})
        if arguments.json:
            text = json.dumps({"figures": figures, "goals": goals}, indent=1)
            arguments.json.write_text(text + "\n")
    return 0 if all(goal["met"] for goal in goals) else 1


def measure(size: str, count: int, dim: int) -> dict[str, Any]:
    """Everything about one size."""
    figures: dict[str, Any] = {}
    begun = perf_counter()
    rows, queries = clustered(count, dim)
    scorers = {GPU: on_gpu(), CPU: CpuScorer()}
    switch = Switched(CpuScorer())
    store = ExactStore(dim, switch)
    images = ImageRows(np.arange(1, count + 1, dtype=np.uint32), rows, [(1,)] * count)
    store.apply(VersionChanges(0, 1, NO_KEYS, NO_KEYS, images, [ProductRow(1)]))
    truth = exact(rows, queries[:16])
    figures["made_s"] = perf_counter() - begun

    def asked_of(name: str) -> Ask:
        def ask(queries: Floats) -> npt.NDArray[np.int64]:
            switch.now = scorers[name]
            with store.view() as view:
                found = view.search(queries, NEAREST)
            return np.array([each.keys.astype(np.int64) - 1 for each in found])

        return ask

    def candidates(queries: Floats) -> npt.NDArray[np.int64]:
        with store.view() as view:
            found = scorers[GPU].candidates(view.parts, queries, NEAREST)
        return np.array([found.of(number)[:NEAREST] for number in range(len(queries))])

    before = held_bytes()
    begun = perf_counter()
    asked_of(GPU)(queries[:1])
    figures["gpu"] = {"first_search_s": perf_counter() - begun}
    systems = {GPU: asked_of(GPU), CANDIDATES: candidates, CPU: asked_of(CPU)}
    figures["search"] = {}
    for batch in BATCHES:  # of the GPU alone, for its memory
        systems[GPU](queries[:batch])
    figures["gpu"]["bytes"] = held_bytes() - before
    if torch := torch_of(rows):
        systems[TORCH] = torch
    figures["exact"] = {
        name: share_found(ask, queries, truth)
        for name, ask in systems.items()
        if name != CANDIDATES
    }
    talk(f"{size}: exact: {rounded(figures['exact'])}; gpu: {rounded(figures['gpu'])}")
    for batch in BATCHES:
        found = timed(systems, queries, batch)
        figures["search"][f"{batch} at once"] = found
        for name, times in found.items():
            talk(f"{size}: {batch} at once: {name}: {rounded(times)}")
    figures["accelerator"] = scorers[GPU].accelerator
    talk(f"{size}: {figures['accelerator']}")
    return figures


def clustered(count: int, dim: int) -> tuple[Floats, Floats]:
    """Unit rows about so many centres that each has a hundred, and 512 queries near some."""
    centres = np.random.default_rng(1).standard_normal((max(100, count // 100), dim), np.float32)

    def near(seed: int, count: int) -> Floats:
        rng = np.random.default_rng((2, seed))
        found = centres[rng.integers(0, len(centres), count)]
        found += 0.7 * rng.standard_normal((count, dim), np.float32)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return found

    rows = np.empty((count, dim), np.float32)

    def fill(start: int) -> None:
        rows[start : start + BLOCK_ROWS] = near(start, min(BLOCK_ROWS, count - start))

    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(fill, range(0, count, BLOCK_ROWS)))
    return rows, near(count, 512)


def exact(rows: Floats, queries: Floats) -> npt.NDArray[np.int64]:
    """The nearest rows by float64."""
    wanted = queries.astype(np.float64).T

    def some(start: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        scores = (rows[start : start + BLOCK_ROWS].astype(np.float64) @ wanted).T
        near = np.argpartition(-scores, NEAREST, axis=1)[:, :NEAREST]
        return near + start, np.take_along_axis(scores, near, axis=1)

    with ThreadPoolExecutor(usable_cores()) as pool:
        found = list(pool.map(some, range(0, len(rows) - NEAREST, BLOCK_ROWS)))
    near = np.concatenate([each[0] for each in found], axis=1)
    scores = np.concatenate([each[1] for each in found], axis=1)
    order = np.argsort(-scores, axis=1)[:, :NEAREST]
    return np.take_along_axis(near, order, axis=1)


def torch_of(rows: Floats) -> Ask | None:
    """PyTorch's product, at full precision, and its topk: what one would write by hand."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_float32_matmul_precision("highest")
    there = torch.from_numpy(rows).cuda()

    def ask(queries: Floats) -> npt.NDArray[np.int64]:
        scores = torch.from_numpy(queries).cuda() @ there.T
        found: npt.NDArray[np.int64] = torch.topk(scores, NEAREST).indices.cpu().numpy()
        return found

    return ask


def share_found(ask: Ask, queries: Floats, truth: npt.NDArray[np.int64]) -> float:
    """Of the nearest by float64, asked one and many at a time."""
    found = [ask(queries[:256])[:16], np.concatenate([ask(query[None]) for query in queries[:16]])]
    hits = [
        len(np.intersect1d(mine, right))
        for each in found
        for mine, right in zip(each, truth, strict=True)
    ]
    return float(np.mean(hits)) / NEAREST


def timed(systems: Mapping[str, Ask], queries: Floats, batch: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each system, asked in turn until its time is over."""
    spent: dict[str, list[float]] = {name: [] for name in systems}
    for turn in range(MOST):
        start = (turn * batch) % (len(queries) - batch + 1)
        some = queries[start : start + batch]
        for name, ask in systems.items():
            if sum(spent[name]) > SECONDS and len(spent[name]) >= FEWEST:
                continue
            begun = perf_counter()
            ask(some)
            spent[name].append(perf_counter() - begun)
    return {
        name: {
            "p50_ms": float(np.median(times[1:]) * 1e3),  # the first compiles, or makes room
            "p99_ms": float(np.percentile(times[1:], 99) * 1e3),
            "calls": len(times) - 1,
        }
        for name, times in spent.items()
    }


def gpu_name() -> str:
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())


def held_bytes() -> int:
    """By arrays; those of the size before, which hold each other, have gone."""
    import cupy

    gc.collect()
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    return int(pool.total_bytes())


def rounded(values: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in values.items())


def talk(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
