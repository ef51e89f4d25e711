"""Exact search of 100 k and 1 M float32 vectors in a server, beside faiss Flat and plain numpy.

    python benchmarks/exact_search.py [--quick] [--json FILE] [--sizes 10k,100k,1m]
        [--embeddings FILE.npz]

Vectors are those that vectors.py spread, or synthetic clusters without --embeddings; of 128 numbers
each. All systems answer the same queries in turn, one and 16 at a time, in one thread and in one a
core, so that other load on the machine meets all of them alike. BLAS has one thread, as in `serve`.

- exact: how many of the 20 nearest by float64 each system finds.
- search: milliseconds a call, and ours by each rival's.
- filters: ours where a half, a tenth and a hundredth of the images satisfy a filter.
- memory: resident bytes an image; versions: seconds and bytes to apply 1,000 changed images.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import os
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import vectors
from vectors import Floats

from pocketlens.query.filters import Filter
from pocketlens_server.catalogue.decoders import usable_cores
from pocketlens_server.query.exact_store import ExactStore
from pocketlens_server.query.scorers import CpuScorer
from pocketlens_server.query.vector_store import ImageRows, ProductRow, VersionChanges

OURS, FAISS, NUMPY = "PocketLens", "faiss Flat", "numpy"
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
SIZES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
BATCHES = (1, 16)
NEAREST = 20
PRODUCTS = 4  # images of each
CHANGED = 1000
LOADED = 50_000  # rows put at once, so that few are held twice
SHARES = {"a half": Filter(category="2"), "a tenth": Filter(category="10")}
SHARES["a hundredth"] = Filter(category="100")
NO_KEYS = np.zeros(0, np.uint32)

Ask = Callable[[Floats], npt.NDArray[np.int64]]
"""Queries (q, dim) to the rows of the nearest (q, NEAREST)."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 k rows, few rounds")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    parser.add_argument("--sizes", default="", help="of 10k,100k,1m; the last two by default")
    parser.add_argument("--embeddings", type=Path, help="what vectors.py wrote; else synthetic")
    arguments = parser.parse_args()
    sizes = arguments.sizes or ("10k" if arguments.quick else "100k,1m")
    if not set(sizes.split(",")) <= set(SIZES):
        parser.error(f"--sizes: expected some of {', '.join(SIZES)}")
    if not ONE_THREAD.items() <= os.environ.items():  # numpy reads them when it is loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)  # noqa: S606  # itself again
    found = vectors.load(arguments.embeddings) if arguments.embeddings else vectors.synthetic()
    talk(f"vectors: {found.source}")
    figures: dict[str, Any] = {
        "vectors": found.source,
        "quick": arguments.quick,
        "cores": usable_cores(),
    }
    for size in sizes.split(","):
        rows = vectors.spread(found.gallery, SIZES[size])
        queries = np.ascontiguousarray(found.queries[: 2 * max(BATCHES)])
        figures[size] = measure(size, rows, queries, rounds=4 if arguments.quick else 12)
    goals = goals_of(figures)
    for goal in goals:
        outcome = "met" if goal["met"] else "MISSED"
        talk(f"goal: {goal['name']}: {goal['value']:.4g} ({goal['goal']}) {outcome}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=1) + "\n")
    return 0


def measure(size: str, rows: Floats, queries: Floats, *, rounds: int) -> dict[str, Any]:
    """Everything about one size."""
    figures: dict[str, Any] = {}
    before, started = resident_bytes(), perf_counter()
    store = made_store(rows, usable_cores())
    figures["load_s"] = perf_counter() - started
    figures["resident_bytes_an_image"] = (resident_bytes() - before) / len(rows)
    talk(f"{size}: {rounded(figures)}")
    systems = systems_of(rows, {1: made_store(rows, 1), usable_cores(): store})
    truth = exact(rows, queries)
    figures["exact"] = {
        f"{name}, {threads} threads": share_found(ask, queries, truth)
        for (name, threads), ask in systems.items()
    }
    talk(f"{size}: share of the {NEAREST} nearest: {rounded(figures['exact'])}")
    figures["search"] = timed(systems, queries, rounds)
    figures["ratios"] = ratios_of(figures["search"])
    for case, ratio in figures["ratios"].items():
        talk(f"{size}: {case}: {ratio:.3f}")
    for case, times in figures["search"].items():
        talk(f"{size}: {case}: {rounded(times)} ms")
    figures["filters"] = filtered(store, queries, rounds)
    talk(f"{size}: filters: {rounded(figures['filters'])} ms")
    figures["versions"] = versions_of(store, rows)
    talk(f"{size}: versions: {rounded(figures['versions'])}")
    return figures


def made_store(rows: Floats, threads: int) -> ExactStore:
    """With image i + 1 for row i; an image shows product 1 + i // PRODUCTS."""
    store = ExactStore(rows.shape[1], CpuScorer(threads))
    for start in range(0, len(rows), LOADED):
        end = min(start + LOADED, len(rows))
        numbers = np.arange(start, end)
        products = [
            ProductRow(1 + product, category=category(product), price=product, currency="EUR")
            for product in range(-(-start // PRODUCTS), -(-end // PRODUCTS))
        ]
        images = ImageRows(
            (numbers + 1).astype(np.uint32),
            rows[start:end],
            [(1 + number // PRODUCTS,) for number in numbers.tolist()],
        )
        changes = VersionChanges(
            store.version, store.version + 1, NO_KEYS, NO_KEYS, images, products
        )
        store.apply(changes)
    return store


def category(product: int) -> str:
    """One in so many products has it."""
    return next((str(each) for each in (100, 10, 2) if product % each == 1), "")


def systems_of(rows: Floats, stores: Mapping[int, ExactStore]) -> dict[tuple[str, int], Ask]:
    """Every system in as many threads as there are stores for, by name and threads."""
    import faiss

    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)

    def ask_ours(threads: int, queries: Floats) -> npt.NDArray[np.int64]:
        with stores[threads].view() as view:
            found = view.search(queries, NEAREST)
        return np.array([each.keys.astype(np.int64) - 1 for each in found])

    def ask_faiss(threads: int, queries: Floats) -> npt.NDArray[np.int64]:
        faiss.omp_set_num_threads(threads)
        found: npt.NDArray[np.int64] = index.search(queries, NEAREST)[1]
        return found

    def ask_numpy(threads: int, queries: Floats) -> npt.NDArray[np.int64]:
        shares = np.array_split(rows, threads)
        parts = list(pools[threads].map(lambda share: share @ queries.T, shares))
        scores = np.concatenate(parts)
        last = len(scores) - NEAREST
        found = []
        for column in np.ascontiguousarray(scores.T):
            near = np.argpartition(column, last)[last:]
            found.append(near[np.argsort(-column[near])])
        return np.array(found)

    pools = {threads: ThreadPoolExecutor(threads) for threads in stores}
    return {
        (name, threads): partial(ask, threads)
        for threads in sorted(stores)
        for name, ask in ((OURS, ask_ours), (FAISS, ask_faiss), (NUMPY, ask_numpy))
    }


def exact(rows: Floats, queries: Floats) -> npt.NDArray[np.int64]:
    """The nearest rows by float64."""
    found = []
    for query in queries.astype(np.float64):
        scores = np.concatenate(
            [rows[start : start + LOADED] @ query for start in range(0, len(rows), LOADED)]
        )
        near = np.argpartition(-scores, NEAREST)[:NEAREST]
        found.append(near[np.argsort(-scores[near], kind="stable")])
    return np.array(found)


def share_found(ask: Ask, queries: Floats, truth: npt.NDArray[np.int64]) -> float:
    """Of the nearest by float64, asked one and many at a time."""
    found = [ask(queries), np.concatenate([ask(query[None]) for query in queries[:8]])]
    hits = [
        len(np.intersect1d(mine, right))
        for each in found
        for mine, right in zip(each, truth, strict=False)
    ]
    return float(np.mean(hits)) / NEAREST


def timed(
    systems: Mapping[tuple[str, int], Ask], queries: Floats, rounds: int
) -> dict[str, dict[str, float]]:
    """Milliseconds of each system, asked in turn."""
    spent: dict[tuple[int, int, str], list[float]] = {}
    rng = np.random.default_rng(1)
    cases = list(systems)
    for turn in range(rounds):
        for batch in BATCHES:
            start = (turn * batch) % (len(queries) - batch + 1)
            some = queries[start : start + batch]
            for place in rng.permutation(len(cases)):
                name, threads = cases[place]
                begun = perf_counter()
                systems[cases[place]](some)
                spent.setdefault((batch, threads, name), []).append(perf_counter() - begun)
    return {
        f"{batch} at once, {threads} threads, {name}": {
            "p50": float(np.median(times) * 1e3),
            "least": min(times) * 1e3,
        }
        for (batch, threads, name), times in sorted(spent.items())
    }


def ratios_of(search: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Our median time by each rival's, as many at once and in as many threads."""
    return {
        f"{case.removesuffix(rival)}{OURS} by {rival}": (
            search[case.removesuffix(rival) + OURS]["p50"] / times["p50"]
        )
        for rival in (FAISS, NUMPY)
        for case, times in search.items()
        if case.endswith(rival)
    }


def filtered(store: ExactStore, queries: Floats, rounds: int) -> dict[str, float]:
    """Median milliseconds of one query with filters that so many images satisfy."""
    found = {}
    with store.view() as view:
        for name, wanted in {"all": None, **SHARES}.items():
            spent = []
            for query in queries[: rounds + 1]:
                begun = perf_counter()
                view.search(query[None], NEAREST, wanted=wanted)
                spent.append((perf_counter() - begun) * 1e3)
            found[f"{name}, first"], found[name] = spent[0], float(np.median(spent[1:]))
    return found


def versions_of(store: ExactStore, rows: Floats) -> dict[str, float]:
    """What it takes to apply versions, and what each holds that the one before did not."""
    rng = np.random.default_rng(2)

    def change() -> VersionChanges:
        chosen = np.sort(rng.choice(len(rows), min(CHANGED, len(rows) // 2), replace=False))
        shown = [(1 + number // PRODUCTS,) for number in chosen.tolist()]
        images = ImageRows((chosen + 1).astype(np.uint32), rows[chosen], shown)
        products = [ProductRow(key, category="new") for (key,) in dict.fromkeys(shown)]
        return VersionChanges(store.version, store.version + 1, NO_KEYS, NO_KEYS, images, products)

    spent = []
    for _ in range(7):
        changes = change()
        begun = perf_counter()
        store.apply(changes)
        spent.append(perf_counter() - begun)
    changes = change()
    tracemalloc.start()
    with store.view() as _before:  # held, so that what the new one has for itself is seen
        store.apply(changes)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "changed_images": float(len(changes.images.keys)),
        "apply_ms": float(np.median(spent) * 1e3),
        "held_mb": held / 1e6,
        "peak_mb": peak / 1e6,
    }


def goals_of(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each goal with its value, and whether it is met; only those of sizes that were measured."""
    goals = []
    for size in SIZES:
        if size not in figures:
            continue
        found = figures[size]
        share = min(value for name, value in found["exact"].items() if name.startswith(OURS))
        goals.append({"name": f"{size}_exact", "value": share, "goal": "1", "met": share == 1})
        for batch in BATCHES:
            times = {
                case: each["p50"]
                for case, each in found["search"].items()
                if case.startswith(f"{batch} at once")
            }
            ours, faiss = (
                min(time for case, time in times.items() if case.endswith(name))
                for name in (OURS, FAISS)
            )
            name = f"{size}_{batch}_at_once_share_of_the_time_of_faiss"
            ratio = ours / faiss  # each in as many threads as suit it
            goals.append({"name": name, "value": ratio, "goal": "<= 1", "met": ratio <= 1})
    return goals


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def rounded(values: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in values.items())


def talk(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
