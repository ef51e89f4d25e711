"""Embeddings of a first catalogue to a generation: scale, codebook, codes, lists, probes.

The embeddings are read three times, block by block: for the scale and a sample, for codes and
lists, for the probes. Codes are kept in a file, so that memory is bounded.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.embedding_files import EmbeddingRows
from pocketlens.formats.bundle import Bundle
from pocketlens.progress import Progress
from pocketlens.query import clustering, codes
from pocketlens.query.codebook import Codebook, fit_probes, stand_in_queries

_STAND_INS = 256  # queries made where the bundle has none; `fit_probes` looks at no more


@dataclass(frozen=True, slots=True)
class ListedCodebook:
    """A codebook, and the list of every embedding that it was made of.

    Attributes:
        centroids: float16 (k, dim).
        lists: int32 (n,).
        probes: Lists to score, 1 to k.
        probes_estimated: Whether they were fitted without held-out photos.
    """

    centroids: npt.NDArray[np.float16]
    lists: npt.NDArray[np.int32]
    probes: int
    probes_estimated: bool


@dataclass(frozen=True, slots=True)
class Generation:
    """What was made.

    Attributes:
        id: 32 bytes.
        scale: float32 (dim,).
        codes: int8 (n, dim), mapped from a file; row i is image i + 1.
        lists: int32 (n,).
        centroids: float16 (k, dim).
        codebook_sha256: 32 bytes.
        probes: Lists to score, 1 to k.
        probes_estimated: Whether they were fitted without held-out photos.
        saturated_share: Components of codes at the limit, 0 to 1.
    """

    id: bytes
    scale: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int8]
    lists: npt.NDArray[np.int32]
    centroids: npt.NDArray[np.float16]
    codebook_sha256: bytes
    probes: int
    probes_estimated: bool
    saturated_share: float


def make_generation(
    rows: EmbeddingRows,
    bundle: Bundle,
    bundle_sha256: bytes,
    *,
    scratch: Path,
    rng: np.random.Generator,
    progress: Progress,
    taken: Collection[bytes] = (),
) -> Generation:
    """Makes a generation of the embeddings of a catalogue.

    Args:
        rows: One or more.
        bundle: Its representative embeddings count for the scale, its queries for the probes.
        bundle_sha256: Of its file.
        scratch: File to make for the codes; the caller removes it when they are not used any more.
        rng: Draws the sample, the first centroids, and queries where the bundle has none.
        progress: Stages "clustering" and "encoding".
        taken: Ids that this one may not have: the scale then differs by the least that it can.

    Raises:
        CatalogError: An embedding is zero or not finite.
    """
    n, k = len(rows.rows), clustering.list_count(len(rows.rows))
    progress("clustering", 0, n)
    max_abs, sample = _survey(rows, min(n, clustering.ROWS_A_CENTROID * k), rng)
    if len(bundle.representative):
        max_abs = np.maximum(max_abs, np.abs(bundle.representative).max(axis=0))
    scale = codes.scale_of(max_abs)
    while codes.generation_id(bundle_sha256, scale) in taken:
        scale = np.nextafter(scale, np.float32(np.inf))
    feedback = codes.feedback_of(scale, bundle.representative, bundle.queries)
    centroids = clustering.centroids(sample, k, rng)
    codebook = Codebook(centroids)
    queries, probes_estimated = _queries(sample, k, bundle, rng)
    del sample
    progress("clustering", n, n)

    lists = np.empty(n, np.int32)
    saturated, at = 0.0, 0
    with scratch.open("wb") as file:  # not mapped: on a full disk that ends in SIGBUS
        for block in rows.blocks():
            some = codes.encode(block, scale, feedback)
            file.write(some.tobytes())
            lists[at : at + len(block)] = codebook.assign(block)
            saturated += codes.saturated_share(some) * len(some)
            at += len(block)
            progress("encoding", at, n)
    return Generation(
        id=codes.generation_id(bundle_sha256, scale),
        scale=scale,
        codes=np.memmap(scratch, np.int8, "r", shape=(n, bundle.spec.dim)),
        lists=lists,
        centroids=centroids,
        codebook_sha256=codebook.sha256,
        probes=fit_probes(codebook, scale, queries, _gallery(rows, lists), feedback=feedback),
        probes_estimated=probes_estimated,
        saturated_share=saturated / n,
    )


def make_codebook(
    rows: EmbeddingRows,
    bundle: Bundle,
    scale: npt.NDArray[np.float32],
    *,
    rng: np.random.Generator,
) -> ListedCodebook:
    """Makes another codebook for a generation whose scale and codes stay.

    Args:
        rows: Of all images, one or more.
        bundle: Of the generation; its queries count for the probes.
        scale: float32 (dim,), of the generation.
        rng: As for `make_generation`.

    Raises:
        CatalogError: An embedding is zero or not finite.
    """
    n, k = len(rows.rows), clustering.list_count(len(rows.rows))
    _, sample = _survey(rows, min(n, clustering.ROWS_A_CENTROID * k), rng)
    centroids = clustering.centroids(sample, k, rng)
    codebook = Codebook(centroids)
    queries, probes_estimated = _queries(sample, k, bundle, rng)
    lists = np.concatenate([codebook.assign(block) for block in rows.blocks()])
    feedback = codes.feedback_of(scale, bundle.representative, bundle.queries)
    probes = fit_probes(codebook, scale, queries, _gallery(rows, lists), feedback=feedback)
    return ListedCodebook(centroids, lists, probes, probes_estimated)


def _queries(
    sample: npt.NDArray[np.float32], k: int, bundle: Bundle, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], bool]:
    """Queries that probes are fitted to, and whether they only stand in for photos."""
    if k == 1 or len(bundle.queries):
        return bundle.queries, False
    chosen = rng.choice(len(sample), min(len(sample), _STAND_INS), replace=False)
    return stand_in_queries(sample[chosen], rng), True


def _survey(
    rows: EmbeddingRows, size: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The largest |x[j]| of all embeddings, and `size` of them drawn without replacement."""
    dim = rows.file.dim
    chosen = np.sort(rng.choice(len(rows.rows), size, replace=False))
    max_abs, sample = np.zeros(dim, np.float32), np.empty((size, dim), np.float32)
    at = 0
    for block in rows.blocks():
        np.maximum(max_abs, np.abs(block).max(axis=0), out=max_abs)
        first, last = np.searchsorted(chosen, (at, at + len(block)))
        sample[first:last] = block[chosen[first:last] - at]
        at += len(block)
    return max_abs, sample


def _gallery(
    rows: EmbeddingRows, lists: npt.NDArray[np.int32]
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]]:
    at = 0
    for block in rows.blocks():
        yield block, lists[at : at + len(block)]
        at += len(block)
