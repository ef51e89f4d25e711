"""Our side of the search benchmark: a real store, its bytes, its filters, its cold start."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import numpy.typing as npt
from search_rivals import System
from vectors import Embeddings, Floats

from pocketlens.formats import bundle as bundles
from pocketlens.formats import flatbuffers
from pocketlens.indexing import IndexReport, index
from pocketlens.options import CodebookIndex, SearchOptions
from pocketlens.query import clustering, codes
from pocketlens.query.codebook import Codebook
from pocketlens.query.filters import Filter
from pocketlens.query.searcher import Searcher
from pocketlens.store import installs
from pocketlens.store.reader import Reader
from pocketlens.store.sizes import table_bytes

PROBES = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
SELECTIVITIES = (0.5, 0.1, 0.01, 0.001)
ALL_LISTS = 1 << 40  # a cache that never drops
FINE_LISTS = 16_384

# Tables that hold rows, codebook and image -> list map; the rest are what any shop has to keep.
VECTOR_TABLES = ("list_chunks", "codebook", "image_lists")

COLD = """
import sys, time, json
import numpy
query = numpy.load(sys.argv[2])
started = time.perf_counter()
from pocketlens.lens import Lens
lens = Lens.open(sys.argv[1])
found = lens.search_vector(query[0], 10)
first_s = time.perf_counter() - started
def resident_mb():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024
first_mb = resident_mb()
for one in query:
    lens.search_vector(one, 10)
print(json.dumps([first_s, first_mb, resident_mb(), len(found.matches)]))
"""


@dataclass(frozen=True, slots=True)
class Store:
    """A store that was made for the benchmark, and what it was made of.

    Attributes:
        directory: Of the store.
        report: What `index` said of it.
        build_s: Seconds of one core that it took, list and database included.
        eligible: Filter name to bool (n,), the rows it leaves.
    """

    directory: Path
    report: IndexReport
    build_s: float
    eligible: dict[str, npt.NDArray[np.bool_]]


class StoreRows:
    """A reader as the rows of a search."""

    def __init__(self, reader: Reader) -> None:
        self.version = reader.facts.version
        self.read_list, self.codes_of, self.links = reader.read_list, reader.codes_of, reader.links
        self.attribute_keys, self.columns = reader.products_with, reader.columns
        self._reader = reader

    def lists_of(self, image_keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        return self._reader.lists_of(image_keys).astype(np.int32)


class ArrayRows:
    """Rows in memory in lists of their own: for codebooks that no store has."""

    version = 1

    def __init__(self, encoded: npt.NDArray[np.int8], lists: npt.NDArray[np.int32]) -> None:
        self._order = np.argsort(lists, kind="stable")
        self._codes = encoded[self._order]
        self._keys = (self._order + 1).astype(np.uint32)
        self._starts = np.searchsorted(lists[self._order], np.arange(lists.max() + 2))

    def read_list(self, number: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int8]]:
        if number + 1 >= len(self._starts):
            return self._keys[:0], self._codes[:0]
        place = slice(self._starts[number], self._starts[number + 1])
        return self._keys[place], self._codes[place]


def make_store(rows: Floats, embeddings: Embeddings, model: Path | None, work: Path) -> Store:
    """Indexes rows as one product each, through the same door as a shop: a CSV and a .npy file."""
    n = len(rows)
    eligible = _eligible(rows) if n <= 200_000 else {}
    image_list, vectors, bundle = work / f"{n}.csv", work / f"{n}.npy", work / "bundle.tflite"
    np.save(vectors, rows)
    names = list(eligible)
    columns = np.stack([eligible[name] for name in names], axis=1) if names else np.empty((n, 0))
    with image_list.open("w") as file:
        file.write(",".join(["image", "product_id", *(f"attr.{name}" for name in names)]) + "\n")
        for number, row in enumerate(columns.astype(bool).tolist(), start=1):
            marks = ["y" if each else "" for each in row]
            file.write(",".join([f"{number}.jpg", f"p{number}", *marks]) + "\n")
    bundle.write_bytes(_bundle(embeddings, model))
    started = process_time()
    report = index(image_list, model=bundle, vectors=vectors, out=work / f"store-{n}")
    build_s = process_time() - started
    vectors.unlink()
    image_list.unlink()
    return Store(work / f"store-{n}", report, build_s, eligible)


def searcher(
    reader: Reader, *, probes: int | None, cache_bytes: int, codebook: CodebookIndex = "auto"
) -> Searcher:
    """A searcher over a store as a Lens makes it."""
    options = SearchOptions(cache_bytes=cache_bytes, codebook_index=codebook, probes=probes)
    return Searcher(
        StoreRows(reader),
        Codebook(reader.centroids(), index=codebook, cache=reader.codebook_cache),
        scale=reader.facts.scale,
        probes=reader.facts.probes,
        options=options,
    )


def store_system(
    store: Store, reader: Reader, name: str, *, cache_bytes: int, codebook: CodebookIndex = "auto"
) -> System:
    """The store as one more system of the benchmark: its knob is `probes`."""
    found = searcher(reader, probes=None, cache_bytes=cache_bytes, codebook=codebook)
    settings = tuple(n for n in PROBES if n <= reader.facts.lists)
    tables = vector_bytes(store)
    return _system(found, name, settings, store.build_s, tables / store.report.images)


def fine_systems(rows: Floats, scale: Floats, feedback: Floats | None) -> Iterator[System]:
    """A finer codebook over the same codes, exactly and through Annoy."""
    started = process_time()
    rng = np.random.default_rng(1)
    centroids = clustering.centroids(rows, FINE_LISTS, rng)
    exact, annoy = (Codebook(centroids, index=each) for each in ("exact", "annoy"))
    source = ArrayRows(codes.encode(rows, scale, feedback), exact.assign(rows))
    build_s = process_time() - started
    size = rows.shape[1] + 4 + 2 + centroids.nbytes / len(rows)
    for name, codebook in (("exact", exact), ("Annoy", annoy)):
        options = SearchOptions(cache_bytes=ALL_LISTS)
        found = Searcher(source, codebook, scale=scale, probes=1, options=options)  # type: ignore[arg-type]  # nearest_images reads lists only
        label = f"PocketLens, {FINE_LISTS:,} lists, {name}"
        yield _system(found, label, PROBES, build_s, size)


def _system(
    found: Searcher, name: str, settings: tuple[int, ...], build_s: float, bytes_an_item: float
) -> System:
    def ask(query: Floats, probes: int) -> npt.NDArray[np.integer]:
        found.probes = probes
        return found.nearest_images(query, 10).image_keys.astype(np.int64) - 1

    return System(name, "probes", settings, ask, build_s, bytes_an_item)


def vector_bytes(store: Store) -> int:
    """Bytes of rows, codebook and image -> list map on the disk, whole pages."""
    tables = table_bytes(installs.current(store.directory))
    return sum(tables.get(name, 0) for name in VECTOR_TABLES)


def measure_tables(store: Store) -> dict[str, float]:
    """Bytes an item of each table."""
    tables = table_bytes(installs.current(store.directory))
    return {name: round(size / store.report.images, 2) for name, size in tables.items()}


def measure_filters(
    store: Store, reader: Reader, rows: Floats, queries: Floats
) -> dict[str, dict[str, float]]:
    """Recall, shortest answer, and times of each filter, with the probes that were fitted."""
    found = searcher(reader, probes=None, cache_bytes=SearchOptions().cache_bytes)
    figures = {}
    for name, eligible in store.eligible.items():
        wanted = Filter(attributes={name: "y"})
        places = np.flatnonzero(eligible)
        truth = places[np.argsort(-(queries @ rows[places].T), axis=1, kind="stable")[:, :10]]
        started = perf_counter()
        found.search(queries[0], 10, wanted)
        first_ms = (perf_counter() - started) * 1e3
        hits, fewest, times = 0, 10, []
        for query, right in zip(queries, truth, strict=True):
            started = perf_counter()
            answer = found.search(query, 10, wanted)
            times.append(perf_counter() - started)
            products = sum(len(group.product_keys) for group in answer.groups)
            fewest = min(fewest, products)
            keys = found.nearest_images(query, 10, wanted).image_keys.astype(np.int64)
            hits += len(np.intersect1d(keys - 1, right))
        figures[name] = {
            "matching": len(places),
            "recall_at_10": hits / truth.size,
            "fewest_products": fewest,
            "first_ms": first_ms,
            "p50_ms": float(np.percentile(times, 50) * 1e3),
            "p99_ms": float(np.percentile(times, 99) * 1e3),
        }
    return figures


def measure_cold(store: Store, queries: Floats, work: Path, rounds: int) -> dict[str, float | str]:
    """A new process, its files out of the page cache, to its first answer; resident memory."""
    asked = work / "queries.npy"
    np.save(asked, queries[:300])
    runs, how = [], ""
    for _ in range(rounds):
        how = drop_page_cache(store.directory)
        command = [sys.executable, "-c", COLD, str(store.directory), str(asked)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, check=True, capture_output=True, env=environment)
        runs.append(json.loads(done.stdout))
    first_s, first_mb, resident_mb, _ = np.median(np.array(runs), axis=0).tolist()
    return {
        "first_answer_ms": first_s * 1e3,
        "resident_first_mb": first_mb,
        "resident_mb": resident_mb,
        "page_cache": how,
    }


def drop_page_cache(directory: Path) -> str:
    """Drops the page cache: whole where that is allowed, else of the files that are read."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        folders = (directory, Path(np.__file__).parent, Path(clustering.__file__).parents[1])
        for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return "files of the store, numpy and pocketlens dropped (posix_fadvise)"
    return "dropped whole (/proc/sys/vm/drop_caches)"


