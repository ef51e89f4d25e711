"""What a server gives to questions: the section [query] of server.toml. Values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass, fields

from pocketlens.errors import ServerError


@dataclass(frozen=True, slots=True)
class QuerySettings:
    """All of it; numbers above 0.

    Attributes:
        enabled: Whether QueryService answers; each catalogue that is asked about takes 4 bytes a
            dimension and image of memory, from the first question on, or from the start of a server
            that has a token for that or a page.
        photo_bytes: Of a photo, at most; over gRPC a message's limit holds as well.
        batch: Photos embedded, or questions searched, together at most: more make the last one
            wait without making all faster (benchmarks/query.py).
        waiting: Photos at most that are being answered or wait for it, and as many vectors: more
            than one client may send at once. Fewer where callers would not be answered in time.
        waiting_bytes: Of those photos together.
        decoders: Processes that decode photos; 0 for one a core.
    """

    enabled: bool = True
    photo_bytes: int = 16 << 20
    batch: int = 16
    waiting: int = 128
    waiting_bytes: int = 256 << 20
    decoders: int = 0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in ("enabled", "decoders") and not value > 0:
                raise ServerError(f"Expected {each.name} above 0. Received {value}.")
