"""Search over 10 k, 100 k and 1 M embeddings, beside Annoy, usearch and faiss.

    python benchmarks/search.py --model SHOP.tflite [--quick] [--json FILE] [--sizes 10k,100k,1m]
        [--embeddings FILE.npz] [--work FOLDER] [--results FOLDER]

The pictures of the sets in $POCKETLENS_SHARED/data (by default ../shared/data) are embedded by the
bundle and spread (see vectors.py); without a bundle, or without the pictures, synthetic clusters
take their place, and the output says so. All systems answer the same queries in turn, a few dozen
at a time, in one thread, so that other load on the machine meets all of them alike.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import search_ours
import vectors
from search_rivals import System, rivals
from vectors import Embeddings, Floats

from pocketlens.formats import bundle as bundles
from pocketlens.options import MIB
from pocketlens.query import codes
from pocketlens.store.reader import Reader

OURS = "PocketLens"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
SIZES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
RECALL = 0.975
CHUNK = 37  # queries asked of one system before the next has its turn


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 k rows, few settings, few queries")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    parser.add_argument("--sizes", default="", help="of 10k,100k,1m; all by default")
    parser.add_argument("--model", type=Path, help="the bundle whose embeddings are searched")
    parser.add_argument("--embeddings", type=Path, help="what vectors.py wrote; else embedded here")
    parser.add_argument("--work", type=Path, help="keeps what rivals built for the next run")
    parser.add_argument("--results", type=Path, help="folder for the chart")
    arguments = parser.parse_args()
    sizes = (
        arguments.sizes.split(",") if arguments.sizes else ["10k"] if arguments.quick else [*SIZES]
    )
    if not set(sizes) <= set(SIZES):
        parser.error(f"--sizes: expected some of {', '.join(SIZES)}")
    if not ONE_THREAD.items() <= os.environ.items():  # numpy reads them when it is loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)  # noqa: S606  # itself again
    embeddings, model = _embeddings(arguments)
    talk(f"vectors: {embeddings.source}")
    if arguments.quick:
        talk("quick: few queries and settings, not the full measurement")
    figures: dict[str, Any] = {"vectors": embeddings.source, "quick": arguments.quick}
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        for size in sizes:
            figures[size] = measure(size, embeddings, model, work, quick=arguments.quick)
            if arguments.json:  # what is known so far, should a long run be cut short
                _write(arguments.json, figures)
    goals = goals_of(figures)
    for goal in goals:
        value = "none" if goal["value"] is None else f"{goal['value']:.4g}"
        talk(f"goal: {goal['name']}: {value} ({goal['goal']}) {'met' if goal['met'] else 'MISSED'}")
    if arguments.json:
        _write(arguments.json, figures)
    if arguments.results:
        import search_chart

        arguments.results.mkdir(parents=True, exist_ok=True)
        curves = {size: figures[size]["curves"] for size in sizes}
        search_chart.draw(curves, arguments.results / "search.png")
    return 0


def measure(
    size: str, embeddings: Embeddings, model: Path | None, work: Path, *, quick: bool
) -> dict[str, Any]:
    """Everything about one size."""
    rows = vectors.spread(embeddings.gallery, SIZES[size])
    queries = embeddings.queries[:: 4 if quick else 1]
    talk(f"{size}: making the store of {len(rows):,} rows")
    store = search_ours.make_store(rows, embeddings, model, work)
    truth = exact(rows, queries)
    report = store.report
    figures: dict[str, Any] = {
        "store": {
            "lists": report.lists,
            "probes": report.probes,
            "probes_estimated": report.probes_estimated,
            "index_s": store.build_s,
            "bytes_an_item": search_ours.vector_bytes(store) / report.images,
            "tables_bytes_an_item": search_ours.measure_tables(store),
        }
    }
    talk(
        f"{size}: {report.lists} lists, {report.probes} probes, {store.build_s:.1f} s, "
        f"{figures['store']['bytes_an_item']:.1f} bytes an item"
    )
    figures["cold"] = search_ours.measure_cold(store, queries, work, 1 if quick else 5)
    talk(f"{size}: cold {figures['cold']}")
    with Reader.open(store.directory) as reader:
        figures["codes"] = code_recall(rows, queries, truth, reader.facts.scale, embeddings, model)
        talk(f"{size}: all codes scanned {figures['codes']}")
        if store.eligible:
            figures["filters"] = search_ours.measure_filters(store, reader, rows, queries)
            for name, filtered in figures["filters"].items():
                talk(f"{size}: filter {name} {rounded(filtered)}")
        systems = _our_systems(size, store, reader, rows, embeddings, model)
        for system in rivals(rows, report.lists if report.lists > 1 else 200, work, quick=quick):
            talk(f"{size}: built {system.name} in {system.build_s:.1f} s")
            systems.append(system)
        figures["systems"] = {
            system.name: {
                "knob": system.knob,
                "build_s": system.build_s,
                "bytes_an_item": system.bytes_an_item,
            }
            for system in systems
        }
        figures["curves"] = curves(systems, queries, truth, rounds=2 if quick else 4)
        figures["fitted"] = fitted(reader, queries, truth)
    for name, points in figures["curves"].items():
        for point in points:
            talk(f"{size}: {name:40} {rounded(point)}")
    talk(f"{size}: with the fitted probes {rounded(figures['fitted'])}")
    return figures


def _our_systems(
    size: str,
    store: search_ours.Store,
    reader: Reader,
    rows: Floats,
    embeddings: Embeddings,
    model: Path | None,
) -> list[System]:
    def made(name: str, **how: Any) -> System:
        return search_ours.store_system(store, reader, name, **how)

    every, scale = search_ours.ALL_LISTS, reader.facts.scale
    systems = [
        made(OURS, cache_bytes=32 * MIB),
        made(f"{OURS}, lists from the disk", cache_bytes=0),
    ]
    if size == "1m":
        systems += [
            made(f"{OURS}, all lists in memory", cache_bytes=every),
            made(f"{OURS}, all in memory, exact codebook", cache_bytes=every, codebook="exact"),
            *search_ours.fine_systems(rows, scale, feedback(embeddings, model, scale)),
        ]
    elif reader.facts.lists > 1:
        systems.append(made(f"{OURS}, Annoy codebook", cache_bytes=32 * MIB, codebook="annoy"))
    return systems


def curves(
    systems: Sequence[System], queries: Floats, truth: npt.NDArray[np.integer], *, rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Recall and times of every setting of every system, asked in turn."""
    cases = [(system, setting) for system in systems for setting in system.settings]
    times: list[list[float]] = [[] for _ in cases]
    recalls = [
        np.mean(
            [
                len(np.intersect1d(right, system.ask(query, setting))) / 10
                for query, right in zip(queries, truth, strict=True)
            ]
        )
        for system, setting in cases
    ]
    rng = np.random.default_rng(1)
    for _ in range(rounds):
        for start in range(0, len(queries), CHUNK):
            for case in rng.permutation(len(cases)):
                system, setting = cases[case]
                system.ask(queries[start - 1], setting)  # its own data is in the caches again
                for query in queries[start : start + CHUNK]:
                    started = perf_counter()
                    system.ask(query, setting)
                    times[case].append(perf_counter() - started)
    found: dict[str, list[dict[str, float]]] = {system.name: [] for system in systems}
    for (system, setting), recall, spent in zip(cases, recalls, times, strict=True):
        found[system.name].append(
            {
                "setting": setting,
                "recall_at_10": float(recall),
                "p50_ms": float(np.percentile(spent, 50) * 1e3),
                "p99_ms": float(np.percentile(spent, 99) * 1e3),
            }
        )
    return found


