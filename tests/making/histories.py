"""Catalogues that change at random, and the deltas between any two of their versions."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pocketlens.formats import parts, state_hash
from pocketlens.formats.delta import DeltaReader, DeltaStream, Header
from pocketlens.formats.delta_blocks import Block
from pocketlens.formats.parts import ImagePart, OfferPart, PlacementPart, ProductPart
from pocketlens.query.codebook import Codebook
from pocketlens.store import database, installs, snapshots
from pocketlens.store.facts import Origin

DIM, LISTS = 4, 3
BUNDLE = b"stands for a bundle: nothing here runs it"
GENERATION = "ab" * 32
CENTROIDS = np.eye(LISTS, DIM, dtype=np.float16)
CODEBOOK = Codebook(CENTROIDS).sha256
AS_OF = datetime(2026, 11, 25, 8, 30, tzinfo=UTC)


@dataclass
class State:
    """Every part of one version, by key."""

    products: dict[int, ProductPart] = field(default_factory=dict)
    offers: dict[int, OfferPart] = field(default_factory=dict)
    images: dict[int, ImagePart] = field(default_factory=dict)
    placements: dict[int, PlacementPart] = field(default_factory=dict)

    def copy(self) -> State:
        return State(*(dict(getattr(self, name)) for name in self.__dataclass_fields__))

    @property
    def hash(self) -> bytes:
        total = state_hash.StateSum()
        for name in self.__dataclass_fields__:
            total.add(map(parts.encode, getattr(self, name).values()))
        counts = state_hash.Counts(
            len(self.images), len(self.placements), len(self.products), len(self.offers)
        )
        identity = state_hash.Identity("shop", bytes.fromhex(GENERATION), CODEBOOK)
        return state_hash.digest(identity, counts, total.value)


class History:
    """A catalogue that changes version by version; `states[0]` is version 1."""

    def __init__(self, seed: int, *, products: int = 6, images: int = 10) -> None:
        self._random = random.Random(seed)
        self._state = State()
        self._next_product, self._next_image = 1, 1
        self._gone: dict[int, tuple[ProductPart, OfferPart]] = {}
        for _ in range(products):
            self._add_product()
        for _ in range(images):
            self._add_image()
        self.states = [self._state.copy()]

    def go_on(self, changes: int) -> None:
        """Another version."""
        actions = [
            self._add_product,
            self._add_image,
            self._edit_product,
            self._edit_offer,
            self._edit_image,
            self._move_image,
            self._delete_product,
            self._delete_image,
            self._restore_product,
        ]
        for _ in range(changes):
            self._random.choice(actions)()
        self.states.append(self._state.copy())

    def delta(self, base: int, head: int) -> tuple[Header, Block]:
        """Final states of everything that was otherwise in a version from `base` on."""
        final = self.states[head - 1]
        before = self.states[max(base, 1) - 1 : head - 1] + ([State()] if base == 0 else [])

        def changed(name: str) -> tuple[list[Any], list[int]]:
            now: Mapping[int, Any] = getattr(final, name)
            others = [getattr(state, name) for state in before]
            whole = [key for key in now if any(each.get(key) != now[key] for each in others)]
            gone = {key for each in others for key in each} - set(now)
            return [now[key] for key in sorted(whole)], sorted(gone) if base else []

        products, gone_products = changed("products")
        images, gone_images = changed("images")
        header = Header("shop", bytes.fromhex(GENERATION), CODEBOOK, base, head, AS_OF, DIM)
        return header, Block(
            gone_products,
            gone_images,
            products,
            images,
            changed("offers")[0],
            changed("placements")[0],
        )

    # --- what may happen -------------------------------------------------------------------------

    def _product(self, key: int) -> ProductPart:
        pick = self._random.choice
        attributes = {
            name: pick(["red", "green", "blue"])
            for name in ("colour", "lid")
            if self._random.random() < 0.7
        }
        title = pick(["Mug", "Bowl", "Plate of the day", "Überzug"])
        return ProductPart(key, f"p{key}", title, pick(["", "a", "b", "c"]), "", attributes)

    def _offer(self, key: int) -> OfferPart:
        stock = self._random.choice([parts.UNKNOWN, 0, 3, 2**40])
        if self._random.random() < 0.2:
            return OfferPart(key, parts.UNKNOWN, "", stock)
        return OfferPart(
            key, self._random.randrange(5000), self._random.choice("EUR USD".split()), stock
        )

    def _image(self, key: int, products: list[int]) -> ImagePart:
        code = bytes(self._random.randrange(-127, 128) & 0xFF for _ in range(DIM))
        shown = self._random.sample(products, self._random.randint(1, min(3, len(products))))
        url = self._random.choice(["", f"https://shop.example/{key}.jpg"])
        return ImagePart(key, f"i{key}", url, tuple(sorted(shown)), code)

    def _place(self, key: int) -> None:
        self._state.placements[key] = PlacementPart(key, self._random.randrange(LISTS))

    def _add_product(self) -> None:
        key, self._next_product = self._next_product, self._next_product + 1
        self._state.products[key], self._state.offers[key] = self._product(key), self._offer(key)

    def _add_image(self) -> None:
        if not self._state.products:
            return
        key, self._next_image = self._next_image, self._next_image + 1
        self._state.images[key] = self._image(key, list(self._state.products))
        self._place(key)

    def _edit_product(self) -> None:
        if self._state.products:
            key = self._random.choice(list(self._state.products))
            self._state.products[key] = self._product(key)

    def _edit_offer(self) -> None:
        if self._state.products:
            key = self._random.choice(list(self._state.products))
            self._state.offers[key] = self._offer(key)

    def _edit_image(self) -> None:
        if self._state.images:
            key = self._random.choice(list(self._state.images))
            self._state.images[key] = self._image(key, list(self._state.products))

    def _move_image(self) -> None:
        if self._state.images:
            self._place(self._random.choice(list(self._state.images)))

    def _delete_image(self) -> None:
        if self._state.images:
            key = self._random.choice(list(self._state.images))
            del self._state.images[key], self._state.placements[key]

    def _delete_product(self) -> None:
        if not self._state.products:
            return
        key = self._random.choice(list(self._state.products))
        self._gone[key] = self._state.products.pop(key), self._state.offers.pop(key)
        for image in list(self._state.images.values()):
            left = tuple(each for each in image.product_keys if each != key)
            if not left:
                del self._state.images[image.key], self._state.placements[image.key]
            elif left != image.product_keys:
                self._state.images[image.key] = replace(image, product_keys=left)

    def _restore_product(self) -> None:
        if self._gone:
            key = self._random.choice(list(self._gone))
            self._state.products[key], self._state.offers[key] = self._gone.pop(key)


def origin(version: int) -> Origin:
    """Where a store of this catalogue comes from."""
    return Origin(
        generation=GENERATION,
        bundle_sha256=hashlib.sha256(BUNDLE).digest(),
        catalogue="shop",
        version=version,
        as_of=AS_OF,
        scale=np.ones(DIM, np.float32),
        probes=LISTS,
        probes_estimated=False,
        codebook_sha256=CODEBOOK,
        saturated_share=0.0,
    )


def encoded(header: Header, *blocks: Block) -> tuple[list[bytes], int]:
    """A stream in pieces, and its inflated length."""
    stream = DeltaStream(header, blocks)
    return list(stream), stream.inflated_size


def write_store(directory: Path, header: Header, *blocks: Block) -> Path:
    """A new install of a snapshot; the path of its database."""
    reader = DeltaReader(*encoded(header, *blocks))
    with installs.writing(directory), installs.new_install(directory, BUNDLE) as new:
        new.generation = GENERATION
        snapshots.write(new.folder / database.FILE_NAME, reader, CENTROIDS, origin(header.head))
    return installs.current(directory) / database.FILE_NAME
