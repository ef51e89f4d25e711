"""Errors of a call to the status that its caller gets: by the table, and nothing of ours besides.

async with answered(context):
    ...                                    # raises NotFound: the caller gets NOT_FOUND
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio

from pocketlens.errors import PocketLensError, StoreError, StoreFull
from pocketlens.sync.statuses import PUSHBACK_METADATA, status_of

logger = logging.getLogger(__name__)

# What only the operator can mend is told to the operator alone: its text names files of the server.
_OURS = frozenset({"INTERNAL", "DATA_LOSS"})


@asynccontextmanager
async def answered(context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
    """Ends a call whose body raises, with the code and the text of the error."""
    try:
        yield
    except PocketLensError as exc:
        status, text = status_of(exc), str(exc)
        if isinstance(exc, StoreError) or status in _OURS:
            logger.warning("service.failed error=%s", exc)
            text = (
                "The server's disk is full." if isinstance(exc, StoreFull) else "The server failed."
            )
        seconds = getattr(exc, "retry_seconds", 0)
        after = (PUSHBACK_METADATA, str(math.ceil(seconds * 1000)))
        trailing = (*context.trailing_metadata(), after) if seconds else ()
        await context.abort(grpc.StatusCode[status], text, trailing)
    except grpc.aio.AbortError:  # answered already, as by what checks the requests of a stream
        raise
    except Exception:  # the outermost place of a call: whatever arrives here is a bug
        logger.exception("service.failed")
        await context.abort(grpc.StatusCode.INTERNAL, "The server failed.")
