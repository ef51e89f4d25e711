"""What a sync may cost: refused before it costs anything.

check(plan, options, directory)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from pathlib import Path

from pocketlens.errors import MeteredRefused, StoreFull
from pocketlens.options import SyncOptions
from pocketlens.sync.planner import Action, Plan

_GROWTH = 3  # bytes of a store for each byte of a stream, at most
_SPARE_BYTES = 4 << 20  # that stay free


def check(plan: Plan, options: SyncOptions, directory: Path) -> None:
    """Checks that what a plan fetches is allowed, and that there is room for it.

    Raises:
        MeteredRefused: It is more than the options allow.
        StoreFull: There is too little room.
    """
    limit = options.limit_bytes
    if limit is not None and plan.fetch_bytes > limit:
        raise MeteredRefused(
            f"The sync needs {plan.fetch_bytes:,} bytes; {limit:,} are allowed here. Sync on "
            "another network, or allow more."
        )
    inflated = sum(each.inflated_size for each in plan.changes)
    if plan.relist is not None:  # all codes are written anew
        inflated += plan.relist.inflated_size + plan.manifest.images * len(plan.manifest.scale)
    bundle = plan.manifest.bundle.size if plan.action is Action.INSTALL else 0
    needed = plan.fetch_bytes + bundle + _GROWTH * inflated + _SPARE_BYTES
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise StoreFull(
            f"The sync needs {needed:,} bytes of room, {free:,} are free in {directory}. "
            "Free some space and try again."
        )
