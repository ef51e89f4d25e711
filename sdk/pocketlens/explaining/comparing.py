"""Two pictures compared as a store compares them, stage by stage.

compared = compare("a.jpg", "b.jpg", Embedder.open("shop.tflite"))
compared.similarity, compared.verdict                  # and compared.png() to look at
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pocketlens.query.blank import is_blank
from pocketlens.query.verdict import NOT_JUDGED, Judgement, judge
from pocketlens.results import Timings, Verdict

if TYPE_CHECKING:
    from pocketlens.formats.bundle import Bundle
    from pocketlens.query.embedder import Embedder
    from pocketlens.query.pictures import Picture

_PIPELINE = "device"  # of calibrations: the verdict is the device's own


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture as the model sees it.

    Attributes:
        tensor: uint8 (height, width, 3), the model's input.
        timings: Decoding and embedding.
        is_blank: Whether it is of one colour: what a model says of that means nothing.
    """

    tensor: npt.NDArray[np.uint8]
    timings: Timings
    is_blank: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """How alike two pictures are.

    Attributes:
        similarity: Cosine of their embeddings, -1 to 1.
        mirrored_similarity: With the second one mirrored.
        verdict: Whether they show one thing; UNSURE without a calibration, and where one is blank.
        confidence: P(they do), 0 to 1; None where nothing says how sure that is.
        threshold: Confidence from which the verdict is MATCH; None where `confidence` is.
        first, second: The pictures.
        accelerator, runtime: What embedded them.
    """

    similarity: float
    mirrored_similarity: float
    verdict: Verdict
    confidence: float | None
    threshold: float | None
    first: Seen
    second: Seen
    accelerator: str
    runtime: str

    def png(self) -> bytes:
        """Both pictures as the model sees them, side by side, for people."""
        from pocketlens.explaining import drawings

        return drawings.of_comparison(self)


def compare(first: Picture, second: Picture, embedder: Embedder) -> Comparison:
    """Compares two pictures, of which it does not matter which comes first.

    Args:
        first: As for `Embedder.embed`.
        second: The other one.
        embedder: Of the bundle to compare by.

    Raises:
        PictureError: One of them cannot be used as a picture.
        BundleError: The embedder is closed, or the model failed.
    """
    seen, (one, other) = zip(*(_seen(each, embedder) for each in (first, second)), strict=True)
    similarity = float(one @ other)
    either_blank = any(each.is_blank for each in seen)
    judged = NOT_JUDGED if either_blank else judgement(similarity, embedder.bundle)
    return Comparison(
        similarity=similarity,
        mirrored_similarity=float(one @ embedder.embed_tensor(seen[1].tensor[:, ::-1])),
        verdict=judged.verdict,
        confidence=judged.confidence,
        threshold=judged.threshold,
        first=seen[0],
        second=seen[1],
        accelerator=embedder.accelerator,
        runtime=embedder.runtime,
    )


def judgement(similarity: float, bundle: Bundle) -> Judgement:
    """The verdict on a pair: that of a store with no picture but one of the two.

    Over pairs of a photo and a catalogue picture this told same from different better than a store
    of the bundle's representative pictures, or one whose next picture is as near
    (docs/explaining.md).
    """
    return judge(similarity, None, 1, bundle.calibration(_PIPELINE))


def _seen(picture: Picture, embedder: Embedder) -> tuple[Seen, npt.NDArray[np.float32]]:
    from pocketlens.query import pictures

    started = perf_counter()
    tensor = pictures.tensor(picture, embedder.spec, limits=embedder.limits)
    shows_nothing = is_blank(tensor, embedder.spec)
    decoded = perf_counter()
    embedding = embedder.embed_tensor(tensor)
    spent = Timings((decoded - started) * 1e3, (perf_counter() - decoded) * 1e3)
    return Seen(tensor, spent, shows_nothing), embedding