def fitted(reader: Reader, queries: Floats, truth: npt.NDArray[np.integer]) -> dict[str, float]:
    """Images and whole matches with the probes that the store was made with."""
    found = search_ours.searcher(reader, probes=None, cache_bytes=32 * MIB)
    hits = [
        len(np.intersect1d(right + 1, found.nearest_images(query, 10).image_keys)) / 10
        for query, right in zip(queries, truth, strict=True)
    ]
    images, matches = [], []
    for _ in range(3):
        for query in queries:
            started = perf_counter()
            found.nearest_images(query, 10)
            images.append(perf_counter() - started)
        for query in queries:
            started = perf_counter()
            found.search(query, 10)
            matches.append(perf_counter() - started)
    return {
        "probes": reader.facts.probes,
        "recall_at_10": float(np.mean(hits)),
        "images_p50_ms": float(np.percentile(images, 50) * 1e3),
        "images_p99_ms": float(np.percentile(images, 99) * 1e3),
        "matches_p50_ms": float(np.percentile(matches, 50) * 1e3),
        "matches_p99_ms": float(np.percentile(matches, 99) * 1e3),
    }


def code_recall(
    rows: Floats,
    queries: Floats,
    truth: npt.NDArray[np.integer],
    scale: Floats,
    embeddings: Embeddings,
    model: Path | None,
) -> dict[str, float]:
    """Recall of scanning every code: no setting of ours can go beyond it."""
    found = {}
    shaped = feedback(embeddings, model, scale)
    for name, how in (("rounded_plainly", None), ("rounded_with_feedback", shaped)):
        hits = np.zeros(len(queries))
        best = _Best(len(queries), 10)
        for start in range(0, len(rows), 50_000):
            block = codes.decode(codes.encode(rows[start : start + 50_000], scale, how), scale)
            best.offer(queries @ block.T, start)
        hits = [len(np.intersect1d(a, b)) for a, b in zip(truth, best.rows, strict=True)]
        found[f"recall_at_10_{name}"] = float(np.mean(hits)) / 10
    return found


