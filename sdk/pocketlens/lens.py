"""Lens: a photo to products, offline. Wires the rooms of the SDK; decides nothing itself.

    with Lens.open("shop/") as lens:
        found = lens.search("photo.jpg", k=5)
        for found in lens.search_in_steps("photo.jpg", fallback=Fallback("shop.example:8443")):
            show(found)

photo -> `query.pictures` -> `query.embedder` (`open_install`) -> `query.searcher` over
`store.reader` -> `query.verdict` (`answering`) -> `SearchResult` -> `fallback`, where an app allows
a server to look.
Pictures and the model load with the first photo.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy.typing as npt

from pocketlens import following
from pocketlens.answering import Auto
from pocketlens.closing import Closing
from pocketlens.errors import QueryError
from pocketlens.fallback.steps import PhotoSearch, Steps, generated
from pocketlens.install_in_use import InstallInUse
from pocketlens.open_install import Asked, Settings
from pocketlens.options import Accelerator, PictureLimits, SearchOptions, SyncOptions
from pocketlens.query.filters import Filter
from pocketlens.query.query_vectors import unit
from pocketlens.results import SearchResult, TextResult
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
        self._directory = directory
        self._in_use = InstallInUse(directory, settings)
        self._lock = threading.Lock()  # held for moments: guards what follows
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
        text: str = "",
        box: Box | None = None,
        category: Auto | None = None,
        fallback: Fallback | None = None,
    ) -> SearchResult:
        """Finds the products that a photo may show. An error leaves the Lens as it was.

        Args:
            photo: Path, bytes, file object, Pillow image, or uint8 array (height, width, 3).
            k: Matches wanted, 1 or more; as many as there are where the store has fewer.
            filter: Only products that satisfy it; the verdict is that of the unfiltered search.
            text: Words, such as "blue", that lift products with them in title, category or
                attributes; the verdict is that of the photo. Servers are not asked with words.
            box: (left, top, right, bottom) in pixels of the upright photo: the part to search.
            category: "auto" searches the category that the photo is of if that is sure, two if it
                is one of these, else all: see `SearchResult.categories` and `searched`. Where none
                of these satisfies the filter, all are searched. A category of your own choice, also
                one that is called auto, belongs into the filter.
            fallback: A server that may look too, if it comes to that; it is waited for until its
                deadline; it searches all categories. None asks nobody.

        Returns:
            The server's answer if one was asked and came, else the device's; `answered_by` says
            which, and `fallback` why.

        Raises:
            PictureError: The photo cannot be used as one.
            QueryError: `k`, `box` or `category` cannot be, or there are words and a fallback.
            MissingExtraError: There are words, and SQLite has no FTS5.
            BundleError: The model cannot run here, or not on the accelerator asked for.
            StoreError: The store is damaged, or this Lens is closed or of another process.
        """
        if fallback is None:
            with self._in_use.held() as install:
                return install.answer(install.embedded(photo, box), k, filter, category, text)
        if text:
            raise QueryError("Expected words or a fallback. Received both: servers take no words.")
        steps = self.search_in_steps(
            photo, k, filter=filter, box=box, category=category, fallback=fallback
        )
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
        category: Auto | None = None,
    ) -> Steps:
        """Finds as `search` does; gives the device's answer at once, and then the server's.

        Args:
            photo: As for `search`; it stays as it is until the last step.
            k: As for `search`.
            fallback: The server, and what it may be asked. Nothing is done about it before the
                second step is asked for.
            filter: As for `search`.
            box: As for `search`.
            category: As for `search`.

        Returns:
            An iterator of one result, or of two if the server was asked and answered in time;
            afterwards its `fallback` says what came of that. Errors as of `search`, in the first
            step.
        """
        search = PhotoSearch(photo, k, filter, box, category)
        return Steps(generated(search, fallback, self._in_use, self._servers))

    def search_together(
        self,
        photos: Sequence[Picture],
        k: int = 10,
        *,
        filter: Filter | None = None,
        text: str = "",
        boxes: Sequence[Box | None] | None = None,
        category: Auto | None = None,
    ) -> SearchResult:
        """Finds the products that several photos of one thing may show; one answer to all.

        Args:
            photos: One or more, each as for `search`.
            k: As for `search`.
            filter: As for `search`.
            text: As for `search`.
            boxes: The part of each photo to search, None for all of it; None searches all whole.
            category: As for `search`.

        Returns:
            As of `search`. A similarity is the mean of the photos', so that photos of different
            things come to no match; `agreement` tells how much each says the same as the others,
            and `disagreeing` which do not.

        Raises:
            QueryError: There is no photo, or not a box for each; and as `search`.
            PictureError, BundleError, StoreError: As `search`; one bad photo fails all, and the
                text says which.
        """
        if isinstance(photos, (str, bytes, PathLike)) or not len(photos):
            raise QueryError("Expected a list of one photo or more. For one alone there is search.")
        if boxes is not None and len(boxes) != len(photos):
            raise QueryError(
                f"Expected a box, or None, for each of {len(photos)} photos. Received {len(boxes)}."
            )
        with self._in_use.held() as install:
            asked, agreement = install.embedded_together(photos, boxes or [None] * len(photos))
            found = install.answer(asked, k, filter, category, text)
            return replace(found, agreement=agreement)

    def similar(
        self,
        product_id: str | None = None,
        k: int = 10,
        *,
        image_id: str | None = None,
        filter: Filter | None = None,
        variety: float = 0.0,
    ) -> SearchResult:
        """Finds what looks like a product of the store. No picture is opened, no model loaded.

        Args:
            product_id: Of the product; all its images together are what is looked for.
            k: As for `search`.
            image_id: Of one image, in place of a product.
            filter: As for `search`.
            variety: From 0, the nearest, to 1: the nearest, and then those that are least like
                what was found already, out of the 5 k nearest (k up to 100; of more, the k nearest
                or 500).

        Returns:
            Matches in the order they were chosen, without images of the product itself (of an
            image, of any product that it shows). `verdict` is UNSURE and `confidence` None:
            nothing was recognised.

        Raises:
            NotFound: The store has no such product with an image, or no such image.
            QueryError: Both or neither are given, or `k` or `variety` cannot be.
            BundleError, StoreError: As for `search_vector`.
        """
        with self._in_use.held() as install:
            return install.answering().similar(
                k, filter, product_id=product_id, image_id=image_id, variety=variety
            )

    def search_text(self, text: str, k: int = 10, *, filter: Filter | None = None) -> TextResult:
        """Finds products by words in title, category and attributes; no photo, and no verdict.

        Args:
            text: Words, such as "blue mug"; the last may be the beginning of one.
            k: Products wanted, 1 or more.
            filter: As for `search`.

        Raises:
            QueryError: `k` cannot be.
            MissingExtraError: SQLite has no FTS5.
            StoreError, BundleError: As for `search_vector`.
        """
        with self._in_use.held() as install:
            return install.answer_words(text, k, filter)

    def search_vector(
        self,
        embedding: npt.ArrayLike,
        k: int = 10,
        *,
        filter: Filter | None = None,
        text: str = "",
        category: Auto | None = None,
    ) -> SearchResult:
        """Finds the products nearest an embedding by the store's model; no picture is opened.

        Args:
            embedding: Float (dim,), finite, not zero; normalised here.
            k: As for `search`.
            filter: As for `search`.
            text: As for `search`.
            category: As for `search`.

        Raises:
            QueryError: `embedding`, `k` or `category` cannot be.
            StoreError: As for `search`.
            BundleError: The bundle is not the one that the store was made with.
        """
        with self._in_use.held() as install:
            return install.answer(Asked(unit(embedding)), k, filter, category, text)

    def thumbnail(self, image_id: str) -> bytes | None:
        """A catalogue image drawn small, as the store has it now; see `Image.thumbnail`.

        Args:
            image_id: Of any image; it need not have been found.

        Returns:
            WebP, at most 3,072 bytes; None where the store has none of it, or a damaged one.

        Raises:
            StoreError: This Lens is closed or of another process.
        """
        with self._in_use.held() as install:
            return install.reader.thumbnails.of(image_id)

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
        with self._in_use.held():  # a closed Lens says so before anything is fetched
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
        is_other = self._in_use.move()
        with self._in_use.held() as install:  # the one before is closed, if no search runs in it
            install.reader.let_log_be_emptied()
        return is_other

    def close(self) -> None:
        """Refuses searches from now on; closing again is no error. See the class for the rest."""
        if not self._in_use.is_of_this_process:
            return
        self._in_use.close()
        with self._lock:
            asking = self._asking
        if asking is not None:
            asking.close()

    @property
    def directory(self) -> Path:
        """Of the store."""
        return self._directory

    @property
    def facts(self) -> StoreFacts:
        """What the store says of the install in use: counts, generation, version, as_of."""
        with self._in_use.held() as install:
            return install.reader.facts

    @property
    def bundle(self) -> Bundle:
        """What the bundle of the install in use says: spec, calibrations, golden examples.

        Raises:
            BundleError: It is not the one that the store was made with.
        """
        with self._in_use.held() as install:
            return install.bundle()

    def _servers(self) -> Asking:
        """Those that may be asked; loaded with the first fallback."""
        from pocketlens.fallback.asking import Asking

        with self._lock:
            if self._asking is None:
                self._asking = Asking(self._directory)
                if self._in_use.is_closed:
                    self._asking.close()
            return self._asking
