"""The codebook: which lists lie nearest a query, exactly or through an Annoy index.

    codebook = Codebook(centroids, cache=folder / "codebook-<hash>.ann")
    codebook.nearest_lists(query, probes=24)      # nearest first

An Annoy file differs from build to build and holds pointers by number, so that one damaged byte
can crash the process: beside it lies a seal (size, SHA-256, who built it), and a file that does
not fit its seal is built again from the centroids, which are what a store signs and ships.
The only module that imports annoy, at first use.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import secrets
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pocketlens import durable_files
from pocketlens.errors import StoreFull, StoreReadOnly
from pocketlens.options import CodebookIndex
from pocketlens.query import clustering, codes

if TYPE_CHECKING:
    from annoy import AnnoyIndex

logger = logging.getLogger(__name__)

ANNOY_CENTROIDS = 1_024  # "auto" goes through Annoy from here on (benchmarks/search.py)
_SEED = 1
# 16 trees, and a look at 8 centroids for each one asked for, 8 % of all and 250 besides: of 4,000
# lists the nearest 32 hold 0.987 of the true ten in 49 us (exactly: 0.988 in 55), of 16,384 the
# nearest 128 hold 0.986 in 184 us (0.993 in 367). Fewer trees find less, more find no more.
_TREES = 16
_LOOK_AT = 8
_LOOK_AT_SHARE = 0.08
_LOOK_AT_LEAST = 250
# Of all lists, from which an exact scan costs less than walking the trees.
_EXACT_SHARE = 0.1
_FOUND = 10  # probes are fitted to recall@10
_COMPETITORS = 64  # best codes kept a query: what else could be among ten of some lists


class Codebook:
    """Centroids and the way to those nearest a query. Thread-safe: nothing changes once made.

    Attributes:
        k: Number of centroids, which is the number of lists.
        dim: Length of one.
        sha256: Of the canonical bytes: u32 k, u32 dim, float16 values, little endian.
        uses_annoy: Whether `nearest_lists` goes through Annoy.
    """

    def __init__(
        self,
        centroids: npt.NDArray[np.float16],
        *,
        index: CodebookIndex = "auto",
        cache: Path | None = None,
    ) -> None:
        """Takes centroids; builds or opens the Annoy index where one is used.

        Args:
            centroids: float16 (k, dim), k >= 1.
            index: "exact", "annoy", or "auto": Annoy from 1,024 centroids on.
            cache: File to keep the Annoy index in; None, or a folder that cannot be written to,
                keeps it in memory.
        """
        self.k, self.dim = centroids.shape
        values = centroids.astype("<f2").tobytes()
        self.sha256 = hashlib.sha256(struct.pack("<II", self.k, self.dim) + values).digest()
        self._centroids = centroids.astype(np.float32)
        self.uses_annoy = index == "annoy" or (index == "auto" and self.k >= ANNOY_CENTROIDS)
        self._annoy = self._open_annoy(cache) if self.uses_annoy else None

    def nearest_lists(self, query: npt.NDArray[np.float32], probes: int) -> npt.NDArray[np.int32]:
        """Numbers of the lists nearest a query.

        Args:
            query: float32 (dim,).
            probes: How many, 1 or more; all lists when there are no more than that.

        Returns:
            int32 (min(probes, k),), nearest first. With Annoy a few may be missed for farther
            ones, never fewer returned; asked for a tenth of all lists or more it scans exactly.
        """
        if self.k == 1:
            return np.zeros(1, np.int32)
        if self._annoy is not None and probes < _EXACT_SHARE * self.k:
            look_at = _LOOK_AT * probes + _LOOK_AT_SHARE * self.k + _LOOK_AT_LEAST
            found = self._annoy.get_nns_by_vector(query.tolist(), probes, int(look_at))
            if len(found) == probes:
                return np.array(found, np.int32)
        scores = self._centroids @ query
        if probes >= self.k:
            return np.argsort(-scores).astype(np.int32)
        best = np.argpartition(scores, self.k - probes)[self.k - probes :]
        return best[np.argsort(-scores[best])].astype(np.int32)

    def assign(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """The list of each embedding: its nearest centroid, exactly, in blocks.

        Args:
            embeddings: float32 (n, dim).

        Returns:
            int32 (n,).
        """
        return clustering.nearest(embeddings, self._centroids)

    def _open_annoy(self, cache: Path | None) -> AnnoyIndex:
        if cache is not None:
            opened = self._load(cache)
            if opened is not None:
                return opened
        built = _new_annoy(self.dim)
        for number, centroid in enumerate(self._centroids):
            built.add_item(number, centroid.tolist())
        built.build(_TREES, n_jobs=1)
        logger.debug("codebook.annoy.built centroids=%d trees=%d", self.k, _TREES)
        if cache is not None:
            self._save(built, cache)
        return built

    def _load(self, cache: Path) -> AnnoyIndex | None:
        """The index in `cache` if it is whole, of this build and of these centroids."""
        try:
            seal = json.loads(_seal_path(cache).read_bytes())
            if seal != self._seal(cache.read_bytes()):
                logger.info("codebook.annoy.rebuilding file=%s reason=seal", cache)
                return None
            index = _new_annoy(self.dim)
            index.load(str(cache))
        except (OSError, ValueError):
            logger.debug("codebook.annoy.rebuilding file=%s reason=absent", cache)
            return None
        return index if self._answers(index) else None

    def _answers(self, index: AnnoyIndex) -> bool:
        """Whether the index holds these centroids: a few are read back and found."""
        return index.get_n_items() == self.k and all(
            index.get_item_vector(number) == self._centroids[number].tolist()
            for number in range(0, self.k, max(1, self.k // 8))
        )

    def _save(self, built: AnnoyIndex, cache: Path) -> None:
        temporary = cache.with_name(f".{cache.name}.{secrets.token_hex(4)}.tmp")
        try:
            built.save(str(temporary))  # Annoy maps what it saved; renaming keeps the mapping
            data = temporary.read_bytes()
            descriptor = os.open(temporary, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temporary.replace(cache)
            durable_files.write_file(_seal_path(cache), json.dumps(self._seal(data)).encode())
        except (OSError, StoreFull, StoreReadOnly) as exc:
            logger.info("codebook.annoy.not_kept file=%s reason=%s", cache, exc)
        finally:
            temporary.unlink(missing_ok=True)

    def _seal(self, data: bytes) -> dict[str, str | int]:
        return {
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "codebook": self.sha256.hex(),
            "trees": _TREES,
            "builder": _annoy_build(),
        }


def fit_probes(
    codebook: Codebook,
    scale: npt.NDArray[np.float32],
    queries: npt.NDArray[np.float32],
    gallery: Iterable[tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]],
    *,
    target: float = 0.97,
    feedback: npt.NDArray[np.float32] | None = None,
) -> int:
    """Fewest lists to score for recall@10 >= `target` against exact float32 search.

    Where codes alone cost more than that (int8 orders near-equals differently), as many lists as
    leave no more than a hundredth of what scoring every list finds.

    Args:
        codebook: As searches will use it: exact, or through Annoy.
        scale: float32 (dim,), of the codes.
        queries: float32 (q, dim), unit rows, never members of the gallery; see
            `stand_in_queries` where there are none. More than 256 are thinned evenly.
        gallery: Blocks of embeddings float32 (n, dim) and their lists int32 (n,), read once; a
            block of a few thousand keeps memory low.
        target: Recall wanted, 0 to 1.
        feedback: That the codes are made with, if any.

    Returns:
        1 to `codebook.k`.
    """
    if codebook.k == 1:
        return 1
    queries = queries[np.linspace(0, len(queries) - 1, min(len(queries), 256)).astype(int)]
    truth, found = _Best(len(queries), _FOUND), _Best(len(queries), _COMPETITORS)
    first = 0
    for embeddings, lists in gallery:
        block = codes.decode(codes.encode(embeddings, scale, feedback), scale)
        truth.offer(queries @ embeddings.T, first, lists)
        found.offer(queries @ block.T, first, lists)
        first += len(embeddings)
    reachable = _recall(truth, found, [np.arange(codebook.k, dtype=np.int32)] * len(queries))
    aim = min(target, 0.99 * reachable)
    low, high = 1, codebook.k
    while low < high:
        middle = (low + high) // 2
        probed = [codebook.nearest_lists(query, middle) for query in queries]
        if _recall(truth, found, probed) >= aim:
            high = middle
        else:
            low = middle + 1
    return low


def stand_in_queries(
    embeddings: npt.NDArray[np.float32], rng: np.random.Generator, *, cosine: float = 0.5
) -> npt.NDArray[np.float32]:
    """Queries for a catalogue without photos: its embeddings turned away at random.

    Photos lie further out than catalogue pictures: at cosine 0.5, 96 lists were needed where 12
    did for members.

    Args:
        embeddings: float32 (n, dim), unit rows.
        rng: Draws the directions.
        cosine: Of each result with its embedding.

    Returns:
        float32 (n, dim), unit rows.
    """
    aside = rng.standard_normal(embeddings.shape, dtype=np.float32)
    aside -= (aside * embeddings).sum(axis=1, keepdims=True) * embeddings
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    return np.float32(cosine) * embeddings + np.float32(math.sqrt(1 - cosine**2)) * aside


class _Best:
    """The most similar rows of a gallery seen block by block, with their lists."""

    def __init__(self, queries: int, count: int) -> None:
        self.similarities = np.full((queries, count), -np.inf, np.float32)
        self.rows = np.full((queries, count), -1, np.int64)
        self.lists = np.full((queries, count), -1, np.int32)

    def offer(
        self, similarities: npt.NDArray[np.float32], first: int, lists: npt.NDArray[np.int32]
    ) -> None:
        for query, row in enumerate(similarities):
            count = self.rows.shape[1]
            better = np.flatnonzero(row > self.similarities[query, -1])
            if len(better) > count:
                better = better[np.argpartition(-row[better], count - 1)[:count]]
            merged = np.concatenate([self.similarities[query], row[better]])
            order = np.argsort(-merged, kind="stable")[:count]
            self.similarities[query] = merged[order]
            self.rows[query] = np.concatenate([self.rows[query], better + first])[order]
            self.lists[query] = np.concatenate([self.lists[query], lists[better]])[order]


def _recall(truth: _Best, found: _Best, probed: Sequence[npt.NDArray[np.int32]]) -> float:
    """Share of the true ten that the ten best codes of the probed lists hold."""
    hits = 0
    for query, lists in enumerate(probed):
        reached = np.isin(found.lists[query], lists)
        hits += np.isin(truth.rows[query], found.rows[query][reached][:_FOUND]).sum()
    return float(hits) / np.count_nonzero(truth.rows >= 0)


def _new_annoy(dim: int) -> AnnoyIndex:
    from annoy import AnnoyIndex

    index = AnnoyIndex(dim, "angular")
    index.set_seed(_SEED)
    return index


def _annoy_build() -> str:
    """Names the compiled library: its file name holds the platform, its size the build."""
    from annoy import annoylib  # type: ignore[attr-defined]  # its stubs leave it out

    library = Path(annoylib.__file__)
    return f"{library.name} {library.stat().st_size}"


def _seal_path(cache: Path) -> Path:
    return cache.with_name(cache.name + ".seal")
