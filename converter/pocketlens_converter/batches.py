"""Image lists to P x K batches: P products, K pictures of each, the catalogue picture among them.

    pictures = read([Path("catalogue.csv"), Path("photos.csv")], side=288)
    for batch in prepared(pictures, options, first_step=0): ...

Batch number `step` is a function of the seed and `step` alone: a run that is resumed at a step
sees what it would have seen.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pocketlens import image_lists
from pocketlens.errors import PictureError, TrainingError
from pocketlens.formats.bundle import Spec
from pocketlens.query import pictures as decoding
from pocketlens_converter import augmentation
from pocketlens_converter.options import TrainOptions

# Pictures are kept this much larger than the model's input, so that a zoomed part is still sharp.
KEPT_SCALE = 1.5
# Decoded pictures are kept in memory up to here (16,000 of 288 pixels); others are decoded anew.
MEMORY_BYTES = 4 << 30
BATCHES_AHEAD = 4


@dataclass(frozen=True, slots=True)
class TrainingPicture:
    """One picture of the lists.

    Attributes:
        product: Number of its product, from 0.
        slot: Number of the catalogue picture, from 0; -1 for a photo.
    """

    path: Path
    product: int
    slot: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from.

    Attributes:
        step: Its number, from 0.
        pictures: uint8 (n, size, size, 3).
        products: int32 (n,), number of the product.
        slots: int32 (n,), number of the catalogue picture; -1 for a photo.
    """

    step: int
    pictures: npt.NDArray[np.uint8]
    products: npt.NDArray[np.int32]
    slots: npt.NDArray[np.int32]


class TrainingPictures:
    """All pictures of the lists, letterboxed to squares and kept in memory as far as they fit.

    Safe to read from one thread at a time.
    """

    def __init__(self, entries: Sequence[TrainingPicture], side: int, problems: list[str]) -> None:
        """Keeps `entries`, every one of which was opened once; `side` is in pixels."""
        self.entries = tuple(entries)
        self.side = side
        self.problems = problems
        self.product_count = 1 + max(entry.product for entry in entries)
        self.slot_count = 1 + max(entry.slot for entry in entries)
        self._squares: dict[int, npt.NDArray[np.uint8]] = {}
        photos: list[list[int]] = [[] for _ in range(self.product_count)]
        catalogue: list[list[int]] = [[] for _ in range(self.product_count)]
        for number, entry in enumerate(self.entries):
            (photos if entry.slot < 0 else catalogue)[entry.product].append(number)
        self._photos, self._catalogue = photos, catalogue

    def keep(self, squares: Sequence[npt.NDArray[np.uint8]]) -> None:
        """Keeps decoded pictures, one an entry, in memory as far as they fit."""
        fitting = MEMORY_BYTES // (3 * self.side * self.side)
        self._squares = dict(enumerate(squares[:fitting]))

    def square(self, number: int) -> Image.Image:
        """Picture `number`, RGB, `side` x `side` pixels, on white."""
        pixels = self._squares.get(number)
        if pixels is None:
            pixels = letterboxed(self.entries[number].path, self.side)
        return Image.fromarray(pixels)

    def choose(self, product: int, count: int, rng: np.random.Generator) -> list[int]:
        """Numbers of `count` pictures of `product`: one catalogue picture if any, then photos.

        Where there are too few, some come twice; augmentation tells them apart.
        """
        chosen: list[int] = []
        if self._catalogue[product]:
            chosen.append(int(rng.choice(self._catalogue[product])))
        rest = self._photos[product] or self._catalogue[product]
        while len(chosen) < count:
            chosen += rng.permutation(rest)[: count - len(chosen)].tolist()
        return chosen


