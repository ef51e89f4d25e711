"""One install of a store, opened for searching: an embedding to a result, for `pocketlens.lens`.

Every file is open from the first moment on, so that an install goes on answering when `pocketlens
index` replaces and removes it; what a search does not need is read when it is needed.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
import numpy.typing as npt

from pocketlens.errors import BundleHashMismatch, StoreCorrupt, StoreNotFound
from pocketlens.formats import bundle as bundles
from pocketlens.options import Accelerator, PictureLimits, SearchOptions
from pocketlens.query.codebook import Codebook
from pocketlens.query.filters import Filter
from pocketlens.query.search import Group
from pocketlens.query.searcher import Searcher
from pocketlens.query.verdict import judge
from pocketlens.results import Match, SearchResult, Timings
from pocketlens.store import installs, trials
from pocketlens.store.reader import Reader, version_of
from pocketlens.store.starts import Start

if TYPE_CHECKING:
    from pocketlens.formats.bundle import Bundle
    from pocketlens.query.embedder import Embedder

Value = TypeVar("Value")

_ATTEMPTS = 4  # CURRENT moves once in an `index`, which takes far longer than to open a store
_PIPELINE = "device"  # of calibrations: the bundle's model against codes


@dataclass(frozen=True, slots=True)
class Settings:
    """What a Lens was asked to be."""

    options: SearchOptions
    accelerator: Accelerator
    limits: PictureLimits
    delegate: Path | None = None


class OpenInstall:
    """One install, open. Thread-safe but for `searches`, which its Lens counts under a lock.

    Attributes:
        folder: Of the install.
        reader: Of its rows.
        searches: That run in it now.
    """

    def __init__(
        self, directory: Path, folder: Path, settings: Settings, start: Start | None = None
    ) -> None:
        """Opens an install, whatever CURRENT names.

        Args:
            directory: Of the store.
            folder: Of the install.
            settings: How to search it.
            start: That is noted of it, while it is on trial.
        """
        self.folder, self.searches = folder, 0
        self._settings, self._start = settings, start
        self._loading = threading.Lock()
        self._embedder: Embedder | None = None
        self._bundle: Bundle | None = None
        self._searcher: Searcher | None = None
        with ExitStack() as opened:
            self.reader = opened.enter_context(Reader(directory, folder))
            try:
                self._file = opened.enter_context(self.reader.bundle_path.open("rb"))
            except OSError as exc:
                raise StoreCorrupt(
                    f"The store's bundle {self.reader.bundle_path} cannot be read: "
                    f"{exc.strerror}. Make the store again: pocketlens index"
                ) from exc
            self._codebook = Codebook(
                self.reader.centroids(),
                index=settings.options.codebook_index,
                cache=self.reader.codebook_cache,
            )
            self._opened = opened.pop_all()

    @classmethod
    def opened(cls, directory: Path, settings: Settings) -> Self:
        """Opens the install in use, also while another takes its place.

        Raises:
            StoreError: There is none, or it cannot be opened.
        """
        try:
            return _patiently(lambda: cls._started(directory, settings))
        except StoreCorrupt:
            installs.doubt(directory)
            raise

    @classmethod
    def _started(cls, directory: Path, settings: Settings) -> Self:
        folder, start = trials.to_open(directory)
        try:
            return cls(directory, folder, settings, start)
        except BaseException:
            if start is not None:
                start.end()
            raise

    @property
    def is_current(self) -> bool:
        """Whether CURRENT still names it, with the version and bundle that it was opened with.

        Raises:
            StoreError: CURRENT is missing or damaged.
        """
        return _patiently(self._is_current)

    def _is_current(self) -> bool:
        if installs.current(self.reader.directory) != self.folder:
            return False
        if version_of(self.folder) != self.reader.facts.version:
            return False
        opened = os.fstat(self._file.fileno())
        try:
            return os.path.samestat(opened, self.reader.bundle_path.stat())
        except OSError:
            return True  # it is gone: what is open is the better one

    def close(self) -> None:
        """Frees files and memory; no search runs."""
        if self._start is not None:
            self._start.end()
        if self._embedder is not None:
            self._embedder.close()
        self._opened.close()

    def embedder(self) -> Embedder:
        """The bundle's embedder, loaded once."""
        with self._loading:
            if self._embedder is None:
                from pocketlens.query.embedder import Embedder

                cache = self.reader.codebook_cache
                self._embedder = Embedder.open(
                    self.model(),
                    accelerator=self._settings.accelerator,
                    limits=self._settings.limits,
                    expected_sha256=self.reader.facts.bundle_sha256,
                    checks=None if cache is None else cache.parent,
                    delegate=self._settings.delegate,
                )
                self._bundle = self._embedder.bundle
            return self._embedder

    def bundle(self) -> Bundle:
        """What the bundle says, read once."""
        with self._loading:
            if self._bundle is None:
                data = self.model()
                if hashlib.sha256(data).digest() != self.reader.facts.bundle_sha256:
                    raise BundleHashMismatch(
                        f"{self.reader.bundle_path} is not the bundle that the store was made "
                        "with. Make the store again: pocketlens index"
                    )
                self._bundle = bundles.decode(data)
            return self._bundle

    def answer(
        self,
        embedding: npt.NDArray[np.float32],
        k: int,
        wanted: Filter | None,
        *,
        spent: Timings,
        accelerator: str,
    ) -> SearchResult:
        """Embedding to result.

        Args:
            embedding: float32 (dim,), unit length.
            k: Matches wanted.
            wanted: Filter, or None.
            spent: What came before.
            accelerator: What made the embedding; "" where it was given.

        Raises:
            QueryError: The embedding or `k` cannot be.
            StoreCorrupt: Something that had to be read is damaged.
        """
        searcher, facts = self._the_searcher(), self.reader.facts
        started = perf_counter()
        found = searcher.search(embedding, k, wanted)
        judged = judge(
            found.similarity, found.margin, facts.products, self.bundle().calibration(_PIPELINE)
        )
        matches = self._matches(found.groups)
        is_first = found.best[:1] == found.groups[:1]
        best = matches[:1] if is_first else self._matches(found.best[:1])
        spent = replace(spent, search_ms=(perf_counter() - started) * 1e3)
        if self._start is not None:
            self._pass_trial(self._start)
        matching = found.matching_products
        return SearchResult(
            verdict=judged.verdict,
            confidence=judged.confidence,
            best=best[0] if best else None,
            matches=matches,
            threshold=judged.threshold,
            margin=found.margin,
            matches_in_filter=facts.products if matching is None else matching,
            gallery_size=facts.products,
            generation=facts.generation,
            version=facts.version,
            as_of=facts.as_of,
            accelerator=accelerator,
            timings=spent,
        )

    def _pass_trial(self, start: Start) -> None:
        start.end()
        with self._loading:
            if self._start is not None and trials.passed(self.folder):
                self._start = None

    def _matches(self, groups: Sequence[Group]) -> tuple[Match, ...]:
        images = self.reader.images_only([group.image_key for group in groups])
        keys = sorted({key for group in groups for key in group.product_keys})
        products = self.reader.products(keys)
        return tuple(
            Match(
                product=products[group.product_keys[0]],
                image=images[group.image_key],
                similarity=group.similarity,
                alternatives=tuple(products[key] for key in group.product_keys[1:]),
            )
            for group in groups
        )

    def _the_searcher(self) -> Searcher:
        bundle = self.bundle()
        with self._loading:
            if self._searcher is None:
                options = self._settings.options
                self._searcher = searcher_of(self.reader, bundle, self._codebook, options)
            return self._searcher

    def model(self) -> bytes:
        """Bytes of the bundle's file, not yet hashed."""
        self._file.seek(0)
        return self._file.read()


