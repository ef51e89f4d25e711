"""What a sync did, or would do. Values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pocketlens.store.marks import Quarantine
from pocketlens.sync.planner import Action


@dataclass(frozen=True, slots=True)
class ThumbnailReport:
    """What a sync did about thumbnails, or, as a plan, would do; nothing where none are wanted.

    Attributes:
        packs: That were fetched.
        fetched_bytes: Of them and of their list.
        waiting_bytes: That are left to fetch.
        reason: Why something is left; "" where nothing is.
    """

    packs: int = 0
    fetched_bytes: int = 0
    waiting_bytes: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did, or, as a plan, would do.

    Attributes:
        action: What it did.
        version: Of the store afterwards.
        before: Of the store before; 0 where there was none.
        fetched_bytes: Of pieces; neither signed metadata nor thumbnails are counted.
        as_of: When the version was published.
        held_back: The version that waits because it does not work on this device, and why; None
            where none does. A store of an earlier generation follows that one meanwhile.
        thumbnails: What came of them.
    """

    action: Action
    version: int
    before: int
    fetched_bytes: int
    as_of: datetime
    held_back: Quarantine | None = None
    thumbnails: ThumbnailReport = ThumbnailReport()
