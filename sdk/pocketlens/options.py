"""Every limit and default of the SDK, with its unit and its reason. Values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pocketlens.errors import SyncError

MIB = 1 << 20

Accelerator = Literal["auto", "cpu", "gpu", "npu", "nnapi"]
CodebookIndex = Literal["auto", "exact", "annoy"]


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """What a picture may be before it is opened; all are checked from its header.

    Attributes:
        encoded_bytes: Size of the file.
        baseline_jpeg_pixels: Width x height of a baseline JPEG, which is decoded scaled.
        other_pixels: Width x height of everything else (progressive JPEG keeps all its
            coefficients: 94 megapixels need 290 MB).
        decoded_bytes: Size decoded at the file's own depth, of everything but baseline JPEG: of
            a progressive one its coefficients count (4:4:4 ends at 25 megapixels), of WebP what
            its decoder holds at once (14 megapixels).
        min_side, max_side: Pixels of either side.
    """

    encoded_bytes: int = 64 * MIB
    baseline_jpeg_pixels: int = 200_000_000
    other_pixels: int = 50_000_000
    decoded_bytes: int = 150_000_000
    min_side: int = 8
    max_side: int = 30_000


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How a store is searched.

    Attributes:
        cache_bytes: Memory for lists that were read; 32 MiB hold all of 100,000 x 128.
        codebook_index: "auto" scans centroids exactly below 1,024 of them and goes through
            Annoy from there on (benchmarks/search.py shows both).
        probes: Lists to score; None takes the number fitted when the codebook was made.
    """

    cache_bytes: int = 32 * MIB
    codebook_index: CodebookIndex = "auto"
    probes: int | None = None


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a sync waits for a network, in seconds; all above 0.

    Attributes:
        connect_seconds: For a connection; over HTTPS again for TLS.
        idle_seconds: While nothing comes of what was asked for; over gRPC 64 KiB come at once.
        call_seconds: For one answer in all: a piece of 1 MiB at 6 kB/s.
    """

    connect_seconds: float = 10
    idle_seconds: float = 20
    call_seconds: float = 180

    def __post_init__(self) -> None:
        if not min(self.connect_seconds, self.idle_seconds, self.call_seconds) > 0:
            raise SyncError(f"Expected deadlines above 0 seconds. Received {self}.")


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What a sync may cost.

    Attributes:
        is_metered: Whether the network at hand is paid for by the byte.
        metered_bytes: Fetched by one sync on such a network, at most: many deltas, no install.
        max_bytes: Fetched by one sync on any network, at most; None for no limit.
        deadlines: How long it waits.
    """

    is_metered: bool = False
    metered_bytes: int = MIB
    max_bytes: int | None = None
    deadlines: Deadlines = Deadlines()

    @property
    def limit_bytes(self) -> int | None:
        """What one sync may fetch on the network at hand."""
        if not self.is_metered:
            return self.max_bytes
        allowed = self.metered_bytes if self.max_bytes is None else self.max_bytes
        return min(self.metered_bytes, allowed)