def _patiently(read: Callable[[], Value]) -> Value:
    """Asks again where CURRENT moved in between: the install it named is removed at once."""
    for _ in range(_ATTEMPTS - 1):
        with suppress(StoreCorrupt, StoreNotFound):
            return read()
    return read()


def searcher_of(
    reader: Reader,
    bundle: Bundle,
    codebook: Codebook | None = None,
    options: SearchOptions | None = None,
) -> Searcher:
    """Searches what a reader sees.

    Args:
        reader: Of the rows.
        bundle: That their codes were made with.
        codebook: Of the same rows; read, and scanned, if None.
        options: Defaults if None.

    Raises:
        StoreCorrupt: The codebook is damaged.
    """
    return Searcher(
        _Source(reader),
        codebook or Codebook(reader.centroids(), index="exact"),
        scale=reader.facts.scale,
        probes=reader.facts.probes,
        options=options,
        duplicate_cosine=bundle.spec.duplicate_cosine,
    )


class _Source:
    """A reader as the rows that `query.searcher` asks for."""

    def __init__(self, reader: Reader) -> None:
        self.version = reader.facts.version
        self.read_list, self.codes_of = reader.read_list, reader.codes_of
        self.links, self.attribute_keys = reader.links, reader.products_with
        self.columns = reader.columns
        self._reader = reader

    def lists_of(self, image_keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        return self._reader.lists_of(image_keys).astype(np.int32)
