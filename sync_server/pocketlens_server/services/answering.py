"""Errors of a call to the status that its caller gets: by the table, and nothing of ours besides.

async with answered(context):
...                                    # raises NotFound: the caller gets NOT_FOUND
told(NotFound("..."))                      # the same, however it is answered
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio

from pocketlens.errors import PocketLensError, StoreError, StoreFull
from pocketlens.sync.statuses import PUSHBACK_METADATA, status_of

logger = logging.getLogger(__name__)

# What only the operator can mend is told to the operator alone: its text names files of the server.
_OURS = frozenset({"INTERNAL", "DATA_LOSS"})


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller is told of an error.

    Attributes:
        code: Of gRPC.
        text: What was wrong.
        retry_seconds: Before which not to come again; 0 where that is not said.
    """

    code: str
    text: str
    retry_seconds: float = 0


def told(error: Exception) -> Told:
    """What a caller is told; what only the operator can mend is logged."""
    if not isinstance(error, PocketLensError):  # whatever else arrives here is a bug
        logger.error("service.failed", exc_info=error)
        return Told("INTERNAL", "The server failed.")
    code, text = status_of(error), str(error)
    if isinstance(error, StoreError) or code in _OURS:
        logger.warning("service.failed error=%s", error)
        text = "The server failed."
        if isinstance(error, StoreFull):
            text = "The server's disk is full."
    return Told(code, text, getattr(error, "retry_seconds", 0))


@asynccontextmanager
async def answered(context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
    """Ends a call whose body raises, with the code and the text of the error."""
    try:
        yield
    except grpc.aio.AbortError:  # answered already, as by what checks the requests of a stream
        raise
    except Exception as exc:  # the outermost place of a call
        found = told(exc)
        after = (PUSHBACK_METADATA, str(math.ceil(found.retry_seconds * 1000)))
        trailing = (*context.trailing_metadata(), after) if found.retry_seconds else ()
        await context.abort(grpc.StatusCode[found.code], found.text, trailing)
