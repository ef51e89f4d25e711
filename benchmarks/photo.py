"""From a phone's JPEG to the top ten of 100,000, beside the straightforward pipelines.

    python benchmarks/photo.py [--model SHOP.tflite] [--quick] [--json FILE] [--embeddings FILE.npz]

Three pipelines take each photo in turn, in an order that turns too, so that other load on the
machine meets them alike: PocketLens (a Lens, which also reads the products it finds), the same
steps with Pillow's full decode, LiteRT and usearch (float16, cosine), and those with Pillow's
scaled decode (`thumbnail` with a reducing gap of 2). All use one thread. A ratio is the median over
rounds of one photo's; the figure is the median of its photos.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os

# Before numpy is loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import search_ours
import vectors
from PIL import Image, ImageOps
from vectors import Floats

from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Spec
from pocketlens.lens import Lens

K = 10
EXPANSION = 64  # of usearch: about our recall
TINY = Path(__file__).resolve().parent.parent / "tests/conformance/vectors/tiny_bundle.tflite"
STAGES = ("decode_ms", "embed_ms", "search_ms")
LARGE = 9.0, 13.0  # megapixels of the goals' photos

MEMORY = """
import json, sys
from pocketlens.lens import Lens
def kb(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))
with Lens.open(sys.argv[1], accelerator="cpu") as lens:
    for photo in sys.argv[2:]:
        lens.search(photo, 10)
    print(json.dumps([kb("VmRSS") / 1024, kb("VmHWM") / 1024]))
"""


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo to search with."""

    path: Path
    megapixels: float


