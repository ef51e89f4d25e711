"""What becomes of an operation, as a backend is told (PURE)."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """What became of an operation."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    REFUSED = "refused"
    WAITING = "waiting"
    PICTURE_NEEDED = "picture_needed"


class Refusal(StrEnum):
    """Why an operation was refused, for programs; `Outcome.reason` says it to people."""

    INVALID = "invalid"
    """It cannot be, whenever it comes."""
    NOT_THERE_YET = "not_there_yet"
    """What it is about, or shows, is not there: later it may be."""
    REQUEST_ID_TAKEN = "request_id_taken"
    """Its request id was another operation's."""


# Answered for ever: what was refused, or asked for a picture, may be sent again under its id.
LASTING = frozenset({Result.APPLIED, Result.UNCHANGED, Result.SKIPPED, Result.WAITING})


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to one operation.

    Attributes:
        request_id: Of the operation.
        result: What became of it.
        version: In which it will be visible; 0 where it is already, waits, or never will. UNCHANGED
            may be of what is not published yet.
        reason: Why it was refused, or skipped; "" otherwise.
        is_embedding_reused: Whether the picture had been embedded before.
        is_repeated: Whether the same request was answered so before.
        refusal: Why it was refused, in a word; None if it was not, or for what is not known here.
    """

    request_id: str
    result: Result
    version: int = 0
    reason: str = ""
    is_embedding_reused: bool = False
    is_repeated: bool = False
    refusal: Refusal | None = None
