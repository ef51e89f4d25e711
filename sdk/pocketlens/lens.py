"""Lens: a photo to products, offline. Wires the rooms of the SDK; decides nothing itself.

    with Lens.open("shop/") as lens:
        found = lens.search("photo.jpg", k=5)
        for found in lens.search_in_steps("photo.jpg", fallback=Fallback("shop.example:8443")):
            show(found)

photo -> `query.pictures` -> `query.embedder` -> `query.searcher` over `store.reader` ->
`query.verdict` -> `SearchResult` -> `fallback`, where an app allows a server to look.
Pictures and the model load with the first photo.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from pocketlens import following
from pocketlens.closing import Closing
from pocketlens.errors import QueryError, StoreCorrupt, StoreError
from pocketlens.fallback.crops import kept
from pocketlens.fallback.steps import Generated, Steps
from pocketlens.open_install import OpenInstall, Settings
from pocketlens.options import Accelerator, PictureLimits, SearchOptions, SyncOptions
from pocketlens.query.filters import Filter
from pocketlens.results import SearchResult, Timings
from pocketlens.store import installs
from pocketlens.store.facts import StoreFacts

if TYPE_CHECKING:
    from pocketlens.fallback.asking import Asking
    from pocketlens.fallback.options import Fallback
    from pocketlens.formats.bundle import Bundle
    from pocketlens.query.pictures import Box, Picture
    from pocketlens.sync.session import SyncReport
    from pocketlens.sync.transports import Transport


class Lens(Closing):
    """A store, open for searching.

    Threads: any number may search one Lens at once, also while another refreshes or closes it.
    Processes: any number may open one store, also a read-only one, also while `pocketlens index`
    makes it anew; a Lens keeps the install it was opened with until `refresh`. After a fork a
    child must open its own: a Lens of the parent refuses every call there, and says so.
    Closing: `close` refuses new searches at once, and ends the waiting for servers once the ledger
    says what came of that; files and memory are freed when the searches that run have ended, those
    in steps included. A context manager closes on leaving.
    """

    def __init__(self, directory: Path, settings: Settings) -> None:
        """See `open`."""
        self._directory, self._settings = directory, settings
        self._process = os.getpid()
        self._lock = threading.Lock()  # held for moments: guards the install and its searches
        self._install: OpenInstall | None = OpenInstall.opened(directory, settings)
        self._asking: Asking | None = None

    @classmethod
    def open(
        cls,
        directory: str | Path,
        *,
        options: SearchOptions | None = None,
        accelerator: Accelerator = "auto",
        limits: PictureLimits | None = None,
        delegate: Path | None = None,
    ) -> Self:
        """Opens the store in a folder.

        Args:
            directory: As `pocketlens index` made it; a read-only one will do.
            options: How to search; `SearchOptions()` if None.
            accelerator: What embeds photos; "auto" falls back to the CPU.
            limits: What a photo may be; `PictureLimits()` if None.
            delegate: Shared library of an accelerator to take instead of the platform's own.

        Raises:
            StoreNotFound: There is no store.
            StoreCorrupt: A file of it is damaged or missing.
            StoreTooNew: It was written by a newer PocketLens.
        """
        settings = Settings(
            options or SearchOptions(), accelerator, limits or PictureLimits(), delegate
        )
        return cls(Path(directory), settings)

    def search(
        self,
        photo: Picture,
        k: int = 10,
        *,
        filter: Filter | None = None,
        box: Box | None = None,
        fallback: Fallback | None = None,
    ) -> SearchResult:
        """Finds the products that a photo may show. An error leaves the Lens as it was.

        Args:
            photo: Path, bytes, file object, Pillow image, or uint8 array (height, width, 3).
            k: Matches wanted, 1 or more; as many as there are where the store has fewer.
            filter: Only products that satisfy it; the verdict is that of the unfiltered search.
            box: (left, top, right, bottom) in pixels of the upright photo: the part to search.
            fallback: A server that may look too, if it comes to that; it is waited for until its
                deadline. None asks nobody.

        Returns:
            The server's answer if one was asked and came, else the device's; `answered_by` says
            which, and `fallback` why.

        Raises:
            PictureError: The photo cannot be used as one.
            QueryError: `k` or `box` cannot be.
            BundleError: The model cannot run here, or not on the accelerator asked for.
            StoreError: The store is damaged, or this Lens is closed or of another process.
        """
        if fallback is None:
            with self._in_use() as install:
                return self._searched(install, photo, k, filter, box)[0]
        steps = self.search_in_steps(photo, k, filter=filter, box=box, fallback=fallback)
        *_, found = steps
        return replace(found, fallback=steps.fallback)

    def search_in_steps(
        self,
        photo: Picture,
        k: int = 10,
        *,
        fallback: Fallback,
        filter: Filter | None = None,
        box: Box | None = None,
    ) -> Steps:
        """Finds as `search` does; gives the device's answer at once, and then the server's.

        Args:
            photo: As for `search`; it stays as it is until the last step.
            k: As for `search`.
            fallback: The server, and what it may be asked. Nothing is done about it before the
                second step is asked for.
            filter: As for `search`.
            box: As for `search`.

        Returns:
            An iterator of one result, or of two if the server was asked and answered in time;
            afterwards its `fallback` says what came of that. Errors as of `search`, in the first
            step.
        """
        return Steps(self._steps(photo, k, filter, box, fallback))

    def _steps(
        self, photo: Picture, k: int, filter: Filter | None, box: Box | None, fallback: Fallback
    ) -> Generated:
        with self._in_use() as install:
            limits = self._settings.limits
            photo = kept(photo, limits)
            found, embedding = self._searched(install, photo, k, filter, box)
            yield found
            self._check_process()
            from pocketlens.fallback.asking import Question

            spec = install.embedder().spec
            question = Question(photo, box, embedding, k, filter, spec, limits)
            refined, report = self._servers().refined(found, question, fallback, install.reader)
            if refined is not None:
                yield refined
            return report

    def _searched(
        self,
        install: OpenInstall,
        photo: Picture,
        k: int,
        wanted: Filter | None,
        box: Box | None,
    ) -> tuple[SearchResult, npt.NDArray[np.float32]]:
        """The device's answer, and the embedding that it is of."""
        embedder = install.embedder()
        from pocketlens.query import pictures

        started = perf_counter()
        tensor = pictures.tensor(photo, embedder.spec, limits=self._settings.limits, box=box)
        decoded = perf_counter()
        embedding = embedder.embed_tensor(tensor)
        embedded = perf_counter()
        spent = Timings((decoded - started) * 1e3, (embedded - decoded) * 1e3)
        accelerator = embedder.accelerator
        found = install.answer(embedding, k, wanted, spent=spent, accelerator=accelerator)
        return found, embedding

    def search_vector(
        self, embedding: npt.ArrayLike, k: int = 10, *, filter: Filter | None = None
    ) -> SearchResult:
        """Finds the products nearest an embedding by the store's model; no picture is opened.

        Args:
            embedding: Float (dim,), finite, not zero; normalised here.
            k: As for `search`.
            filter: As for `search`.

        Raises:
            QueryError: `embedding` or `k` cannot be.
            StoreError: As for `search`.
            BundleError: The bundle is not the one that the store was made with.
        """
        with self._in_use() as install:
            return install.answer(_unit(embedding), k, filter, spent=Timings(), accelerator="")

    def sync(
        self,
        options: SyncOptions | None = None,
        *,
        transport: Transport | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    ) -> SyncReport:
        """Brings the store up to date with the server that it follows, and moves to it.

        Searches go on all the while; those that run end in what they began with.

        Args:
            options: What it may cost; `SyncOptions()` if None.
            transport: What is asked in place of the server; see `pocketlens.install`.
            cancelled: Asked between pieces of what is fetched; True ends the sync.
            progress: Called with a stage ("fetching", "writing"), done and total.

        Raises:
            SyncError: It cannot be, or the store follows no server; it answers as it did before.
            StoreError: The folder cannot be written, or this Lens is closed.
        """
        with self._in_use():  # a closed Lens says so before anything is fetched
            pass
        report = following.update(
            self._directory,
            transport=transport,
            options=options,
            cancelled=cancelled,
            progress=progress,
        )
        self.refresh()
        return report

    def refresh(self) -> bool:
        """Moves to what the store is now; searches that run end in what it was.

        Returns:
            Whether it is another install, or another version, than before.

        Raises:
            StoreError: It cannot be opened; this Lens goes on with the one it has.
        """
        is_other = self._move()
        with self._in_use() as install:  # the one before is closed, if no search runs in it
            install.reader.let_log_be_emptied()
        return is_other

    def _move(self) -> bool:
        with self._in_use() as old:
            if old.is_current:
                return False
            new = OpenInstall.opened(self._directory, self._settings)
            with self._lock:
                replaced = self._install is old
                if replaced:
                    self._install = new
            if not replaced:  # another thread moved it, or closed it, in the meantime
                new.close()
            return replaced

    def close(self) -> None:
        """Refuses searches from now on; closing again is no error. See the class for the rest."""
        if os.getpid() != self._process:  # the parent's files: closing them here harms its locks
            return
        with self._lock:
            install, self._install = self._install, None
            idle = install is not None and install.searches == 0
            asking = self._asking
        if asking is not None:
            asking.close()
        if install is not None and idle:
            install.close()

    @property
    def directory(self) -> Path:
        """Of the store."""
        return self._directory

    @property
    def facts(self) -> StoreFacts:
        """What the store says of the install in use: counts, generation, version, as_of."""
        with self._in_use() as install:
            return install.reader.facts

    @property
    def bundle(self) -> Bundle:
        """What the bundle of the install in use says: spec, calibrations, golden examples.

        Raises:
            BundleError: It is not the one that the store was made with.
        """
        with self._in_use() as install:
            return install.bundle()

    @contextmanager
    def _in_use(self) -> Iterator[OpenInstall]:
        """The install in use, which stays open for as long as the body runs."""
        self._check_process()
        with self._lock:
            install = self._install
            if install is None:
                raise StoreError(
                    f"This Lens is closed. Open it again: Lens.open({str(self._directory)!r})."
                )
            install.searches += 1
        try:
            yield install
        except StoreCorrupt:
            installs.doubt(self._directory)
            raise
        finally:
            with self._lock:
                install.searches -= 1
                given_up = install is not self._install and install.searches == 0
            if given_up:
                install.close()

    def _servers(self) -> Asking:
        """Those that may be asked; loaded with the first fallback."""
        from pocketlens.fallback.asking import Asking

        with self._lock:
            if self._asking is None:
                self._asking = Asking(self._directory)
                if self._install is None:  # closed since
                    self._asking.close()
            return self._asking

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise StoreError(
                f"This Lens was opened by process {self._process}, before a fork to "
                f"{os.getpid()}. Open another here: Lens.open({str(self._directory)!r})."
            )


def _unit(embedding: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """The vector at unit length, in float32."""
    try:
        vector = np.asarray(embedding, np.float64)
    except (TypeError, ValueError) as exc:
        raise QueryError(f"Expected a vector of numbers. Received {type(embedding)}.") from exc
    length = float(np.linalg.norm(vector))
    if not 0 < length < float("inf"):
        raise QueryError("Expected a vector of finite numbers that are not all zero.")
    return (vector / length).astype(np.float32)
