"""The parts of a small catalogue through its versions -> what changed between two of them (PURE).

    versions = Versions()
    number = versions.add(Parts(products={1: ...}, ...))
    versions.changes(base, number)            # the block of a delta; from 0 of a snapshot

Every version is kept whole: what changed is seen by comparing, not remembered.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pocketlens.formats import parts, state_hash
from pocketlens.formats.delta_blocks import Block
from pocketlens.formats.parts import ImagePart, OfferPart, Part, PlacementPart, ProductPart
from pocketlens.formats.state_hash import Counts, Identity, StateSum

AnyPart = TypeVar("AnyPart", bound=Part)


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts of one version, by key."""

    products: Mapping[int, ProductPart] = field(default_factory=dict)
    offers: Mapping[int, OfferPart] = field(default_factory=dict)
    images: Mapping[int, ImagePart] = field(default_factory=dict)
    placements: Mapping[int, PlacementPart] = field(default_factory=dict)

    def state_hash(self, identity: Identity) -> bytes:
        """Of a store that holds them, 32 bytes."""
        total = StateSum()
        for kind in (self.products, self.offers, self.images, self.placements):
            total.add(map(parts.encode, kind.values()))
        counts = Counts(
            len(self.images), len(self.placements), len(self.products), len(self.offers)
        )
        return state_hash.digest(identity, counts, total.value)


class Versions:
    """Versions from 1 on; version 0 is nothing."""

    def __init__(self) -> None:
        self._parts = [Parts()]

    @property
    def head(self) -> int:
        """The newest; 0 where there is none."""
        return len(self._parts) - 1

    def add(self, all_parts: Parts) -> int:
        """Adds a version and returns its number."""
        self._parts.append(all_parts)
        return self.head

    def parts(self, version: int) -> Parts:
        """All parts of a version."""
        return self._parts[version]

    def changes(self, base: int, head: int) -> Block:
        """What brings any version from `base` to `head` - 1 to `head`; from 0, only nothing."""
        before, after = self._parts[base : head if base else 1], self._parts[head]
        return Block(
            deleted_products=_gone([each.products for each in before], after.products),
            deleted_images=_gone([each.images for each in before], after.images),
            products=_changed([each.products for each in before], after.products),
            images=_changed([each.images for each in before], after.images),
            offers=_changed([each.offers for each in before], after.offers),
            placements=_changed([each.placements for each in before], after.placements),
        )


def _changed(
    before: Iterable[Mapping[int, AnyPart]], after: Mapping[int, AnyPart]
) -> list[AnyPart]:
    """Parts that any of the versions before has otherwise, or not at all."""
    changed = {key for each in before for key in after if each.get(key) != after[key]}
    return [after[key] for key in sorted(changed)]


def _gone(before: Iterable[Mapping[int, AnyPart]], after: Mapping[int, AnyPart]) -> list[int]:
    return sorted({key for each in before for key in each} - set(after))
