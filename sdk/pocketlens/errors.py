"""The whole error tree of PocketLens, on one screen (see docs/errors.md).

Every error says what was wrong, where, and what to do. A command prints it in one line on
stderr and exits 1. Facts travel as fields; the text is for people.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class PocketLensError(Exception):
    """Anything PocketLens reports on purpose; whatever else escapes is a bug."""


class MissingExtraError(PocketLensError):
    """A feature needs an extra that is not installed; the text names the install line."""


class PictureError(PocketLensError):
    """A picture cannot be used as one."""


class PictureTooLarge(PictureError):
    """A picture is beyond a limit of `PictureLimits`; decided from its header."""


class PictureTruncated(PictureError):
    """A picture's data ends, or breaks, before the picture does."""


class PictureFormat(PictureError):
    """The data is no picture of a format that is read here."""


class BundleError(PocketLensError):
    """A `.tflite` file cannot serve as a bundle."""


class BundleMissingSpec(BundleError):
    """The model carries no PocketLens spec: it was not made by `pocketlens-converter`."""


class BundleHashMismatch(BundleError):
    """The bytes of a bundle are not those it was made with."""


class ModelUnsupported(BundleError):
    """The model's format, shapes or operators cannot run here."""


class BudgetBroken(BundleError):
    """Converting a model would lose more, or cost more, than was allowed."""


class AcceleratorRejected(BundleError):
    """The accelerator asked for is absent, or drifts beyond the bundle's golden bound."""


class StoreError(PocketLensError):
    """A store directory cannot be used."""


class StoreNotFound(StoreError):
    """There is no store in the directory."""


class StoreCorrupt(StoreError):
    """A file of the store is damaged, cut or missing."""


class StoreTooNew(StoreError):
    """The store was written by a newer PocketLens."""


class StoreLocked(StoreError):
    """Another process is writing to the store."""


class StoreFull(StoreError):
    """The disk has no room for what had to be written."""


class StoreReadOnly(StoreError):
    """The store cannot be written to."""


class CatalogError(PocketLensError):
    """A catalogue cannot be used."""


class ImageListError(CatalogError):
    """An image list is wrong at a place that the error names.

    Attributes:
        path: The list.
        line: Line in it, from 1 (the header is line 1), or None for the list as a whole.
        column: Name of the CSV column, or None.
    """

    def __init__(
        self, what: str, *, path: Path, line: int | None = None, column: str | None = None
    ) -> None:
        self.path, self.line, self.column = path, line, column
        place = str(path) if line is None else f"{path}, line {line}"
        if column is not None:
            place += f", column '{column}'"
        super().__init__(f"{place}: {what}")


class SyncError(PocketLensError):
    """A store cannot be brought up to date; it answers as it did before."""


class TransportError(SyncError):
    """The server could not be reached, or did not send what it has."""


class ServerUnavailable(TransportError):
    """The server does not answer now, or asks to be spared: the same may succeed later.

    Attributes:
        retry_seconds: Before which not to come again, as the server says; 0 where it does not.
    """

    def __init__(self, what: str, *, retry_seconds: float = 0) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(what)


class ClockSuspect(SyncError):
    """The device's clock is later than everything that was signed: it may be wrong."""


class TrustError(SyncError):
    """What came was not signed by whom the store trusts, or says what cannot be."""


class StateMismatch(SyncError):
    """What came does not bring the store to the state that was signed."""


class GoldenProbeFailed(SyncError):
    """A version that was signed does not answer on this device; it is held back."""


class MeteredRefused(SyncError):
    """A sync would cost more bytes than were allowed."""


class SyncCancelled(SyncError):
    """A sync was cancelled by its caller."""


class UpdateRequired(SyncError):
    """What the server offers needs a newer PocketLens."""


class ServerError(PocketLensError):
    """A server cannot do what it was asked for."""


class NotFound(ServerError):
    """A server, or a store, has nothing of the name that it was asked for."""


class NotAuthorized(ServerError):
    """A server does not let the caller do what was asked for, or does not know its token."""


class NotAuthenticated(NotAuthorized):
    """A server does not know who asks: no token came, or none that it gave and that holds."""


class Conflict(ServerError):
    """What was asked for is not what holds any more: somebody else was first."""


class CatalogueRestored(ServerError):
    """A catalogue was restored from a backup: nothing is published before it is said above what."""


class QuotaExceeded(ServerError):
    """A server was asked for more than the caller may have, or than it takes at once.

    Attributes:
        retry_seconds: Before which not to come again, as the server says; 0 where it does not.
    """

    def __init__(self, what: str, *, retry_seconds: float = 0) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(what)


class InvalidOperation(ServerError):
    """A change of a catalogue cannot be made so."""


class PublishHeld(ServerError):
    """A version was not published, because something in it looks wrong.

    Attributes:
        reasons: Name of each gate that holds it, and what that found.
    """

    def __init__(self, what: str, reasons: Sequence[tuple[str, str]]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(what)


class QueryError(PocketLensError):
    """A question cannot be asked so: k, box, filter, or a vector of a wrong length."""


class TrainingError(PocketLensError):
    """Training, conversion or evaluation cannot go on with what it was given."""
