"""P x K batches: P products, K pictures of each, the catalogue picture among them.

    for batch in prepared(lambda step: make(pictures, composition, scenes, options, step), 0): ...

Batch number `step` is a function of the seed, the composition and `step` alone: a run that is
resumed at a step sees what it would have seen.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pocketlens_converter import augmentation
from pocketlens_converter.negatives import Composition
from pocketlens_converter.options import TrainOptions
from pocketlens_converter.synthesis.scenes import Scenes, several
from pocketlens_converter.training_pictures import TrainingPictures

# Pictures are kept this much larger than the model's input, so that a zoomed part is still sharp.
KEPT_SCALE = 1.5
BATCHES_AHEAD = 4
BYSTANDERS = 8  # other products that scenes of a batch may have around theirs
NO_SLOT = -1
# Of the catalogue pictures of products without photos: those that show several of the product.
SEVERAL_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from.

    Attributes:
        step: Its number, from 0.
        pictures: uint8 (n, size, size, 3).
        products: int32 (n,), number of the product; backgrounds are numbered behind them.
        slots: int32 (n,), number of the catalogue picture; -1 for a query.
    """

    step: int
    pictures: npt.NDArray[np.uint8]
    products: npt.NDArray[np.int32]
    slots: npt.NDArray[np.int32]


def make(
    pictures: TrainingPictures,
    composition: Composition,
    scenes: Scenes,
    options: TrainOptions,
    step: int,
) -> Batch:
    """Batch number `step` of a run.

    A product's queries are its photos; one without photos has synthesised ones. Backgrounds are
    products of their own, two views of each: natural pictures, lest the network forget them.
    """
    rng = np.random.default_rng([options.seed, 1, step])
    maker = _Maker(pictures, scenes, options, rng)
    products = composition.products(step, options)
    for product in products:
        maker.add_product(product, products)
    for background in scenes.drawn(options.natural, rng):
        maker.add_background(background)
    return Batch(
        step,
        np.stack(maker.made),
        np.array(maker.products, np.int32),
        np.array(maker.slots, np.int32),
    )


def prepared(
    batch_of: Callable[[int], Batch], first_step: int, *, threads: int = 1
) -> Generator[Batch, None, None]:
    """Batches from `first_step` on, without end, made ahead by threads of their own.

    Close the iterator to stop the threads. What goes wrong in one is raised here.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool:
        ahead: deque[Future[Batch]] = deque()
        step = first_step
        try:
            while True:
                while len(ahead) < BATCHES_AHEAD + threads:
                    ahead.append(pool.submit(batch_of, step))
                    step += 1
                yield ahead.popleft().result()
        finally:
            for waiting in ahead:
                waiting.cancel()


class _Maker:
    """Collects the pictures of one batch."""

    def __init__(
        self,
        pictures: TrainingPictures,
        scenes: Scenes,
        options: TrainOptions,
        rng: np.random.Generator,
    ) -> None:
        self._pictures = pictures
        self._scenes = scenes
        self._options = options
        self._size = options.image_size
        self._rng = rng
        self._others = rng.integers(0, pictures.product_count, BYSTANDERS).tolist()
        self._alike: list[int] = []
        self.made: list[npt.NDArray[np.uint8]] = []
        self.products: list[int] = []
        self.slots: list[int] = []

    def add_product(self, product: int, batch: Sequence[int]) -> None:
        """One catalogue picture of `product` if there is any, then queries.

        What stands around it in a synthesised one is half of the `batch`, which in a
        neighbourhood looks like it, as on a shelf.
        """
        others = [each for each in batch if each != product]
        self._alike = self._rng.permutation(others)[: BYSTANDERS // 2].tolist()
        shown, photos = self._pictures.catalogue[product], self._pictures.photos[product]
        missing = self._options.pictures
        if shown:
            number = int(self._rng.choice(shown))
            slot = self._pictures.entries[number].slot
            shows_several = not photos and self._rng.random() < SEVERAL_SHARE
            of_catalogue = self._several if shows_several else self._shown
            self._add(of_catalogue(number), product, slot)
            missing -= 1
        drawn: list[int] = []
        for _ in range(missing):
            if shown and (not photos or self._rng.random() < self._options.synthesised_share):
                self._add(self._synthesised(int(self._rng.choice(shown))), product, NO_SLOT)
                continue
            # Where there are too few photos, some come twice; augmentation tells them apart.
            drawn = drawn or self._rng.permutation(photos).tolist()
            self._add(self._changed(drawn.pop(), augmentation.photo), product, NO_SLOT)

    def add_background(self, number: int) -> None:
        """Two views of a background."""
        background = self._scenes.backgrounds[number]
        for _ in range(2):
            view = augmentation.photo(background, self._rng, self._size)
            self._add(view, self._pictures.product_count + number, NO_SLOT)

    def _shown(self, number: int) -> Image.Image:
        return self._changed(number, augmentation.catalogue_picture)

    def _several(self, number: int) -> Image.Image:
        cutout = self._pictures.cutout(number)
        if cutout.ground == "lifestyle":
            return self._shown(number)
        picture = augmentation.flip(several(cutout, self._rng, self._size), self._rng)
        return augmentation.light(picture, self._rng, strength=0.15)

    def _changed(
        self,
        number: int,
        effect: Callable[[Image.Image, np.random.Generator, int, float], Image.Image],
    ) -> Image.Image:
        square = self._pictures.square(number)
        return effect(square, self._rng, self._size, self._options.augmentation)

    def _synthesised(self, number: int) -> Image.Image:
        others = [
            self._pictures.cutout(self._pictures.catalogue[other][0])
            for other in (*self._others[BYSTANDERS // 2 :], *self._alike)
            if self._pictures.catalogue[other]
        ]
        return self._scenes.query(self._pictures.cutout(number), others, self._rng, self._size)

    def _add(self, picture: Image.Image, product: int, slot: int) -> None:
        self.made.append(np.asarray(picture))
        self.products.append(product)
        self.slots.append(slot)
