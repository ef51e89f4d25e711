"""A version that is about to be published -> what the gates find in it.

    inspection = Inspection(catalogue, gates.limits, begins=False)
    found = inspection.of_waiting(to_begin)              # before it is coded and placed
    found += inspection.of_generation(generation, rng)   # after

Reads what waits and the last version, and changes nothing. Queries are photos that the bundle
carries, or else embeddings of the catalogue itself, taken evenly, so that two runs ask the same.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pocketlens.formats import parts
from pocketlens.formats.parts import ImagePart, PlacementPart
from pocketlens.query import codes
from pocketlens.query.codebook import Codebook, stand_in_queries
from pocketlens_server.publishing.gate_limits import GateLimits
from pocketlens_server.publishing.gates import (
    Finding,
    bad_vectors,
    changed_answers,
    hubs,
    lost_rows,
    not_found,
    shared_pictures,
)
from pocketlens_server.publishing.images import image_of
from pocketlens_server.publishing.open_catalogue import Catalogue, OpenBundle
from pocketlens_server.storage.history import IMAGE, PRODUCT, History, placement_kind
from pocketlens_server.storage.vectors import Generation

Value = TypeVar("Value")
Vectors = npt.NDArray[np.float32]

_QUERIES = 256  # of each sort
_BLOCK = 4096  # pictures whose codes are in memory
_NEAR = 0.02  # cosine: who is that close to the best answer is as good; codes are rounded
_CODED = 0.9  # cosine, at least, of a code with its embedding


class Inspection:
    """Of one version; every image is read once."""

    def __init__(self, catalogue: Catalogue, limits: GateLimits, *, begins: bool) -> None:
        """Takes a catalogue of whose waiting version nothing is placed yet.

        Args:
            catalogue: Its tables are read, not changed.
            limits: From where on what is found is told.
            begins: Whether a generation begins with the version.
        """
        self._catalogue, self._limits = catalogue, limits
        history = catalogue.history
        self._head = history.head
        self._after: dict[int, ImagePart] = {}
        self._before: dict[int, ImagePart] = {}
        self._saturated: dict[int, float] = {}
        if history.waiting(IMAGE) or begins:
            self._after = {key: image_of(value) for key, value in history.values(IMAGE)}
            self._before = _before(history, self._after)

    def of_waiting(self, to_begin: Sequence[OpenBundle]) -> list[Finding]:
        """What rows and embeddings show by themselves.

        Args:
            to_begin: Bundles that get a generation with this version.
        """
        history, vectors = self._catalogue.history, self._catalogue.vectors
        found: list[Finding] = []
        for what, kind in (("products", PRODUCT), ("images", IMAGE)):
            before, after = history.count(kind, self._head), history.count(kind)
            found += lost_rows(what, before, after, self._limits)
        was, now = _products(self._before.values()), _products(self._after.values())
        found += shared_pictures(_counts(was), _counts(now), self._limits)
        new = {key: part for key, part in self._after.items() if self._before.get(key) != part}
        served = {generation.bundle for generation in vectors.generations()}
        for bundle in self._catalogue.bundles.values():
            if bundle.number in served:
                found += self._of_embeddings(bundle, new)
            elif bundle in to_begin:
                found += self._of_embeddings(bundle, self._after)
        return found

    def of_generation(self, generation: Generation, rng: np.random.Generator) -> list[Finding]:
        """What searching shows, once every waiting image has a code and a list.

        Args:
            generation: One of those that get the version.
            rng: Turns embeddings into queries where the bundle carries no photos.
        """
        if not self._after:
            return []
        history, limits = self._catalogue.history, self._limits
        after = _Gallery.of(self._catalogue, generation, self._after.values())
        found = [*not_found(self._are_found(generation, after), limits)]
        self._saturated[generation.number] = codes.saturated_share(after.codes)
        is_new = history.count(placement_kind(generation.number), self._head) == 0
        known = () if is_new else self._before.values()
        before = _Gallery.of(self._catalogue, generation, known, at_hand=after)
        photos = self._catalogue.bundles[generation.bundle].facts.queries
        if len(photos):
            queries = canaries = photos[_even_rows(len(photos))]
        else:
            queries = stand_in_queries(after.embeddings(_evenly(after.pictures)), rng)
            kept = [picture for picture in before.pictures if picture in after.products]
            canaries = after.embeddings(_evenly(kept))
        both = np.concatenate([queries, canaries])
        count = len(queries)
        was = before.answers(both) if before.pictures else []
        now = after.answers(both)
        found += hubs(was[:count], now[:count], len(after.pictures), limits)
        if before.pictures:
            new = after.products.keys() - before.products.keys()
            found += changed_answers(
                [before.products[each] for each in was[count:]],
                [after.products[each] for each in now[count:]],
                history.keys(PRODUCT),
                len(new) / len(after.products),
                limits,
            )
        return found

    def saturated_share(self, generation: Generation) -> float:
        """Components of the codes of all images at their limit, 0 to 1; 0 where no image waits.

        Known once `of_generation` has looked at it.
        """
        return self._saturated.get(generation.number, 0.0)

    def _of_embeddings(
        self, bundle: OpenBundle, images: Mapping[int, ImagePart]
    ) -> Iterator[Finding]:
        for keys in _blocks(list(images)):
            pictures = [images[key].code for key in keys]
            embeddings = self._catalogue.vectors.embeddings(bundle.number, pictures)
            yield from bad_vectors(keys, embeddings, bundle.facts.spec.name)

    def _are_found(self, generation: Generation, gallery: _Gallery) -> npt.NDArray[np.bool_]:
        """Whether images are found by their own embeddings, in the lists that a search scores.

        Of all images and of those that wait, evenly.
        """
        new = [key for key, part in self._after.items() if self._before.get(key) != part]
        asked = [*_evenly(list(self._after)), *_evenly(new)]
        pictures = [self._after[key].code for key in asked]
        queries, decoded = gallery.embeddings(pictures), gallery.decoded(pictures)
        own = np.einsum("ij,ij->i", queries, decoded)
        _, best = gallery.best(queries)
        codebook = Codebook(generation.centroids, index="exact")
        listed = [
            self._list_of(generation, key) in codebook.nearest_lists(query, generation.probes)
            for key, query in zip(asked, queries, strict=True)
        ]
        found: npt.NDArray[np.bool_] = own >= np.maximum(best - _NEAR, _CODED)
        return found & np.array(listed, np.bool_)

    def _list_of(self, generation: Generation, image_key: int) -> int:
        value = self._catalogue.history.value(placement_kind(generation.number), image_key)
        part = None if value is None else parts.decode(value)
        return part.list_number if isinstance(part, PlacementPart) else -1


@dataclass(frozen=True, slots=True)
class _Gallery:
    """The pictures of one version, and what they show.

    Attributes:
        pictures: By SHA-256, each once.
        products: Keys of the products of all images with the picture.
        codes: int8 (n, dim), of each picture.
    """

    catalogue: Catalogue
    generation: Generation
    pictures: Sequence[bytes]
    products: dict[bytes, frozenset[int]]
    codes: npt.NDArray[np.int8]

    @classmethod
    def of(
        cls,
        catalogue: Catalogue,
        generation: Generation,
        images: Iterable[ImagePart],
        at_hand: _Gallery | None = None,
    ) -> _Gallery:
        """The pictures of images; codes that another gallery has at hand are not read again."""
        products = _products(images)
        pictures = list(products)
        known = {} if at_hand is None else {each: n for n, each in enumerate(at_hand.pictures)}
        rows = np.array([known.get(each, -1) for each in pictures], np.int64)
        found = np.empty((len(pictures), len(generation.scale)), np.int8)
        if at_hand is not None:
            found[rows >= 0] = at_hand.codes[rows[rows >= 0]]
        for some in _blocks(np.flatnonzero(rows < 0).tolist()):
            asked = [pictures[row] for row in some]
            of = catalogue.vectors.codes(generation.number, asked)
            data = b"".join(of[picture] for picture in asked)
            found[some] = np.frombuffer(data, np.int8).reshape(len(some), -1)
        return cls(catalogue, generation, pictures, products, found)

    def embeddings(self, pictures: Sequence[bytes]) -> Vectors:
        """float32 (n, dim), not rounded."""
        if not pictures:
            return np.empty((0, len(self.generation.scale)), np.float32)
        return self.catalogue.vectors.embeddings(self.generation.bundle, pictures)

    def answers(self, queries: Vectors) -> list[bytes]:
        """The picture that answers each query first."""
        best, _ = self.best(queries)
        return [self.pictures[row] for row in best]

    def best(self, queries: Vectors) -> tuple[npt.NDArray[np.int64], Vectors]:
        """Row of the picture whose code is nearest each query, and its similarity."""
        rows = np.zeros(len(queries), np.int64)
        similarities = np.full(len(queries), -np.inf, np.float32)
        for at in range(0, len(self.codes), _BLOCK):
            some = codes.decode(self.codes[at : at + _BLOCK], self.generation.scale)
            scores = queries @ some.T
            row = scores.argmax(axis=1)
            score = scores[np.arange(len(queries)), row]
            better = score > similarities
            rows[better], similarities[better] = row[better] + at, score[better]
        return rows, similarities

    def decoded(self, pictures: Sequence[bytes]) -> Vectors:
        """float32 (n, dim) that their codes stand for."""
        found = self.catalogue.vectors.codes(self.generation.number, pictures)
        data = np.frombuffer(b"".join(found[picture] for picture in pictures), np.int8)
        return codes.decode(data.reshape(len(pictures), -1), self.generation.scale)


def _before(history: History, after: Mapping[int, ImagePart]) -> dict[int, ImagePart]:
    """The images of the last version, those of the next one being `after`."""
    head = history.head
    before = dict(after)
    changed = [key for key, _ in history.begun_since(IMAGE, head)]
    for key in (*changed, *history.ended_since(IMAGE, head)):
        value = history.value(IMAGE, key, head)
        if value is None:
            before.pop(key, None)
        else:
            before[key] = image_of(value)
    return before


def _products(images: Iterable[ImagePart]) -> dict[bytes, frozenset[int]]:
    """Keys of the products that each picture shows."""
    shown: dict[bytes, set[int]] = defaultdict(set)
    for image in images:
        shown[image.code].update(image.product_keys)
    return {picture: frozenset(keys) for picture, keys in shown.items()}


def _counts(products: Mapping[bytes, frozenset[int]]) -> dict[bytes, int]:
    return {picture: len(keys) for picture, keys in products.items()}


def _evenly(values: Sequence[Value]) -> list[Value]:
    """At most `_QUERIES` of them, over all their range."""
    return [values[row] for row in _even_rows(len(values))]


def _even_rows(count: int) -> list[int]:
    rows: list[int] = np.linspace(0, count - 1, min(count, _QUERIES)).astype(int).tolist()
    return rows


def _blocks(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    left = iter(values)
    while block := list(islice(left, _BLOCK)):
        yield block