def _eligible(rows: Floats) -> dict[str, npt.NDArray[np.bool_]]:
    """For each selectivity rows drawn at random, and the rows on one side of the space."""
    rng = np.random.default_rng(7)
    found = {}
    direction = rows[rng.integers(len(rows))]
    side = np.argsort(-(rows @ direction))
    for share in SELECTIVITIES:
        count = max(1, round(share * len(rows)))
        spread, shared = np.zeros((2, len(rows)), np.bool_)
        spread[rng.choice(len(rows), count, replace=False)] = True
        shared[side[:count]] = True
        found[f"spread_{share:g}"], found[f"shared_{share:g}"] = spread, shared
    return found


def _bundle(embeddings: Embeddings, model: Path | None) -> bytes:
    """The bundle with the fitting photos as its queries, so that no asking photo is in it."""
    if model is None:
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        from tests.making.shops import bare_description, sealed_bundle

        bare = bare_description(embeddings.gallery.shape[1], queries=embeddings.fitting)
        return sealed_bundle(replace(bare, representative=embeddings.gallery[::8]))
    data = model.read_bytes()
    bundle = bundles.decode(data)
    start, end = flatbuffers.metadata_range(data, bundles.METADATA_NAME) or (0, 0)
    # As many as before, so that the metadata keeps its length and can be written in place.
    places = np.arange(len(bundle.queries)) % len(embeddings.fitting)
    described = bundles.encode(replace(bundle, queries=embeddings.fitting[places]))
    if len(described) != end - start:
        raise SystemExit(f"the queries of {model} cannot be replaced in place")
    return bundles.seal(data[:start] + described + data[end:])
