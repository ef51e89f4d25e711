"""Errors and gRPC's codes: one table, whole on both sides."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from pocketlens import errors
from pocketlens.errors import PocketLensError
from pocketlens.sync.statuses import PUSHBACK, RECEIVED, STATUS, error_of, status_of


def below(kind: type[PocketLensError]) -> Iterator[type[PocketLensError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from below(child)


def test_every_code_is_one_of_grpc() -> None:
    known = {each.name for each in grpc.StatusCode} - {"OK"}

    assert {*STATUS.values(), *RECEIVED, *PUSHBACK} <= known


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.PocketLensError, "INTERNAL"),
        (errors.PictureTooLarge, "INVALID_ARGUMENT"),  # of the class above it
        (errors.ServerError, "INTERNAL"),
        (errors.NotAuthorized, "PERMISSION_DENIED"),
        (errors.StoreReadOnly, "INTERNAL"),
        (errors.ServerUnavailable, "UNAVAILABLE"),
    ],
)
def test_an_error_has_the_code_of_the_nearest_class(
    kind: type[PocketLensError], status: str
) -> None:
    assert status_of(kind) == status_of(kind("text")) == status


def test_no_error_is_answered_as_if_nothing_had_happened() -> None:
    for kind in below(PocketLensError):
        assert status_of(kind) not in ("OK", "UNKNOWN"), kind


@pytest.mark.parametrize(
    "kind",
    [
        errors.NotFound,
        errors.NotAuthorized,
        errors.QuotaExceeded,
        errors.InvalidOperation,
        errors.ServerUnavailable,
    ],
)
def test_what_callers_can_mend_comes_back_as_what_it_was(kind: type[PocketLensError]) -> None:
    found = error_of(status_of(kind), "what was wrong")

    assert type(found) is kind
    assert str(found) == "what was wrong"


def test_a_code_that_nobody_knows_is_an_error_of_the_server() -> None:
    assert type(error_of("INTERNAL", "")) is errors.ServerError
    assert type(error_of("UNKNOWN", "")) is errors.ServerError
