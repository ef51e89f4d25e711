"""What may be asked of a catalogue, and what is told besides matches. Values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from pocketlens.estimates.estimating import Appraisal
from pocketlens.results import Pipeline, Timings

if TYPE_CHECKING:
    from pocketlens.query.pictures import Box  # which loads Pillow

MOST_MATCHES, MATCHES = 100, 10

AutoCategory = Literal["search", "tell"]
"""What is done about likely categories: told, and searched where one or two are sure, or told."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo as it comes.

    Attributes:
        data: Encoded.
        box: The part to search, in pixels of the upright photo; None for all.
    """

    data: bytes
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Vector:
    """An embedding that a device has made.

    Attributes:
        generation: Whose bundle made it, 32 bytes; empty for the newest.
        values: Little-endian float32.
    """

    generation: bytes
    values: bytes


@dataclass(frozen=True, slots=True)
class Embedded:
    """A photo's embedding.

    Attributes:
        embedding: float32 (dim,), unit length.
        pipeline: "photo" of the float model, "embedding" of the bundle's.
        generation: Hex id of the bundle's.
        accelerator: What embedded it.
        timings: Of the stages.
    """

    embedding: npt.NDArray[np.float32]
    pipeline: Pipeline
    generation: str
    accelerator: str
    timings: Timings


@dataclass(frozen=True, slots=True)
class Valued:
    """What a thing may sell for, and what it may be.

    Attributes:
        estimate: It.
        pipeline: What compared it, as of `SearchResult.answered_by`.
        generation: Hex id.
        version: Of the catalogue.
        accelerator: What embedded the photo; "" for a vector.
        timings: Of the stages.
    """

    estimate: Appraisal
    pipeline: Pipeline
    generation: str
    version: int
    accelerator: str
    timings: Timings


@dataclass(frozen=True, slots=True)
class CatalogueFacts:
    """What a catalogue has.

    Attributes:
        name: Of the catalogue.
        version: The newest that is published.
        generation: Hex id of its newest generation.
        as_of: When the version was published.
        products, images: Counts.
        categories: Most products first, at most 200.
    """

    name: str
    version: int
    generation: str
    as_of: datetime
    products: int
    images: int
    categories: tuple[str, ...]
