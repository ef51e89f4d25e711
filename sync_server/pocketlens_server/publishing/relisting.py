"""A codebook that its images have outgrown -> another one, inside the generation.

    generation = renewed(history, vectors, generation, facts, rng=rng)

Scale and codes stay, so that no image is another part than before: only placements change.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from pocketlens.formats.bundle import Bundle
from pocketlens.generations import make_codebook
from pocketlens_server.publishing import drift, encoding
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.storage.history import IMAGE, History
from pocketlens_server.storage.vectors import Generation, Vectors


def renewed(
    history: History,
    vectors: Vectors,
    generation: Generation,
    facts: Bundle,
    *,
    rng: np.random.Generator,
) -> Generation:
    """The generation, with another codebook from the next version on if it needs one.

    Args:
        history: Of the catalogue, every image placed.
        vectors: With the embeddings of every picture by the generation's bundle.
        generation: That began before.
        facts: What its bundle says.
        rng: Draws a sample, and first centroids.
    """
    distance = drift.distance(history, vectors, generation)
    if not drift.is_outgrown(generation, images=history.count(IMAGE), distance=distance):
        return generation
    images = [(key, picture_of(value)) for key, value in history.values(IMAGE)]
    pictures = list(dict.fromkeys(picture for _, picture in images))
    with tempfile.TemporaryDirectory() as scratch:
        rows = encoding.embedding_rows(
            vectors, generation.bundle, pictures, Path(scratch) / "rows", dim=facts.spec.dim
        )
        made = make_codebook(rows, facts, generation.scale, rng=rng)
    listed = replace(
        generation,
        centroids=made.centroids,
        probes=made.probes,
        probes_estimated=made.probes_estimated,
        listed_at=history.head + 1,
        listed_images=len(images),
    )
    lists = dict(zip(pictures, made.lists, strict=True))
    return encoding.place_all(history, vectors, listed, images, lists)
