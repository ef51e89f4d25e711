"""The lines of an image list to products, images and links in a new store, numbered from 1.

Keys are given in the order of first appearance; a product or image that comes again adds what was
not known of it. A picture that cannot be read is a problem, and its lines are left out.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pocketlens.cores import usable_cores
from pocketlens.embedding_files import EmbeddingFile
from pocketlens.errors import PictureError
from pocketlens.image_lists import Line, Problem, merged_image, merged_product
from pocketlens.products import Product
from pocketlens.query.embedder import Embedder
from pocketlens.query.thumbnails import thumbnail
from pocketlens.store.thumbnails import ThumbnailWriter
from pocketlens.store.writer import StoreWriter

Made = TypeVar("Made")

_AHEAD = 4  # pictures a thread, so that none waits while a large one is decoded


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the lines said.

    Attributes:
        images, products: Counts, and largest keys.
        rows: int64 (images,): row of each image's embedding, ascending.
        link_images, link_products: uint32 (m,) keys.
    """

    images: int
    products: int
    rows: npt.NDArray[np.int64]
    link_images: npt.NDArray[np.uint32]
    link_products: npt.NDArray[np.uint32]


class Gatherer:
    """Takes lines one by one and writes products and images; memory is one id a key.

    Attributes:
        problems: What was found wrong so far.
    """

    def __init__(self, writer: StoreWriter, problems: list[Problem]) -> None:
        self._writer, self.problems = writer, problems
        self._image_keys: dict[str, int] = {}
        self._product_keys: dict[str, int] = {}
        self._last = (0, Product("-"))
        self._rows = array("q")
        self._links = array("I"), array("I")

    def take(self, line: Line, row: int) -> None:
        """Takes a line; `row` of the embeddings belongs to its image if the image is new."""
        image_key = self._image_keys.get(line.image.id)
        if image_key is None:
            image_key = self._image_keys[line.image.id] = len(self._image_keys) + 1
            self._writer.put_image(image_key, line.image)
            self._rows.append(row)
        elif line.image.url:
            known = self._writer.image(image_key)
            merged = merged_image(known, line, self.problems)
            if merged != known:
                self._writer.put_image(image_key, merged)
        self._links[0].append(image_key)
        self._links[1].append(self._product_key(line))

    def gathered(self) -> Gathered:
        """All that was taken; ids are forgotten, so that this comes last."""
        images, products = len(self._image_keys), len(self._product_keys)
        self._image_keys.clear()
        self._product_keys.clear()
        return Gathered(
            images,
            products,
            np.frombuffer(self._rows, np.int64),
            np.frombuffer(self._links[0], np.uint32),
            np.frombuffer(self._links[1], np.uint32),
        )

    def _product_key(self, line: Line) -> int:
        if line.product == self._last[1]:  # lines of one product mostly follow each other
            return self._last[0]
        key = self._product_keys.get(line.product.id)
        if key is None:
            key = self._product_keys[line.product.id] = len(self._product_keys) + 1
            self._writer.put_product(key, line.product)
        else:
            known = self._writer.product(key)
            merged = merged_product(known, line, self.problems)
            if merged != known:
                self._writer.put_product(key, merged)
        self._last = key, line.product
        return key


def gather_pictures(
    lines: Iterable[Line],
    gatherer: Gatherer,
    embedder: Embedder,
    *,
    scratch: Path,
    thumbnails: ThumbnailWriter | None = None,
) -> EmbeddingFile:
    """Embeds each picture once, into `scratch`, and gathers the lines of those that are good.

    As many at once as the embedder has interpreters.

    Args:
        lines: Of pictures that exist.
        gatherer: Takes the lines, and the problems of pictures that cannot be read.
        embedder: Of the bundle.
        scratch: File to make; the caller removes it.
        thumbnails: Takes one of each picture; None where none are wanted.
    """

    def embed(path: Path) -> tuple[npt.NDArray[np.float32], bytes]:
        embedding = embedder.embed(path)
        return embedding, thumbnail(path, limits=embedder.limits) if thumbnails else b""

    bad: set[str] = set()
    embedded = 0
    with scratch.open("wb") as file:
        for line, made in _side_by_side(lines, embed, embedder.interpreters):
            if isinstance(made, PictureError):
                bad.add(line.image.id)
                gatherer.problems.append(_left_out(line, made))
            elif made is not None:
                embedding, small = made
                file.write(embedding.astype("<f4").tobytes())
                embedded += 1
                if thumbnails is not None:
                    thumbnails.put(line.image.id, small)
            if line.image.id not in bad:
                gatherer.take(line, embedded - 1)
    return EmbeddingFile(scratch, 0, np.dtype("<f4"), embedder.spec.dim)


def gather_thumbnails(
    lines: Iterable[Line], gatherer: Gatherer, thumbnails: ThumbnailWriter
) -> None:
    """Gathers lines whose vectors are given, and draws the pictures that are there.

    Args:
        lines: Their pictures may be gone: then an image has no thumbnail, which is a problem.
        gatherer: Takes the lines, and the problems.
        thumbnails: Takes one of each picture.
    """
    for line, small in _side_by_side(lines, thumbnail, usable_cores()):
        if isinstance(small, PictureError):
            what = f"{line.path}: {small} The image has no thumbnail."
            gatherer.problems.append(Problem(line.number, "image", what))
        elif small is not None:
            thumbnails.put(line.image.id, small)
        gatherer.take(line, line.row)


def _left_out(line: Line, error: PictureError) -> Problem:
    return Problem(line.number, "image", f"{line.path}: {error} The image is left out.")


def _side_by_side(
    lines: Iterable[Line], make: Callable[[Path], Made], threads: int
) -> Iterator[tuple[Line, Made | PictureError | None]]:
    """Each line with what its picture was made into; None for one that came before."""
    seen: set[str] = set()
    waiting: deque[tuple[Line, Future[Made | PictureError] | None]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="pocketlens-index")

    def ended() -> tuple[Line, Made | PictureError | None]:
        line, future = waiting.popleft()
        return line, None if future is None else future.result()

    try:
        for line in lines:
            is_new = line.image.id not in seen
            seen.add(line.image.id)
            waiting.append((line, pool.submit(_tried, make, line.path) if is_new else None))
            if len(waiting) > _AHEAD * threads:
                yield ended()
        while waiting:
            yield ended()
    finally:
        pool.shutdown(cancel_futures=True)


def _tried(make: Callable[[Path], Made], path: Path) -> Made | PictureError:
    try:
        return make(path)
    except PictureError as exc:
        return exc
