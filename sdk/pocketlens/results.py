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


class FallbackOutcome(Enum):
    """What came of allowing a server to look at a photo that the device is unsure of."""

    ANSWERED = "answered"
    """The result is the server's."""
    NOT_NEEDED = "not_needed"
    """The device's answer was good enough: nothing left it, as with the next five."""
    METERED = "metered"
    """To ask costs more than may be spent on a network that is paid for by the byte."""
    OVER_BUDGET = "over_budget"
    """To ask costs more than is left of the day's bytes."""
    UNLISTED = "unlisted"
    """What leaves could not be written into the ledger before."""
    RESTING = "resting"
    """The server failed some times in a row, or asked to be spared, a while ago."""
    NOT_ASKED = "not_asked"
    """There is nobody to ask, or nothing that may be sent; `reason` says which."""
    LATE = "late"
    """No answer came before the deadline."""
    UNAVAILABLE = "unavailable"
    """The server cannot be reached, or asks to be spared."""
    REFUSED = "refused"
    """The server says that it does not answer this, or not this caller."""
    UNUSABLE = "unusable"
    """What came is no answer."""
    OUTDATED = "outdated"
    """What the server found is no longer sold, as the device's newer version says."""


@dataclass(frozen=True, slots=True)
class FallbackReport:
    """What came of the fallback that a search was allowed.

    Attributes:
        outcome: In a word.
        reason: For people; "" where there is nothing to add.
        sent_bytes: That left the device: the question without what the network adds to it (some
            200 bytes, and the token).
        waited_ms: For the server.
        generation, version: Of the store; those of the result are the server's if it answered.
        unknown: Ids of products in the result that the store does not have.
        gone: Ids of products that the server found, and the store's newer version says are gone;
            they are not in the result.
    """

    outcome: FallbackOutcome
    reason: str = ""
    sent_bytes: int = 0
    waited_ms: float = 0.0
    generation: str = ""
    version: int = 0
    unknown: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


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
class Match:
    """One product that the photo may show.

    Attributes:
        product: The product with the highest similarity among `alternatives`.
        image: Its catalogue image nearest to the photo.
        similarity: Cosine of photo and image, -1 to 1, the mean of several photos; on the device
            from the image's int8 code.
        alternatives: Other products that share the image or a near-duplicate of it.
    """

    product: Product
    image: Image
    similarity: float
    alternatives: tuple[Product, ...] = ()


@dataclass(frozen=True, slots=True)
class CategoryShare:
    """A category that a photo may be of.

    Attributes:
        category: Its name.
        probability: 0 to 1, by a vote of the nearest catalogue images.
    """

    category: str
    probability: float


@dataclass(frozen=True, slots=True)
class WordsReport:
    """What came of the words that were asked for.

    Attributes:
        asked: Each once, as they were written.
        unknown: Those that no product has.
        matching: Products under the filter that have any; none beside a photo means that the photo
            alone has answered.
    """

    asked: tuple[str, ...]
    unknown: tuple[str, ...]
    matching: int


@dataclass(frozen=True, slots=True)
class TextMatch:
    """One product that has words that were asked for.

    Attributes:
        product: It.
        image: A catalogue image of it; None where it has none.
        share: How much it has of the words that any product has, above 0 to 1; rare words count for
            more.
    """

    product: Product
    image: Image | None
    share: float


@dataclass(frozen=True, slots=True)
class TextResult:
    """What is known of words alone; no picture, and so no verdict.

    Attributes:
        matches: At most k under the filter; those that have most of the words first.
        words: What came of them.
        matches_in_filter: Products under the filter; gallery size without one.
        gallery_size: Products in the store.
        generation: Hex id of the store's generation.
        version: Version of the catalogue.
        as_of: When that version was made, UTC.
        timings: What it took.
    """

    matches: tuple[TextMatch, ...]
    words: WordsReport
    matches_in_filter: int
    gallery_size: int
    generation: str
    version: int
    as_of: datetime
    timings: Timings = field(default_factory=Timings)


AGREES = 0.4
"""Agreement from which photos may be of one thing (docs/similar.md)."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What is known of one photo, or of several photos of one thing.

    Attributes:
        verdict: On `best`; UNSURE without a calibration, and where the photo is blank.
        confidence: P(`best` is right), 0 to 1; None where nothing says how sure that is.
        best: The first match of the unfiltered search, the same as that of `matches` without a
            filter; None of an empty store.
        matches: At most k under the filter, best first, no two sharing an image; with words not by
            similarity alone.
        threshold: Confidence from which the verdict is MATCH; None where `confidence` is.
        margin: Similarity of `best` less that of the second match of the unfiltered search.
        matches_in_filter: Eligible products under the filter; gallery size without one.
        gallery_size: Products in the store.
        generation: Hex id of the store's generation.
        version: Version of the catalogue.
        as_of: When that version was made, UTC.
        accelerator: What embedded the photo, such as "cpu"; "" for a given vector.
        answered_by: What the verdict and the similarities are of.
        fallback: What came of asking a server; None where none was allowed, or not yet asked.
        agreement: How much each of several photos says the same as the others: 1 is the same
            picture, 0 no more alike than any two of the catalogue; () for one photo.
        categories: Likely ones, likeliest first, where they were asked for: `category="auto"`.
        searched: Those of them that `matches` are of; () where all categories were searched.
        words: What came of the words beside the photo; None where there were none.
        is_blank: Whether the photo is of one colour, as of a covered lens: what it is like means
            nothing. Of several photos, whether all are.
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
    fallback: FallbackReport | None = None
    agreement: tuple[float, ...] = ()
    categories: tuple[CategoryShare, ...] = ()
    searched: tuple[str, ...] = ()
    words: WordsReport | None = None
    is_blank: bool = False

    @property
    def disagreeing(self) -> tuple[int, ...]:
        """Places of the photos that seem to show another thing than the rest; of two, both."""
        return tuple(place for place, each in enumerate(self.agreement) if each < AGREES)

    @property
    def best_is_in_filter(self) -> bool:
        """Whether `best` satisfies the filter: if not, the verdict is on none of `matches`.

        With words: whether it is the first of `matches`; it may be another of them.
        """
        if self.best is None or not self.matches:
            return False
        shown = (self.best.product, *self.best.alternatives)
        return self.matches[0].product.id in {product.id for product in shown}
