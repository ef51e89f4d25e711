"""What a catalogue keeps of what it no longer needs, and how long; the rest is forgotten.

    retired = retire(history, vectors, now=clock())
    pruned = prune(history, vectors, Keeping().versions)

Inside the caller's transaction, so that nothing is half forgotten. The newest generation and
version always stay.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT, History, placement_kind
from pocketlens_server.storage.vectors import Generation, Vectors


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long.

    Attributes:
        versions: That a device may be behind and still follow by a delta; before that it takes the
            snapshot. History of older ones is forgotten, so that no rollback leads there.
        generation_days: That a generation gets versions after a newer one was first published:
            an app that is updated once a month does not install twice.
        file_hours: That a file which devices may be fetching stays after the last manifest naming
            it; 24 at least are promised.
    """

    versions: int = 1000
    generation_days: int = 30
    file_hours: int = 24


def name_the_day(vectors: Vectors, *, now: datetime, days: int) -> None:
    """Says of every generation but the newest when it retires, if that was not said yet."""
    for generation in vectors.generations()[:-1]:
        if generation.retires_at is None:
            retires_at = now + timedelta(days=days)
            vectors.put_generation(replace(generation, retires_at=retires_at))


def retire(history: History, vectors: Vectors, *, now: datetime) -> list[Generation]:
    """Forgets generations whose day has come; devices that follow one move to the newest.

    Returns:
        Those that are forgotten. Its manifest is gone from what is signed next.
    """
    retired = [
        each
        for each in vectors.generations()[:-1]
        if each.retires_at is not None and each.retires_at <= now
    ]
    for generation in retired:
        vectors.forget_generation(generation)
        history.forget(placement_kind(generation.number))
    return retired


def prune(history: History, vectors: Vectors, versions: int) -> int:
    """Forgets what ended so many versions ago or earlier: no delta has an older base afterwards.

    Args:
        history: Of the catalogue, nothing waiting.
        vectors: Of the catalogue.
        versions: Before head, that stay; 1 at least do.

    Returns:
        How many values were forgotten.
    """
    oldest = history.head - max(1, versions)
    if oldest <= 1:
        return 0
    kinds = [placement_kind(generation.number) for generation in vectors.generations()]
    pruned = sum(history.prune(kind, oldest) for kind in (PRODUCT, OFFER, IMAGE, *kinds))
    vectors.forget_states(oldest)
    history.forget_versions(oldest)
    return pruned
