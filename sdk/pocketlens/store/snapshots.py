"""A delta from version 0, which is a whole catalogue, to the store of a new install.

    facts = write(folder / FILE_NAME, delta, centroids, origin)

Memory is bounded: texts go into the file as they come, codes into one beside it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.durable_files import translated
from pocketlens.errors import StateMismatch
from pocketlens.formats.delta import DeltaReader
from pocketlens.formats.delta_blocks import Block
from pocketlens.formats.parts import ImagePart
from pocketlens.store.facts import Origin, StoreFacts
from pocketlens.store.writer import Contents, StoreWriter


def write(
    path: Path, delta: DeltaReader, centroids: npt.NDArray[np.float16], origin: Origin
) -> StoreFacts:
    """Makes the file `path`, which must not exist yet.

    Args:
        path: In a folder that nothing names yet.
        delta: From version 0, at its beginning.
        centroids: float16 (lists, dim), that its placements number.
        origin: What the store says of where it came from; compare the state hash afterwards.

    Returns:
        Facts of the store, state hash among them.

    Raises:
        StateMismatch: The delta is damaged, or no snapshot.
        StoreFull, StoreReadOnly: The file cannot be written.
    """
    coded = path.with_suffix(".codes")
    try:
        with StoreWriter(path) as writer:
            gathered = _Gathered(len(centroids), delta.header.dim)
            with coded.open("wb") as file:
                for block in delta.blocks():
                    writer.put_parts(block.products, block.offers, block.images)
                    file.write(b"".join(part.code for part in block.images))
                    gathered.take(block)
            return writer.complete(gathered.contents(coded, centroids), origin)
    except OSError as exc:
        raise translated(exc, path) from exc
    finally:
        coded.unlink(missing_ok=True)


class _Gathered:
    """What stays in memory: keys and places of images, links, counts."""

    def __init__(self, lists: int, dim: int) -> None:
        self._list_count, self._dim = lists, dim
        self._image_keys, self._placed, self._lists = array("I"), array("I"), array("I")
        self._links = array("I"), array("I")
        self._last = {"products": 0, "offers": 0}
        self._products, self._offers = 0, 0

    def take(self, block: Block) -> None:
        if block.deleted_products or block.deleted_images:
            raise _no_snapshot("deletions")
        for name in self._last:
            for part in getattr(block, name):
                if part.key <= self._last[name]:
                    raise _no_snapshot(f"{name} that do not ascend")
                self._last[name] = part.key
        self._products += len(block.products)
        self._offers += len(block.offers)
        for part in block.images:
            self._take_image(part)
        for placement in block.placements:
            if placement.list_number >= self._list_count:
                raise _no_snapshot("a list that the codebook does not have")
            self._placed.append(placement.image_key)
            self._lists.append(placement.list_number)

    def contents(self, coded: Path, centroids: npt.NDArray[np.float16]) -> Contents:
        if self._products != self._offers:
            raise _no_snapshot("products without offers, or offers without products")
        if self._image_keys != self._placed:
            raise _no_snapshot("images without lists, or lists without images")
        count = len(self._image_keys)
        return Contents(
            image_keys=np.frombuffer(self._image_keys, np.uint32),
            codes=(
                np.memmap(coded, np.int8, "r", shape=(count, self._dim))
                if count
                else np.zeros((0, self._dim), np.int8)
            ),
            lists=np.frombuffer(self._lists, np.uint32).astype(np.int32),
            centroids=centroids,
            link_images=np.frombuffer(self._links[0], np.uint32),
            link_products=np.frombuffer(self._links[1], np.uint32),
        )

    def _take_image(self, part: ImagePart) -> None:
        if self._image_keys and part.key <= self._image_keys[-1]:
            raise _no_snapshot("images that do not ascend")
        self._image_keys.append(part.key)
        for key in part.product_keys:
            self._links[0].append(part.key)
            self._links[1].append(key)


def _no_snapshot(what: str) -> StateMismatch:
    return StateMismatch(f"Expected a snapshot. Received one with {what}. Fetch it again.")
