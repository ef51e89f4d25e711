"""Rivals of the search: Annoy, usearch and faiss, each behind one `ask(query, knob)`.

Every rival gets the float vectors and the scaling that suits it best, is built as its own
documentation recommends, and runs in one thread. `bytes_an_item` is the size of its saved index.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ask = Callable[[Floats, int], npt.NDArray[np.integer]]


@dataclass(frozen=True, slots=True)
class System:
    """One built index.

    Attributes:
        name: What it is and how it was built.
        knob: What `ask` takes, in words.
        settings: Values of the knob that are measured.
        ask: Query and setting to the rows (0 to n - 1) of the ten nearest.
        build_s: Seconds of one core to build.
        bytes_an_item: On the disk, or as serialized.
    """

    name: str
    knob: str
    settings: tuple[int, ...]
    ask: Ask
    build_s: float
    bytes_an_item: float


def rivals(rows: Floats, lists: int, work: Path, *, quick: bool) -> Iterator[System]:
    """Builds one after the other.

    Args:
        rows: float32 (n, dim), unit rows.
        lists: Cells for faiss, as many as our own lists.
        work: Folder for saved indexes.
        quick: Fewer ways to build each.
    """
    import faiss  # noqa: F401  # loaded after usearch, its index_factory crashes (seen with 1.15.1)

    for trees in (50,) if quick or len(rows) > 200_000 else (20, 50, 100):
        yield annoy_index(rows, trees, work)
    scales = ("one",) if quick else ("one", "each")
    for scale in scales if len(rows) <= 200_000 else ("one",):
        yield usearch_int8(rows, scale, work)
    yield usearch_float16(rows, work)
    yield faiss_index(rows, f"IVF{lists},SQ8", 1, work)
    # 4-bit codes by fast scan: with 8-bit ones training alone took minutes at 10,000 rows.
    yield faiss_index(rows, f"IVF{lists},PQ64x4fs,RFlat", 64, work)


def annoy_index(rows: Floats, trees: int, work: Path) -> System:
    from annoy import AnnoyIndex

    index = AnnoyIndex(rows.shape[1], "angular")
    name = f"Annoy, {trees} trees"

    def build(path: Path) -> None:
        index.set_seed(1)
        for number, row in enumerate(rows):
            index.add_item(number, row)
        index.build(trees, n_jobs=1)
        index.save(str(path))

    size, build_s = _kept(work, name, len(rows), build, lambda path: index.load(str(path)))

    def ask(query: Floats, search_k: int) -> npt.NDArray[np.integer]:
        return np.array(index.get_nns_by_vector(query, 10, search_k))

    settings = (1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000)
    return System(name, "search_k", settings, ask, build_s, size / len(rows))


def usearch_int8(rows: Floats, scale: str, work: Path) -> System:
    """int8 given codes: scaled by one number with cosine, or by dimension with inner product."""
    if scale == "one":
        factor = np.full(rows.shape[1], 127 / np.abs(rows).max(), np.float32)
        of_rows, of_query, metric = factor, factor, "cos"
    else:
        largest = np.abs(rows).max(axis=0)
        of_rows, of_query, metric = 127 / largest, largest, "ip"

    def query_of(query: Floats) -> npt.NDArray[np.int8]:
        scaled = query * of_query
        return np.rint(scaled * (127 / np.abs(scaled).max())).astype(np.int8)

    codes = np.rint(rows * of_rows).astype(np.int8)
    name = f"usearch int8, {scale} scale"
    return _usearch(codes, name, metric, "i8", work, query_of)


def usearch_float16(rows: Floats, work: Path) -> System:
    halves = rows.astype(np.float16)
    return _usearch(halves, "usearch float16", "cos", "f16", work, lambda q: q.astype(np.float16))


def _usearch(
    stored: npt.NDArray[np.generic],
    name: str,
    metric: str,
    dtype: str,
    work: Path,
    query_of: Callable[[Floats], npt.NDArray[np.generic]],
) -> System:
    from usearch.index import Index

    index = Index(ndim=stored.shape[1], metric=metric, dtype=dtype)

    def build(path: Path) -> None:
        keys = np.arange(len(stored), dtype=np.uint64)
        for start in range(0, len(stored), 10_000):
            index.add(keys[start : start + 10_000], stored[start : start + 10_000], threads=1)
        index.save(str(path))

    size, build_s = _kept(work, name, len(stored), build, lambda path: index.load(str(path)))

    def ask(query: Floats, expansion: int) -> npt.NDArray[np.integer]:
        index.expansion_search = expansion
        return index.search(query_of(query), 10, threads=1).keys.astype(np.int64)

    settings = (16, 32, 64, 128, 256, 512, 1_024)
    return System(name, "expansion_search", settings, ask, build_s, size / len(stored))


def faiss_index(rows: Floats, factory: str, k_factor: int, work: Path) -> System:
    import faiss

    faiss.omp_set_num_threads(1)
    lists = int(factory.split(",")[0].removeprefix("IVF"))
    name = f"faiss {factory}"

    def build(path: Path) -> None:
        index = faiss.index_factory(rows.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        rng = np.random.default_rng(1)
        chosen = rng.choice(len(rows), min(len(rows), 64 * lists), replace=False)
        index.train(rows[np.sort(chosen)])
        for start in range(0, len(rows), 50_000):
            index.add(rows[start : start + 50_000])
        faiss.write_index(index, str(path))

    size, build_s = _kept(work, name, len(rows), build, lambda _: None)
    index = faiss.read_index(str(_path(work, name, len(rows))))
    cells = faiss.extract_index_ivf(index)
    if k_factor > 1:
        index.k_factor = k_factor

    def ask(query: Floats, nprobe: int) -> npt.NDArray[np.integer]:
        cells.nprobe = nprobe
        return index.search(query[None], 10)[1][0]

    settings = tuple(n for n in (2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192) if n <= lists)
    return System(name, "nprobe", settings, ask, build_s, size / len(rows))


def _kept(
    work: Path,
    name: str,
    count: int,
    build: Callable[[Path], None],
    load: Callable[[Path], object],
) -> tuple[int, float]:
    """Size of the saved index and seconds of building it; built only where it is not kept yet."""
    path = _path(work, name, count)
    spent = path.with_suffix(".seconds")
    if spent.exists():
        load(path)
    else:
        started = process_time()
        build(path)
        spent.write_text(str(process_time() - started))
    return path.stat().st_size, float(spent.read_text())


def _path(work: Path, name: str, count: int) -> Path:
    return work / f"{name}-{count}.index".replace(" ", "-").replace(",", "-")
