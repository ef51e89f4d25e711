"""How far the images of a catalogue have moved from the codebook that lists them.

    distance = drift.distance(history, vectors, generation)
    drift.is_outgrown(generation, images=history_count, distance=distance)

A codebook is made for the images of its day. Where many more come, lists grow long; where others
come, centroids lie between them, and a search that probes as many lists as was fitted finds less.
Source: docs/decisions/0012-codebooks-are-replaced.md.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np

from pocketlens.formats import parts
from pocketlens.formats.parts import PlacementPart
from pocketlens.query import clustering
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.storage.history import IMAGE, History, placement_kind
from pocketlens_server.storage.vectors import Generation, Vectors

LIMIT = 1.05  # times the distance on the day of the codebook
GROWTH = 2  # times the images of that day
SAMPLE = 4096  # images that are looked at


def distance(history: History, vectors: Vectors, generation: Generation) -> float:
    """Mean of 1 - cosine between images and the centroids of their lists, with all that waits.

    Of more than 4,096 images as many are looked at, evenly by key. 0 for a single list, whose
    centroid nothing is compared with.
    """
    if len(generation.centroids) == 1:
        return 0.0
    kind = placement_kind(generation.number)
    placed = list(history.values(kind))
    step = -(-len(placed) // SAMPLE) if placed else 1
    pictures, lists = [], []
    for key, value in placed[::step]:
        part, image = parts.decode(value), history.value(IMAGE, key)
        if isinstance(part, PlacementPart) and image is not None:
            pictures.append(picture_of(image))
            lists.append(part.list_number)
    if not pictures:
        return 0.0
    centroids = generation.centroids.astype(np.float32)
    centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), np.float32(1e-6))
    embeddings = vectors.embeddings(generation.bundle, pictures)
    return float(1 - np.einsum("nd,nd->n", embeddings, centroids[lists]).mean())


def is_outgrown(generation: Generation, *, images: int, distance: float) -> bool:
    """Whether a generation needs another codebook (PURE).

    Args:
        generation: With the codebook in use.
        images: That there are.
        distance: As `distance` measures it.
    """
    if len(generation.centroids) == 1:
        return clustering.list_count(images) > 1
    has_grown = images >= GROWTH * generation.listed_images
    return has_grown or distance > LIMIT * generation.listed_distance
