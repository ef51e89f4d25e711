"""Lens: a photo to products, offline. Wires the rooms of the SDK; decides nothing itself.

    with Lens.open("shop/") as lens:
        found = lens.search("photo.jpg", k=5)
        for found in lens.search_in_steps("photo.jpg", fallback=Fallback("shop.example:8443")):
            show(found)

How it is opened, moved on and closed is here; what it is asked, in `searching`. Pictures and the
model load with the first photo.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pocketlens import following
from pocketlens.closing import Closing
from pocketlens.open_install import Settings
from pocketlens.options import Accelerator, PictureLimits, SearchOptions, SyncOptions
from pocketlens.searching import Searching
from pocketlens.store.facts import StoreFacts

if TYPE_CHECKING:
    from pocketlens.formats.bundle import Bundle
    from pocketlens.sync.reports import SyncReport
    from pocketlens.sync.transports import Transport


class Lens(Searching, Closing):
    """A store, open for searching.

    Threads: any number may search one Lens at once, also while another refreshes or closes it.
    Processes: any number may open one store, also a read-only one, also while `pocketlens index`
    makes it anew; a Lens keeps the install it was opened with until `refresh`. After a fork a
    child must open its own: a Lens of the parent refuses every call there, and says so.
    Closing: `close` refuses new searches at once, and ends the waiting for servers once the ledger
    says what came of that; files and memory are freed when the searches that run have ended, those
    in steps included. A context manager closes on leaving.
    """

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
        if is_other:
            with self._lock:
                self._appraiser = None  # it holds what it has read of the install before
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
