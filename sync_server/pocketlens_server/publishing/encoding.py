"""Embeddings of a catalogue's images -> codes and places in lists, a generation at a time.

    generation = begin(history, vectors, bundle=1, facts=bundle, scratch=folder, rng=rng)
    place_waiting(history, vectors, generation, facts)        # before every later version

Inside the caller's transaction. Every picture was embedded before.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from pocketlens.embedding_files import EmbeddingFile, EmbeddingRows
from pocketlens.errors import CatalogError
from pocketlens.formats import parts
from pocketlens.formats.bundle import Bundle
from pocketlens.generations import make_generation
from pocketlens.progress import Progress
from pocketlens.query import codes
from pocketlens.query.codebook import Codebook
from pocketlens_server.publishing import drift
from pocketlens_server.publishing.images import picture_of
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
        made = make_generation(
            embedding_rows(vectors, bundle, pictures, embeddings, dim=facts.spec.dim),
            facts,
            sha256,
            scratch=coded,
            rng=rng,
            progress=progress,
            taken={each.id for each in vectors.generations()[:-1]},
        )
        if any(each.id == made.id for each in vectors.generations()):
            raise CatalogError(
                "There is a generation of this bundle and scale already: another would be the same."
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
            listed_at=history.head + 1,
            listed_images=len(images),
            listed_distance=0.0,
        )
        vectors.put_generation(generation)
        for rows in _blocks(range(len(pictures))):
            vectors.put_codes(number, {pictures[row]: made.codes[row].tobytes() for row in rows})
        lists = made.lists
        del made
    finally:
        embeddings.unlink(missing_ok=True)
        coded.unlink(missing_ok=True)
    return place_all(history, vectors, generation, images, dict(zip(pictures, lists, strict=True)))


def embedding_rows(
    vectors: Vectors, bundle: int, pictures: Sequence[bytes], file: Path, *, dim: int
) -> EmbeddingRows:
    """Embeddings of pictures, in their order, read from a file that is made for them."""
    with file.open("wb") as writing:
        for some in _blocks(pictures):
            writing.write(vectors.embeddings(bundle, some).tobytes())
    return EmbeddingRows(EmbeddingFile(file, 0, np.dtype("<f4"), dim), np.arange(len(pictures)))


def place_all(
    history: History,
    vectors: Vectors,
    generation: Generation,
    images: Iterable[tuple[int, bytes]],
    lists: Mapping[bytes, int],
) -> Generation:
    """Gives every image its list in a new codebook, which is kept with what it is like now.

    Args:
        history: Of the catalogue.
        vectors: That have the generation.
        generation: With its new codebook.
        images: Key and picture of each.
        lists: By picture.
    """
    for key, picture in images:
        _place(history, generation, key, int(lists[picture]))
    listed = replace(generation, listed_distance=drift.distance(history, vectors, generation))
    vectors.put_generation(listed)
    return listed


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


def _blocks(values: Iterable[Value]) -> Iterator[Sequence[Value]]:
    left = iter(values)
    while block := list(islice(left, _BLOCK)):
        yield block