def feedback(embeddings: Embeddings, model: Path | None, scale: Floats) -> Floats | None:
    """What `index` rounds codes with."""
    if model is None:
        return codes.feedback_of(scale, embeddings.gallery[::8], embeddings.fitting)
    representative = bundles.decode(model.read_bytes()).representative
    return codes.feedback_of(scale, representative, embeddings.fitting)


def exact(rows: Floats, queries: Floats) -> npt.NDArray[np.integer]:
    """Rows of the ten nearest by exact float search: (queries, 10)."""
    best = _Best(len(queries), 10)
    for start in range(0, len(rows), 50_000):
        best.offer(queries @ rows[start : start + 50_000].T, start)
    return best.rows


class _Best:
    def __init__(self, queries: int, count: int) -> None:
        self.similarities = np.full((queries, count), -np.inf, np.float32)
        self.rows = np.zeros((queries, count), np.int64)

    def offer(self, similarities: Floats, first: int) -> None:
        count = self.rows.shape[1]
        near = np.argpartition(-similarities, count - 1, axis=1)[:, :count]
        merged = np.concatenate(
            [self.similarities, np.take_along_axis(similarities, near, axis=1)], axis=1
        )
        numbers = np.concatenate([self.rows, near + first], axis=1)
        order = np.argsort(-merged, axis=1, kind="stable")[:, :count]
        self.similarities = np.take_along_axis(merged, order, axis=1)
        self.rows = np.take_along_axis(numbers, order, axis=1)


def time_at(points: Sequence[Mapping[str, float]], recall: float) -> float | None:
    """Median ms at a recall, between the two settings around it; None beyond the curve."""
    best = sorted((point["recall_at_10"], point["p50_ms"]) for point in points)
    # A setting that costs more and finds no more is no part of a curve.
    front = [
        (found, spent)
        for found, spent in best
        if spent <= min(other for at_least, other in best if at_least >= found)
    ]
    if not front or recall > front[-1][0]:
        return None
    if recall <= front[0][0]:
        return front[0][1]
    recalls, times = zip(*front, strict=True)
    return float(np.exp(np.interp(recall, recalls, np.log(times))))


def best_time(curves: Mapping[str, Any], name: str, recall: float) -> float | None:
    """The least time at a recall of all systems whose name begins so."""
    times = [time_at(points, recall) for each, points in curves.items() if each.startswith(name)]
    return min((each for each in times if each is not None), default=None)