Pipeline = Callable[[Path], dict[str, float]]
"""Milliseconds of each stage, for one photo."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 k rows, few rounds, large photos")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    parser.add_argument("--model", type=Path, help="the bundle; a tiny one by default")
    parser.add_argument("--embeddings", type=Path, help="what vectors.py wrote; else synthetic")
    parser.add_argument("--rounds", type=int, help="40 by default, 5 when quick")
    arguments = parser.parse_args()
    model, count = arguments.model or TINY, 10_000 if arguments.quick else 100_000
    dim = bundles.decode(model.read_bytes()).spec.dim
    rows = vectors.spread(_embeddings(arguments.embeddings, dim).gallery, count)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        photos = list(_photos(work))
        if arguments.quick:
            photos = [photo for photo in photos if LARGE[0] <= photo.megapixels < LARGE[1]]
        source = _embeddings(arguments.embeddings, dim)
        store = search_ours.make_store(rows, source, model, work).directory
        rounds = arguments.rounds or (5 if arguments.quick else 40)
        figures: dict[str, Any] = {
            "quick": arguments.quick,
            "model": model.name,
            "rows": count,
            "rounds": rounds,
            "vectors": source.source,
            **measure(store, model, rows, photos, rounds),
            **memory(store, photos),
        }
    goals = goals_of(figures)
    report(figures, goals)
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=2))
    return 0


def measure(
    store: Path, model: Path, rows: Floats, photos: list[Photo], rounds: int
) -> dict[str, Any]:
    """Runs the pipelines in turn; medians of their stages and of their ratios, by photo."""
    spec = bundles.decode(model.read_bytes()).spec
    with Lens.open(store, accelerator="cpu") as lens:
        rest = _rest(model, rows)
        pipelines: dict[str, Pipeline] = {
            "ours": lambda path: _ours(lens, path),
            "full": lambda path: _straightforward(path, _decoded_in_full, spec, rest),
            "scaled": lambda path: _straightforward(path, _decoded_scaled, spec, rest),
        }
        spent: dict[str, dict[str, list[dict[str, float]]]] = {
            photo.path.name: {name: [] for name in pipelines} for photo in photos
        }
        order = list(pipelines)
        for round_number in range(rounds + 1):
            order = order[1:] + order[:1]
            for photo in photos:
                for name in order:
                    stages = pipelines[name](photo.path)
                    if round_number:  # the first fills caches
                        spent[photo.path.name][name].append(stages)
    by_photo = {
        photo.path.name: {"megapixels": photo.megapixels, **_medians(spent[photo.path.name])}
        for photo in photos
    }
    large = [each for each in by_photo.values() if LARGE[0] <= each["megapixels"] < LARGE[1]]
    return {
        "photos": by_photo,
        "ratio_to_full_9_to_12_mp": _median(large, "ratio_to_full"),
        "ratio_to_scaled_9_to_12_mp": _median(large, "ratio_to_scaled"),
        "ratio_to_full_all": _median(list(by_photo.values()), "ratio_to_full"),
        "ratio_to_scaled_all": _median(list(by_photo.values()), "ratio_to_scaled"),
    }


def memory(store: Path, photos: list[Photo]) -> dict[str, float]:
    """Resident memory of a process of its own that searched with every photo, and its largest."""
    if not Path("/proc/self/status").exists():
        return {}
    command = [sys.executable, "-c", MEMORY, str(store), *[str(photo.path) for photo in photos]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    resident, largest = json.loads(done.stdout.splitlines()[-1])
    return {"resident_mb": round(resident, 1), "largest_resident_mb": round(largest, 1)}


def goals_of(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """The goals that this benchmark is there to show."""
    goals = (("ratio_to_full_9_to_12_mp", 0.30), ("ratio_to_scaled_9_to_12_mp", 1.0))
    return [
        {"name": name, "value": figures[name], "goal": goal, "met": figures[name] <= goal}
        for name, goal in goals
    ]


def report(figures: dict[str, Any], goals: list[dict[str, Any]]) -> None:
    """Prints what was measured."""
    if figures["quick"]:
        print("quick: few rounds and rows, not the full measurement")
    print(f"{figures['rows']:,} rows, model {figures['model']}; {figures['vectors']}")
    print(
        f"{'photo':<28}{'MP':>5}  {'pipeline':<8}{'decode':>8}{'embed':>8}{'search':>8}{'all':>8}"
    )
    for name, photo in figures["photos"].items():
        for pipeline in ("ours", "full", "scaled"):
            stages = "".join(f"{photo[pipeline][stage]:8.2f}" for stage in (*STAGES, "total_ms"))
            print(f"{name:<28}{photo['megapixels']:5.1f}  {pipeline:<8}{stages}")
    for name in ("resident_mb", "largest_resident_mb"):
        if name in figures:
            print(f"{name}: {figures[name]:.0f}")
    for goal in goals:
        met = "met" if goal["met"] else "MISSED"
        print(f"goal: {goal['name']} {goal['value']:.3f} <= {goal['goal']:.2f}: {met}")


def _ours(lens: Lens, path: Path) -> dict[str, float]:
    started = perf_counter()
    found = lens.search(path, K)
    total_ms = (perf_counter() - started) * 1e3
    return {**{stage: getattr(found.timings, stage) for stage in STAGES}, "total_ms": total_ms}


def _straightforward(
    path: Path,
    decode: Callable[[Path, Spec], np.ndarray],
    spec: Spec,
    rest: tuple[Callable[[np.ndarray], Floats], Callable[[Floats], object]],
) -> dict[str, float]:
    embed, search = rest
    started = perf_counter()
    tensor = decode(path, spec)
    decoded = perf_counter()
    embedding = embed(tensor)
    embedded = perf_counter()
    search(embedding)
    ended = perf_counter()
    marks = started, decoded, embedded, ended
    stages = {
        stage: (marks[number + 1] - marks[number]) * 1e3 for number, stage in enumerate(STAGES)
    }
    return {**stages, "total_ms": (ended - started) * 1e3}


def _decoded_in_full(path: Path, spec: Spec) -> np.ndarray:
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    size = (spec.width, spec.height)
    return np.asarray(ImageOps.pad(upright, size, Image.Resampling.BILINEAR, "white"))


def _decoded_scaled(path: Path, spec: Spec) -> np.ndarray:
    size = (spec.width, spec.height)
    with Image.open(path) as opened:
        opened.thumbnail(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    return np.asarray(ImageOps.pad(upright, size, Image.Resampling.BILINEAR, "white"))


def _rest(
    model: Path, rows: Floats
) -> tuple[Callable[[np.ndarray], Floats], Callable[[Floats], object]]:
    """Embedding and search of the straightforward pipelines."""
    from ai_edge_litert.interpreter import Interpreter
    from usearch.index import Index

    interpreter = Interpreter(model_path=str(model), num_threads=1)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    index = Index(ndim=rows.shape[1], metric="cos", dtype="f16", expansion_search=EXPANSION)
    for start in range(0, len(rows), 10_000):
        block = rows[start : start + 10_000].astype(np.float16)
        index.add(np.arange(start, start + len(block), dtype=np.uint64), block, threads=1)

    def embed(tensor: np.ndarray) -> Floats:
        interpreter.set_tensor(taken["index"], tensor[None])
        interpreter.invoke()
        output = interpreter.get_tensor(given["index"])[0]
        return output / np.linalg.norm(output)

    return embed, lambda embedding: index.search(embedding.astype(np.float16), K, threads=1)


def _medians(spent: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians of one photo's stages, and of its rounds' ratios."""
    medians: dict[str, Any] = {
        name: {
            stage: round(statistics.median(each[stage] for each in rounds), 3)
            for stage in (*STAGES, "total_ms")
        }
        for name, rounds in spent.items()
    }
    for rival in ("full", "scaled"):
        ratios = [
            ours["total_ms"] / theirs["total_ms"]
            for ours, theirs in zip(spent["ours"], spent[rival], strict=True)
        ]
        medians[f"ratio_to_{rival}"] = round(statistics.median(ratios), 4)
    return medians


def _median(photos: list[dict[str, Any]], name: str) -> float:
    return statistics.median(photo[name] for photo in photos)


def _embeddings(path: Path | None, dim: int) -> vectors.Embeddings:
    return vectors.load(path) if path is not None else vectors.synthetic(dim)


def _photos(work: Path) -> Iterator[Photo]:
    """Photos of phones; where they are missing, one drawn as large."""
    folder = vectors.data_folder() / "phone_photos"
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        print(f"no photos in {folder}: a drawn one takes their place")
        rng = np.random.default_rng(vectors.SEED)
        coarse = rng.integers(0, 256, (756, 1008, 3), dtype=np.uint8)
        paths = [work / "drawn.jpg"]
        Image.fromarray(coarse).resize((4032, 3024)).save(paths[0], quality=90)
    for path in paths:
        with Image.open(path) as opened:
            yield Photo(path, round(opened.width * opened.height / 1e6, 1))


if __name__ == "__main__":
    sys.exit(main())
