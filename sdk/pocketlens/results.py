"""An answer's nouns: what a search returns. Values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Literal

from pocketlens.products import Image, Product


class Verdict(Enum):
    """Whether the first match is the thing in the photo."""

    MATCH = "match"
    UNSURE = "unsure"
    NO_MATCH = "no_match"


Pipeline = Literal["device", "embedding", "photo"]
"""What answered, which has a calibration of its own: the bundle's model against codes, the same
against float32 vectors, or the float model against a gallery of its own. The last two on a server.
"""


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds of each stage of one search, on a monotonic clock.

    Attributes:
        decode_ms, embed_ms, search_ms: Of the work.
        queue_ms: Waiting for others, on a server.
    """

    decode_ms: float = 0.0
    embed_ms: float = 0.0
    search_ms: float = 0.0
    queue_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """All stages together."""
        return self.decode_ms + self.queue_ms + self.embed_ms + self.search_ms


@dataclass(frozen=True, slots=True)
class Refinement:
    """What became of asking a server, where a search had a `Fallback`.

    Attributes:
        outcome: "answered"; "not wanted" of an answer that is sure enough; "held back" by a budget
            or by the circuit breaker; "failed", after something left or before.
        reason: Why, in words; of an answer, how its version differs.
        sent: "embedding", "photo", or "" where nothing left.
        sent_bytes: That left.
        elapsed_ms: From the device's answer on.
    """

    outcome: str
    reason: str = ""
    sent: str = ""
    sent_bytes: int = 0
    elapsed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Match:
    """One product that the photo may show.

    Attributes:
        product: The product with the highest similarity among `alternatives`.
        image: Its catalogue image nearest to the photo.
        similarity: Cosine of photo and image, -1 to 1; on the device from the image's int8 code.
        alternatives: Other products that share the image or a near-duplicate of it.
    """

    product: Product
    image: Image
    similarity: float
    alternatives: tuple[Product, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What is known of one photo.

    Attributes:
        verdict: On `best`; UNSURE without a calibration.
        confidence: P(`best` is right), 0 to 1; None without a calibration.
        best: The first match of the unfiltered search, the same as that of `matches` without a
            filter; None of an empty store.
        matches: At most k under the filter, best first, no two sharing an image.
        threshold: Confidence from which the verdict is MATCH; None without a calibration.
        margin: Similarity of `best` less that of the second match of the unfiltered search.
        matches_in_filter: Eligible products under the filter; gallery size without one.
        gallery_size: Products in the store.
        generation: Hex id of the store's generation.
        version: Version of the catalogue.
        as_of: When that version was made, UTC.
        accelerator: What embedded the photo, such as "cpu"; "" for a given vector.
        answered_by: What the verdict and the similarities are of.
        refinement: What became of asking a server; None without a `Fallback`.
    """

    verdict: Verdict
    confidence: float | None
    best: Match | None
    matches: tuple[Match, ...]
    threshold: float | None
    margin: float | None
    matches_in_filter: int
    gallery_size: int
    generation: str
    version: int
    as_of: datetime
    accelerator: str = ""
    timings: Timings = field(default_factory=Timings)
    answered_by: Pipeline = "device"
    refinement: Refinement | None = None

    @property
    def best_is_in_filter(self) -> bool:
        """Whether `best` satisfies the filter: if not, the verdict is on none of `matches`."""
        if self.best is None or not self.matches:
            return False
        shown = (self.best.product, *self.best.alternatives)
        return self.matches[0].product.id in {product.id for product in shown}
