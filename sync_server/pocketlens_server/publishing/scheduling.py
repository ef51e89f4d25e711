"""Catalogues that are being served, published by themselves when their settings say so.

    task = asyncio.create_task(publish_when_due(lives, clock=clock))

Settings are read anew each time, so that an operator who changes them waits for nothing.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pocketlens.errors import PocketLensError
from pocketlens_server import settings
from pocketlens_server.catalogue.live import LiveCatalogue
from pocketlens_server.catalogue.lives import LiveCatalogues
from pocketlens_server.publishing import releasing
from pocketlens_server.publishing.automatic import Unpublished

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


@dataclass(slots=True)
class _Seen:
    """What was seen of a catalogue.

    Attributes:
        applied: Operations that had changed anything at the last version, or try.
        first_at: When one more had, by the loop's clock; None where none has.
        last_at: When that version, or try, was.
    """

    applied: int
    first_at: float | None
    last_at: float


async def publish_when_due(
    lives: LiveCatalogues,
    *,
    clock: Callable[[], datetime],
    look_seconds: float = _LOOK_SECONDS,
) -> None:
    """Looks at every catalogue, for ever; one that is held does not stop others.

    Args:
        lives: Of the server.
        clock: When versions are published.
        look_seconds: From one look to the next.
    """
    seen: dict[LiveCatalogue, _Seen] = {}
    now = asyncio.get_running_loop().time
    while True:
        for live in lives:
            # Whatever waited when the server began counts from then on.
            state = seen.setdefault(live, _Seen(live.applied - 1, now(), float("-inf")))
            if live.applied > state.applied and state.first_at is None:
                state.first_at = now()
            try:
                await _look(live, state, now(), clock)
            except PocketLensError as exc:
                logger.warning("publish.failed catalogue=%s error=%s", live.folder.name, exc)
            except Exception:  # a bug: other catalogues are still to be published
                logger.exception("publish.failed catalogue=%s", live.folder.name)
        await asyncio.sleep(look_seconds)


async def _look(
    live: LiveCatalogue, state: _Seen, now: float, clock: Callable[[], datetime]
) -> None:
    policy = settings.read(live.folder.folder).publishing
    if not policy.is_on or state.first_at is None:
        return
    unpublished = Unpublished(
        live.applied - state.applied, now - state.first_at, now - state.last_at
    )
    if not policy.is_due(unpublished):
        return
    state.applied, state.first_at, state.last_at = live.applied, None, now
    published = await live.publish(
        lambda: releasing.publish(live.folder, now=clock(), rng=np.random.default_rng(0))
    )
    if published is not None:
        logger.info("publish.complete catalogue=%s version=%d", live.folder.name, published.version)