def share_of(curves: Mapping[str, Any], rival: str) -> tuple[float, float | None]:
    """Our time by a rival's, and the recall of both: RECALL, or the most that the rival gets to.

    At its very end a curve is flat and its time says nothing: 0.002 less are compared there.
    """
    highest = max(
        point["recall_at_10"]
        for name, points in curves.items()
        if name.startswith(rival)
        for point in points
    )
    recall = RECALL if highest >= RECALL else highest - 0.002
    mine, theirs = time_at(curves[OURS], recall), best_time(curves, rival, recall)
    return recall, None if mine is None or theirs is None else mine / theirs


def goals_of(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each goal with its value, and whether it is met; only those of sizes that were measured."""
    goals: list[dict[str, Any]] = []

    def goal(name: str, value: float | None, wanted: str, met: bool) -> None:
        goals.append({"name": name, "value": value, "goal": wanted, "met": met})

    if "100k" in figures:
        found = figures["100k"]
        highest = max(point["recall_at_10"] for point in found["curves"][OURS])
        goal("100k_recall_at_10", highest, f">= {RECALL}", highest >= RECALL)
        for rival, limit in (("Annoy", 0.45), ("faiss IVF632,SQ8", 2.0)):
            recall, ratio = share_of(found["curves"], rival)
            label = rival.replace(" ", "_").replace(",", "_")
            name = f"100k_share_of_the_time_of_{label}_at_{recall:.3f}"
            goal(name, ratio, f"<= {limit}", ratio is not None and ratio <= limit)
        first, resident = found["cold"]["first_answer_ms"], found["cold"]["resident_mb"]
        goal("100k_cold_first_answer_ms", first, "<= 300", first <= 300)
        goal("100k_resident_mb", resident, "<= 120", resident <= 120)
    for size in ("100k", "1m"):
        if size in figures:
            value = figures[size]["store"]["bytes_an_item"]
            goal(f"{size}_bytes_an_item", value, "<= 165", value <= 165)
    if "1m" in figures:
        for name in (OURS, f"{OURS}, all lists in memory"):
            ratio, met = _against_usearch(figures["1m"]["curves"], name)
            label = name.replace(", ", "_").replace(" ", "_")
            goal(f"1m_{label}_time_of_usearch_int8_at_recalls_of_0.90_and_more", ratio, "<= 1", met)
    for size in ("10k", "100k"):
        for name, filtered in figures.get(size, {}).get("filters", {}).items():
            recall, fewest = filtered["recall_at_10"], filtered["fewest_products"]
            goal(f"{size}_filter_{name}_recall_at_10", recall, ">= 0.97", recall >= 0.97)
            least = min(10, filtered["matching"])
            goal(f"{size}_filter_{name}_fewest_products", fewest, f">= {least}", fewest >= least)
    return goals


def _against_usearch(curves: Mapping[str, Any], name: str) -> tuple[float | None, bool]:
    """Our time by that of usearch int8, at its worst for us over its recalls of 0.90 and more."""
    ratios: list[float] = []
    for system, points in curves.items():
        if not system.startswith("usearch int8"):
            continue
        for point in points:
            if point["recall_at_10"] >= 0.90:
                mine = time_at(curves[name], point["recall_at_10"])
                if mine is None:
                    return None, False
                ratios.append(mine / point["p50_ms"])
    return (max(ratios), max(ratios) <= 1) if ratios else (None, True)


def _embeddings(arguments: argparse.Namespace) -> tuple[Embeddings, Path | None]:
    if arguments.embeddings:
        return vectors.load(arguments.embeddings), arguments.model
    if arguments.model and vectors.data_folder().exists():
        return vectors.embed(arguments.model, every=10 if arguments.quick else 1), arguments.model
    return vectors.synthetic(), None


def _write(path: Path, figures: Mapping[str, Any]) -> None:
    path.write_text(json.dumps({"figures": figures, "goals": goals_of(figures)}, indent=1) + "\n")


def rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()
    }


def talk(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
