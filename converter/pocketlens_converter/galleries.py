"""A catalogue as it is searched: images, their products, similarities by codes or in float.

What a bundle embeds is kept as a device keeps it, in int8 codes with the scale of a first index;
what a float model embeds stays float.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pocketlens.formats.bundle import Bundle
from pocketlens.image_lists import Entry, ImageList, Problem
from pocketlens.progress import Progress
from pocketlens.query import codes
from pocketlens_converter import metrics
from pocketlens_converter.embedding_models import EmbeddingModel, embed_entries


@dataclass(frozen=True, slots=True)
class Gallery:
    """Embedded catalogue pictures and the products that they show.

    Attributes:
        products: Ids; those of distractors come last, and may be ids of others too.
        categories: Of each product; "" where unknown.
        distractors: How many of the products are distractors.
        embeddings: float32 (n, dim): unit rows, or what their codes stand for.
        codes: int8 (n, dim), or None for a float model.
        scale: float32 (dim,), of the codes, or None.
        images, product_numbers: int64 (links,): which image shows which product.
        problems: Pictures that could not be read.
        entries: Of each image.
    """

    products: tuple[str, ...]
    categories: tuple[str, ...]
    distractors: int
    embeddings: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int8] | None
    scale: npt.NDArray[np.float32] | None
    images: npt.NDArray[np.int64]
    product_numbers: npt.NDArray[np.int64]
    problems: tuple[Problem, ...]
    entries: tuple[Entry, ...] = ()

    def product_similarities(
        self, queries: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Similarity of each query (q, dim) to each product, and the image that gave it."""
        return metrics.product_similarities(
            queries @ self.embeddings.T, self.images, self.product_numbers, len(self.products)
        )

    def without_distractors(self) -> Gallery:
        """The catalogue alone; its pictures come before those of distractors."""
        real = len(self.products) - self.distractors
        links = self.product_numbers < real
        count = int(self.images[links].max()) + 1
        return replace(
            self,
            products=self.products[:real],
            categories=self.categories[:real],
            distractors=0,
            embeddings=self.embeddings[:count],
            codes=None if self.codes is None else self.codes[:count],
            images=self.images[links],
            product_numbers=self.product_numbers[links],
            entries=self.entries[:count],
        )

    def named(self, numbers: npt.NDArray[np.int64]) -> tuple[tuple[str, bool], ...]:
        """Id of each product number, and whether it is a distractor."""
        first_distractor = len(self.products) - self.distractors
        return tuple(
            (self.products[number], bool(number >= first_distractor)) for number in numbers
        )

    def shows(self, entries: Sequence[Entry]) -> npt.NDArray[np.bool_]:
        """Which products each photo shows, by its list: bool (q, p)."""
        real = self.products[: len(self.products) - self.distractors]
        numbers = {product: number for number, product in enumerate(real)}
        shown = np.zeros((len(entries), len(self.products)), np.bool_)
        for row, entry in enumerate(entries):
            for product in entry.product_ids:
                if product in numbers:
                    shown[row, numbers[product]] = True
        return shown


def embedded_gallery(
    model: EmbeddingModel,
    catalogue: ImageList,
    distractors: ImageList | None = None,
    *,
    codes_too: bool = True,
    progress: Progress = lambda stage, done, total: None,
) -> Gallery:
    """Embeds a catalogue, and distractors behind it.

    Args:
        model: What embeds.
        catalogue: Its pictures.
        distractors: Pictures of other products.
        codes_too: Whether a bundle's embeddings are kept as codes.
        progress: Called with stage, done and total.

    Raises:
        TrainingError: No picture of a list can be read.
    """
    embedded = embed_entries(model, catalogue.entries, stage="embedding gallery", progress=progress)
    links = _Links()
    for entry in embedded.entries:
        links.add(
            [(product, catalogue.products[product].category) for product in entry.product_ids]
        )
    embeddings, problems, others = embedded.embeddings, embedded.problems, 0
    entries = embedded.entries
    if distractors is not None:
        before = len(links.products)
        more = embed_entries(
            model, distractors.entries, stage="embedding distractors", progress=progress
        )
        links.begin_distractors()
        for entry in more.entries:
            links.add([(product, "") for product in entry.product_ids])
        embeddings = np.concatenate([embeddings, more.embeddings])
        entries = (*entries, *more.entries)
        problems, others = (*problems, *more.problems), len(links.products) - before
    gallery = Gallery(
        products=tuple(links.products),
        categories=tuple(links.categories),
        distractors=others,
        embeddings=embeddings,
        codes=None,
        scale=None,
        images=np.array(links.images, np.int64),
        product_numbers=np.array(links.numbers, np.int64),
        problems=problems,
        entries=entries,
    )
    if model.bundle is None or not codes_too:
        return gallery
    return in_codes(gallery, model.bundle)


def in_codes(gallery: Gallery, bundle: Bundle) -> Gallery:
    """The gallery as a device keeps it, with the scale that a first index of a shop takes."""
    seen = np.abs(np.concatenate([gallery.embeddings, bundle.representative]))
    scale = codes.scale_of(seen.max(axis=0))
    feedback = codes.feedback_of(scale, bundle.representative, bundle.queries)
    coded = codes.encode(gallery.embeddings, scale, feedback)
    return replace(gallery, embeddings=codes.decode(coded, scale), codes=coded, scale=scale)


def in_float(gallery: Gallery, bundle: Bundle) -> Gallery:
    """The gallery as a server keeps it: searched in float, codes only to find duplicates."""
    return replace(in_codes(gallery, bundle), embeddings=gallery.embeddings)


class _Links:
    """Numbers products in order of appearance; a distractor is another product of the same id."""

    def __init__(self) -> None:
        self.products: list[str] = []
        self.categories: list[str] = []
        self.images: list[int] = []
        self.numbers: list[int] = []
        self._known: dict[str, int] = {}
        self._image = 0

    def begin_distractors(self) -> None:
        """From here on an id is another product than before."""
        self._known = {}

    def add(self, shown: Sequence[tuple[str, str]]) -> None:
        """The next image, with the (id, category) of each product that it shows."""
        for product, category in shown:
            if product not in self._known:
                self._known[product] = len(self.products)
                self.products.append(product)
                self.categories.append(category)
            self.images.append(self._image)
            self.numbers.append(self._known[product])
        self._image += 1
