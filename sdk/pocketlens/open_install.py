"""One install of a store, opened for searching: photos to embeddings to results, for a Lens.

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
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
import numpy.typing as npt

from pocketlens.answering import Answering, Auto
from pocketlens.errors import BundleHashMismatch, StoreCorrupt, StoreNotFound
from pocketlens.formats import bundle as bundles
from pocketlens.options import Accelerator, PictureLimits, SearchOptions
from pocketlens.query.blank import is_blank
from pocketlens.query.codebook import Codebook
from pocketlens.query.filters import Filter
from pocketlens.query.verdict import of_blank
from pocketlens.results import SearchResult, TextResult, Timings
from pocketlens.store import installs, trials
from pocketlens.store.reader import Reader, facts_of
from pocketlens.store.starts import Start
from pocketlens.store.words import Hits, Words

if TYPE_CHECKING:
    from pocketlens.formats.bundle import Bundle
    from pocketlens.query.embedder import Embedder
    from pocketlens.query.pictures import Box, Picture

Value = TypeVar("Value")

_ATTEMPTS = 4  # CURRENT moves once in an `index`, which takes far longer than to open a store


@dataclass(frozen=True, slots=True)
class Settings:
    """What a Lens was asked to be."""

    options: SearchOptions
    accelerator: Accelerator
    limits: PictureLimits
    delegate: Path | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a store is searched with.

    Attributes:
        vector: float32 (dim,), unit length.
        spent: What it took to make.
        accelerator: What made it; "" where it was given.
        is_blank: Whether it is of a photo of one colour.
    """

    vector: npt.NDArray[np.float32]
    spent: Timings = field(default_factory=Timings)
    accelerator: str = ""
    is_blank: bool = False


class OpenInstall:
    """One install, open. Thread-safe but for `searches`, which its Lens counts under a lock.

    Attributes:
        folder: Of the install.
        reader: Of its rows.
        settings: How it is searched.
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
        self.settings, self._start = settings, start
        self._loading = threading.Lock()
        self._embedder: Embedder | None = None
        self._bundle: Bundle | None = None
        self._answering: Answering | None = None
        self._wording = threading.Lock()  # to make words takes seconds, for which no photo waits
        self._words: Words | None = None
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
        """Whether CURRENT still names it, and all that it was opened with is what there is now.

        Raises:
            StoreError: CURRENT is missing or damaged.
        """
        return _patiently(self._is_current)

    def _is_current(self) -> bool:
        if installs.current(self.reader.directory) != self.folder:
            return False
        facts, now = self.reader.facts, facts_of(self.folder)
        if (now.version, now.thumbnail_facts) != (facts.version, facts.thumbnail_facts):
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
        if self._words is not None:
            self._words.close()
        self._opened.close()

    def embedder(self) -> Embedder:
        """The bundle's embedder, loaded once."""
        with self._loading:
            if self._embedder is None:
                from pocketlens.query.embedder import Embedder

                cache = self.reader.codebook_cache
                self._embedder = Embedder.open(
                    self.model(),
                    accelerator=self.settings.accelerator,
                    limits=self.settings.limits,
                    expected_sha256=self.reader.facts.bundle_sha256,
                    checks=None if cache is None else cache.parent,
                    delegate=self.settings.delegate,
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

    def embedded(self, photo: Picture, box: Box | None = None) -> Asked:
        """A photo, or a part of it, as its embedding; the model loads with the first.

        Raises:
            PictureError: The photo cannot be used as one.
            QueryError: `box` is no part of it.
            BundleError: The model cannot run here.
        """
        embedder = self.embedder()
        from pocketlens.query import pictures

        started = perf_counter()
        tensor = pictures.tensor(photo, embedder.spec, limits=self.settings.limits, box=box)
        shows_nothing = is_blank(tensor, embedder.spec)
        decoded = perf_counter()
        vector = embedder.embed_tensor(tensor)
        spent = Timings((decoded - started) * 1e3, (perf_counter() - decoded) * 1e3)
        return Asked(vector, spent, embedder.accelerator, shows_nothing)

    def answer(
        self,
        asked: Asked,
        k: int,
        wanted: Filter | None = None,
        category: Auto | None = None,
        text: str = "",
    ) -> SearchResult:
        """Embedding, and words beside it, to result; see `Answering.answer`."""
        hits, spent_ms = self._hits(text)
        found = self.answering().answer(asked.vector, k, wanted, category, hits)
        return self._told(asked, found, spent_ms)

    def answer_together(
        self,
        each: Sequence[Asked],
        k: int,
        wanted: Filter | None = None,
        category: Auto | None = None,
        text: str = "",
    ) -> SearchResult:
        """Embeddings of photos of one thing to one result; see `Answering.answer_together`."""
        vectors = np.stack([one.vector for one in each])
        spent = Timings(
            sum(one.spent.decode_ms for one in each), sum(one.spent.embed_ms for one in each)
        )
        hits, spent_ms = self._hits(text)
        found = self.answering().answer_together(vectors, k, wanted, category, hits)
        all_blank = all(one.is_blank for one in each)
        asked = replace(each[0], spent=spent, is_blank=all_blank)
        return self._told(asked, found, spent_ms)

    def _hits(self, text: str) -> tuple[Hits | None, float]:
        """Products that have some of the words, and the milliseconds that took; None of none."""
        started = perf_counter()
        hits = self._the_words().hits(text) if text else None
        return hits, (perf_counter() - started) * 1e3

    def _told(self, asked: Asked, found: SearchResult, words_ms: float) -> SearchResult:
        self.has_answered()
        spent = replace(asked.spent, search_ms=found.timings.search_ms + words_ms)
        found = of_blank(found) if asked.is_blank else found
        return replace(found, accelerator=asked.accelerator, timings=spent)

    def answer_words(self, text: str, k: int, wanted: Filter | None = None) -> TextResult:
        """Words alone to result; see `Answering.worded`."""
        started = perf_counter()
        words = self._the_words()
        hits = words.hits(text)
        found = self.answering().worded(hits, words.scores(hits), k, wanted)
        self.has_answered()
        return replace(found, timings=Timings(search_ms=(perf_counter() - started) * 1e3))

    def _the_words(self) -> Words:
        """The words of its products, read or made once."""
        with self._wording:
            if self._words is None:
                self._words = Words(self.reader)
            return self._words

    def answering(self) -> Answering:
        """What answers of the rows, made once."""
        bundle = self.bundle()
        with self._loading:
            if self._answering is None:
                options = self.settings.options
                self._answering = Answering(self.reader, bundle, self._codebook, options)
            return self._answering

    def has_answered(self) -> None:
        """Ends its trial, if it is on one; called with every answer, whatever was asked."""
        start = self._start
        if start is None:
            return
        start.end()
        with self._loading:
            if self._start is not None and trials.passed(self.folder):
                self._start = None

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
