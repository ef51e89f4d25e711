"""Does an install answer on this device? Tried on what a sync made, before anything relies on it.

    probe(directory, folder)             # a new install, before CURRENT names it
    probe_rows(reader, bundle)           # changed rows, before they are committed

What was signed may still be bad: a model that computes otherwise here, a codebook that is not that
of the lists, codes of zeros. Nothing is tried that a good install could fail by chance, and what
was only written badly here is told apart: it may come out well the next time.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.answering import searcher_of
from pocketlens.errors import (
    BundleError,
    GoldenProbeFailed,
    PictureError,
    QueryError,
    StoreCorrupt,
)
from pocketlens.formats.bundle import Bundle
from pocketlens.open_install import OpenInstall, Settings
from pocketlens.options import PictureLimits, SearchOptions
from pocketlens.query.codes import decode
from pocketlens.query.searcher import Searcher
from pocketlens.store import verification
from pocketlens.store.reader import Reader

_IMAGES = 64  # looked up by their own codes
_LEAST_FOUND = 0.9  # of them: one near a border may lie in a list that a search does not reach
_ROUNDING = 1e-3  # of a code's similarity with itself


def probe(directory: Path, folder: Path) -> None:
    """Opens an install as a Lens would, and reads, embeds and searches in it.

    Everything that is stored is read, and its state hash computed again.

    Args:
        directory: Of the store.
        folder: Of the install, which nothing needs to name yet.

    Raises:
        GoldenProbeFailed: It is whole, and does not answer as it must.
        StoreCorrupt: It is not whole.
        MissingExtraError: There is nothing here to run its model.
    """
    with _failing():
        settings = Settings(SearchOptions(), "cpu", PictureLimits())
        install = OpenInstall(directory, folder, settings)
        try:
            for finding in verification.findings(install.reader):
                raise StoreCorrupt(finding)
            bundle = install.bundle()
            queries = _golden_embeddings(install, bundle)
            searcher = searcher_of(install.reader, bundle)
            _search(install.reader, searcher, queries)
        finally:
            install.close()


def probe_rows(reader: Reader, bundle: Bundle) -> None:
    """Searches in rows that were changed and are not committed yet.

    Args:
        reader: Of them: `Reader(directory, install, connection)`.
        bundle: Of the install.

    Raises:
        GoldenProbeFailed: They do not answer as they must.
        StoreCorrupt: A row that had to be read is damaged.
    """
    queries = np.stack([example.embedding for example in bundle.golden_examples])
    with _failing():
        _search(reader, searcher_of(reader, bundle), queries)


def found_share(reader: Reader, searcher: Searcher, images: int = _IMAGES) -> tuple[float, int]:
    """Looks some images up by their own codes.

    Args:
        reader: Of their store.
        searcher: Over it.
        images: How many, at most, spread over the whole store.

    Returns:
        The share that is found, 1 where there are none, and how many were looked up.

    Raises:
        StoreCorrupt: Something that had to be read is damaged.
        QueryError: A code has no direction: it is zero.
    """
    known = np.unique(reader.links()[0])
    keys = known[np.unique(np.linspace(0, len(known) - 1, min(images, len(known))).astype(int))]
    found = 0
    for embedding in decode(reader.codes_of(keys), reader.facts.scale):
        length = float(np.linalg.norm(embedding))
        if length == 0:
            raise QueryError("The code of an image is zero: nothing can find it.")
        best = searcher.search(embedding / np.float32(length), 1).similarity
        found += best is not None and best >= length - _ROUNDING
    return (found / len(keys) if len(keys) else 1.0), len(keys)


def _golden_embeddings(install: OpenInstall, bundle: Bundle) -> npt.NDArray[np.float32]:
    """What the model makes of the golden examples here: float32 (n, dim)."""
    embedder = install.embedder()
    made = np.stack([embedder.embed_tensor(each.tensor) for each in bundle.golden_examples])
    golden = np.stack([each.embedding for each in bundle.golden_examples])
    drift = float((1 - (made * golden).sum(axis=1)).max())
    if not drift <= bundle.golden_bound:
        raise GoldenProbeFailed(
            f"{embedder.runtime} drifts {drift:.2e} from the golden embeddings, bound "
            f"{bundle.golden_bound:.2e}."
        )
    return made


def _search(reader: Reader, searcher: Searcher, queries: npt.NDArray[np.float32]) -> None:
    if not np.isfinite(reader.centroids()).all():
        raise GoldenProbeFailed("The codebook holds numbers that are not finite.")
    if not reader.facts.images:
        return  # an empty catalogue has nothing to find
    for query in queries:
        found = searcher.search(query, 1)
        if found.similarity is None or not np.isfinite(found.similarity):
            raise GoldenProbeFailed("A golden embedding finds nothing.")
    share, images = found_share(reader, searcher)
    if share < _LEAST_FOUND:
        raise GoldenProbeFailed(f"Of {images} images {share:.0%} are found by their own codes.")


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except (BundleError, PictureError, QueryError) as exc:
        raise GoldenProbeFailed(str(exc)) from exc
