"""Embeddings of a catalogue's images -> codes and places in lists, a generation at a time.

    generation = begin(history, vectors, bundle=1, facts=bundle, scratch=folder, rng=rng)
    place_waiting(history, vectors, generation, facts)        # before every later version

Inside the caller's transaction. Every picture was embedded before.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from pocketlens.embedding_files import EmbeddingFile, EmbeddingRows
from pocketlens.formats import parts
from pocketlens.formats.bundle import Bundle
from pocketlens.formats.parts import ImagePart
from pocketlens.generations import Progress, make_generation
from pocketlens.query import codes
from pocketlens.query.codebook import Codebook
from pocketlens_server.storage.history import IMAGE, History, placement_kind
from pocketlens_server.storage.vectors import Generation, Vectors

Value = TypeVar("Value")

_BLOCK = 4096  # images in memory


def begin(
    history: History,
    vectors: Vectors,
    *,
    bundle: int,
    facts: Bundle,
    sha256: bytes,
    scratch: Path,
    rng: np.random.Generator,
    progress: Progress = lambda stage, done, total: None,
) -> Generation:
    """Makes a generation of all images that there are with what waits, and places them.

    Args:
        history: Of the catalogue.
        vectors: With the embeddings of every picture by the bundle.
        bundle: Its number.
        facts: What the bundle says.
        sha256: Of the bundle's file.
        scratch: Folder for files that are removed again.
        rng: Draws a sample, and first centroids.
        progress: Called with stage, done and total.

    Raises:
        CatalogError: There is no image, or an embedding is not finite.
    """
    images = [(key, picture_of(value)) for key, value in history.values(IMAGE)]
    pictures = list(dict.fromkeys(picture for _, picture in images))
    embeddings, coded = scratch / "embeddings", scratch / "codes"
    try:
        with embeddings.open("wb") as file:
            for some in _blocks(pictures):
                file.write(vectors.embeddings(bundle, some).tobytes())
        made = make_generation(
            EmbeddingRows(
                EmbeddingFile(embeddings, 0, np.dtype("<f4"), facts.spec.dim),
                np.arange(len(pictures)),
            ),
            facts,
            sha256,
            scratch=coded,
            rng=rng,
            progress=progress,
        )
        number = max((each.number for each in vectors.generations()), default=0) + 1
        generation = Generation(
            number,
            bundle,
            made.id,
            made.scale,
            made.centroids,
            made.probes,
            made.probes_estimated,
            made.saturated_share,
        )
        vectors.put_generation(generation)
        for rows in _blocks(range(len(pictures))):
            vectors.put_codes(number, {pictures[row]: made.codes[row].tobytes() for row in rows})
        lists = dict(zip(pictures, made.lists.tolist(), strict=True))
        del made
    finally:
        embeddings.unlink(missing_ok=True)
        coded.unlink(missing_ok=True)
    for key, picture in images:
        _place(history, generation, key, lists[picture])
    return generation


def place_waiting(
    history: History, vectors: Vectors, generation: Generation, facts: Bundle
) -> None:
    """Gives codes and lists to the images that wait, and takes the places of those that go.

    Args:
        history: Of the catalogue.
        vectors: With the embeddings of every picture by the generation's bundle.
        generation: That began before.
        facts: What its bundle says.
    """
    head = history.head
    for key in history.ended_since(IMAGE, head):
        history.delete(placement_kind(generation.number), key)
    codebook = Codebook(generation.centroids, index="exact")
    feedback = codes.feedback_of(generation.scale, facts.representative, facts.queries)
    waiting = [(key, picture_of(value)) for key, value in history.begun_since(IMAGE, head)]
    for some in _blocks(waiting):
        pictures = list(dict.fromkeys(picture for _, picture in some))
        embeddings = vectors.embeddings(generation.bundle, pictures)
        known = vectors.codes(generation.number, pictures)
        new = [row for row, picture in enumerate(pictures) if picture not in known]
        coded = codes.encode(embeddings[new], generation.scale, feedback)
        vectors.put_codes(
            generation.number,
            {pictures[row]: code.tobytes() for row, code in zip(new, coded, strict=True)},
        )
        lists = dict(zip(pictures, codebook.assign(embeddings).tolist(), strict=True))
        for key, picture in some:
            _place(history, generation, key, lists[picture])


def _place(history: History, generation: Generation, key: int, number: int) -> None:
    kind = placement_kind(generation.number)
    history.put(kind, key, parts.encode_placement(key, number))


def picture_of(value: bytes) -> bytes:
    """SHA-256 of the picture of an image, which its part has in place of a code."""
    return image_of(value).code


def image_of(value: bytes) -> ImagePart:
    """The image that a value of history is, its picture in place of a code."""
    part = parts.decode(value)
    if not isinstance(part, ImagePart):
        raise TypeError(f"Expected an image. Received {part!r}.")
    return part


def _blocks(values: Iterable[Value]) -> Iterator[Sequence[Value]]:
    left = iter(values)
    while block := list(islice(left, _BLOCK)):
        yield block
