"""Errors and gRPC status codes: what a server answers, what a client makes of it (PURE).

    status_of(NotFound("..."))                 # "NOT_FOUND"
    error_of("NOT_FOUND", "no such blob")      # NotFound("no such blob")

The one table of both sides; docs/errors.md shows it. Codes are named as grpc.StatusCode names them.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pocketlens import errors
from pocketlens.errors import PocketLensError

STATUS: Mapping[type[PocketLensError], str] = MappingProxyType(
    {
        PocketLensError: "INTERNAL",
        errors.MissingExtraError: "UNIMPLEMENTED",
        errors.PictureError: "INVALID_ARGUMENT",
        errors.BundleError: "FAILED_PRECONDITION",
        errors.StoreNotFound: "NOT_FOUND",
        errors.StoreCorrupt: "DATA_LOSS",
        errors.StoreTooNew: "FAILED_PRECONDITION",
        errors.StoreLocked: "ABORTED",
        errors.StoreFull: "RESOURCE_EXHAUSTED",
        errors.CatalogError: "INVALID_ARGUMENT",
        errors.SyncError: "FAILED_PRECONDITION",
        errors.TransportError: "UNAVAILABLE",
        errors.SyncCancelled: "CANCELLED",
        errors.NotFound: "NOT_FOUND",
        errors.NotAuthorized: "PERMISSION_DENIED",
        errors.NotAuthenticated: "UNAUTHENTICATED",
        errors.CatalogueRestored: "FAILED_PRECONDITION",
        errors.Conflict: "ABORTED",
        errors.QuotaExceeded: "RESOURCE_EXHAUSTED",
        errors.InvalidOperation: "INVALID_ARGUMENT",
        errors.PublishHeld: "FAILED_PRECONDITION",
        errors.QueryError: "INVALID_ARGUMENT",
    }
)
"""What a server answers after an error; one that is not here has the code of the class above it."""

RECEIVED: Mapping[str, type[PocketLensError]] = MappingProxyType(
    {
        "INVALID_ARGUMENT": errors.InvalidOperation,
        "OUT_OF_RANGE": errors.InvalidOperation,
        "NOT_FOUND": errors.NotFound,
        "ABORTED": errors.Conflict,
        "UNAUTHENTICATED": errors.NotAuthenticated,
        "PERMISSION_DENIED": errors.NotAuthorized,
        "RESOURCE_EXHAUSTED": errors.QuotaExceeded,
        "UNAVAILABLE": errors.ServerUnavailable,
        "DEADLINE_EXCEEDED": errors.TransportError,
        "CANCELLED": errors.ServerUnavailable,
    }
)
"""What a client raises; for any other code `ServerError`."""

# Answers that ask to be spared: the same may be asked again, later, and seldom. A gRPC server with
# too much to do drops calls as CANCELLED, before anything looks at them.
PUSHBACK = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"})

# Metadata of such an answer: the milliseconds to wait, or a negative number for not to come again.
# Source: gRPC's proposal A6, which its own retries follow.
PUSHBACK_METADATA = "grpc-retry-pushback-ms"


def status_of(error: PocketLensError | type[PocketLensError]) -> str:
    """The code that a server answers an error with."""
    kind = error if isinstance(error, type) else type(error)
    return next(STATUS[each] for each in kind.__mro__ if each in STATUS)


def error_of(status: str, text: str) -> PocketLensError:
    """The error that a client raises for an answer."""
    return RECEIVED.get(status, errors.ServerError)(text)
