"""Catalogues that are being served, published by themselves when their settings say so.

    task = asyncio.create_task(publish_when_due(lives, clock=clock))

Settings are read anew each time, so that an operator who changes them waits for nothing. What waits
is asked of the tables: a rollback counts, and so does what a command beside the server has brought.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pocketlens.errors import ClockSuspect, PocketLensError
from pocketlens_server import settings
from pocketlens_server.catalogue.live_catalogue import LiveCatalogue
from pocketlens_server.catalogue.live_catalogues import LiveCatalogues
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.publishing import releasing
from pocketlens_server.publishing.automatic import AutoPublish, Unpublished
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_RETRY_SECONDS = 30.0  # after a failure, such as settings that cannot be read
_COUNTED = 50_000  # that wait: so many are counted in 10 ms


@dataclass(slots=True)
class _Seen:
    """What was seen of a catalogue; times by the loop's clock.

    Attributes:
        version: The newest at the last look; None before the first.
        applied: What `LiveCatalogue.applied` was when that was new.
        first_at: When something was first seen to wait; None while nothing does.
        last_at: When that version was new, or the last try to publish another.
    """

    version: int | None = None
    applied: int = 0
    first_at: float | None = None
    last_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look finds in a catalogue that is published by itself.

    Attributes:
        policy: By which.
        version: The newest.
        waiting: Products and images that the next one changes.
    """

    policy: AutoPublish
    version: int
    waiting: int


async def publish_when_due(
    lives: LiveCatalogues,
    *,
    clock: Callable[[], datetime],
    look_seconds: float = _LOOK_SECONDS,
    retry_seconds: float = _RETRY_SECONDS,
) -> None:
    """Looks at every catalogue, for ever; none waits for another that is published, or is held.

    Args:
        lives: Of the server.
        clock: When versions are published; none is while it raises ClockSuspect.
        look_seconds: From one look to the next.
        retry_seconds: The same, after one that failed.
    """
    watched = set[LiveCatalogue]()
    async with asyncio.TaskGroup() as tasks:
        while True:
            for live in {*lives} - watched:
                watched.add(live)
                tasks.create_task(_watch(live, clock, look_seconds, retry_seconds))
            await asyncio.sleep(look_seconds)


async def _watch(
    live: LiveCatalogue, clock: Callable[[], datetime], look_seconds: float, retry_seconds: float
) -> None:
    """Looks at one catalogue, for ever."""
    seen = _Seen()
    while True:
        pause = retry_seconds
        try:
            waiting = await _look(live, seen, clock)
            pause = look_seconds * (1 + waiting // _COUNTED)
        except ClockSuspect:  # it was told
            pass
        except PocketLensError as exc:
            logger.warning("publish.failed catalogue=%s error=%s", live.folder.name, exc)
        except Exception:  # a bug: the next try may do better
            logger.exception("publish.failed catalogue=%s", live.folder.name)
        await asyncio.sleep(pause)


async def _look(live: LiveCatalogue, seen: _Seen, clock: Callable[[], datetime]) -> int:
    """Publishes if that is due; how much waited."""
    found, now = await live.ask(lambda: _found(live.folder)), asyncio.get_running_loop().time()
    if found is None:
        return 0
    if found.version != seen.version:  # whoever published it
        if seen.version is not None:
            seen.last_at = now
        seen.version, seen.applied, seen.first_at = found.version, live.applied, None
    if found.waiting == 0:
        seen.applied, seen.first_at = live.applied, None
        return 0
    if seen.first_at is None:
        seen.first_at = now
    # A price that is set ten times counts ten times; what came in another way counts by its traces.
    operations = max(live.applied - seen.applied, found.waiting)
    if found.policy.is_due(Unpublished(operations, now - seen.first_at, now - seen.last_at)):
        seen.last_at = now  # of the try: it may fail, and is due again then
        published = await live.publish(
            lambda: releasing.publish(live.folder, now=clock(), rng=np.random.default_rng(0))
        )
        if published is not None:
            logger.info(
                "publish.complete catalogue=%s version=%d", live.folder.name, published.version
            )
    return found.waiting


def _found(folder: CatalogueFolder) -> _Found | None:
    policy = settings.read(folder.folder).publishing
    if not policy.is_on:
        return None
    with folder.reading() as tables:
        history = tables.history
        products = max(history.waiting(PRODUCT), history.waiting(OFFER))
        return _Found(policy, history.head, products + history.waiting(IMAGE))