def read(lists: Sequence[Path], side: int) -> TrainingPictures:
    """Reads the lists and opens every picture once; one that cannot be opened is a problem.

    Of several lists the first is the catalogue, the others are photos; a single one is neither,
    and every two pictures of a product count alike. A product id means one product in all lists.

    Raises:
        ImageListError: A list cannot be understood.
        TrainingError: Fewer than two products have pictures.
    """
    products: dict[str, int] = {}
    entries: list[TrainingPicture] = []
    squares: list[npt.NDArray[np.uint8]] = []
    problems: list[str] = []
    slots = 0
    for position, path in enumerate(lists):
        found = image_lists.read(path)
        problems += [f"{path}: {problem}" for problem in found.problems]
        for entry in found.entries:
            try:
                square = letterboxed(entry.path, side)
            except PictureError as exc:
                problems.append(f"{path}, line {entry.line}: {exc} Left out.")
                continue
            is_catalogue = position == 0 and len(lists) > 1
            for product_id in entry.product_ids:
                product = products.setdefault(product_id, len(products))
                entries.append(TrainingPicture(entry.path, product, slots if is_catalogue else -1))
                squares.append(square)
                slots += is_catalogue
    if len(products) < 2:
        raise TrainingError(
            f"Expected pictures of 2 or more products. Received {len(products)}. "
            "Check the lists' paths."
        )
    pictures = TrainingPictures(entries, side, problems)
    pictures.keep(squares)
    return pictures


def make(pictures: TrainingPictures, options: TrainOptions, step: int) -> Batch:
    """Batch number `step` of a run."""
    rng = np.random.default_rng([options.seed, 1, step])
    numbers: list[int] = []
    for product in products_of(step, pictures.product_count, options):
        numbers += pictures.choose(product, options.pictures, rng)
    changed = []
    for number in numbers:
        is_photo = pictures.entries[number].slot < 0
        effect = augmentation.photo if is_photo else augmentation.catalogue_picture
        changed.append(np.asarray(effect(pictures.square(number), rng, options.image_size)))
    entries = [pictures.entries[number] for number in numbers]
    return Batch(
        step,
        np.stack(changed),
        np.array([entry.product for entry in entries], np.int32),
        np.array([entry.slot for entry in entries], np.int32),
    )


def products_of(step: int, product_count: int, options: TrainOptions) -> list[int]:
    """The products of batch `step`; none comes twice in a round of batches.

    A round leaves out what does not fill a batch; who that is changes from round to round.
    """
    size = min(options.products, product_count)
    batches_a_round = product_count // size
    round_number, position = divmod(step, batches_a_round)
    order = np.random.default_rng([options.seed, 0, round_number]).permutation(product_count)
    return [int(each) for each in order[position * size : (position + 1) * size]]


def prepared(
    pictures: TrainingPictures, options: TrainOptions, *, first_step: int
) -> Generator[Batch, None, None]:
    """Batches from `first_step` on, without end, made ahead by a thread of their own.

    Close the iterator to stop the thread. What goes wrong in the thread is raised here.
    """
    ready: queue.Queue[Batch | BaseException] = queue.Queue(BATCHES_AHEAD)
    is_over = threading.Event()
    thread = threading.Thread(
        target=_fill,
        args=(ready, is_over, lambda step: make(pictures, options, step), first_step),
        name="batches",
        daemon=True,
    )
    thread.start()
    try:
        while True:
            batch = ready.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        is_over.set()
        thread.join()


def letterboxed(path: Path, side: int) -> npt.NDArray[np.uint8]:
    """A picture as the SDK sees it: uint8 (side, side, 3), on white.

    Raises:
        PictureError: It cannot be used as a picture.
    """
    return decoding.tensor(path, Spec("", side, side, 2))


def _fill(
    ready: queue.Queue[Batch | BaseException],
    is_over: threading.Event,
    batch_of: Callable[[int], Batch],
    step: int,
) -> None:
    while not is_over.is_set():
        item: Batch | BaseException
        try:
            item = batch_of(step)
        except BaseException as exc:  # whatever it is, the loop must hear of it
            item = exc
        while not is_over.is_set():
            try:
                ready.put(item, timeout=0.1)
                break
            except queue.Full:
                continue
        if isinstance(item, BaseException):
            return
        step += 1
