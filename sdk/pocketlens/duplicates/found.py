"""What is found of duplicates: values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pocketlens.image_lists import Problem
from pocketlens.products import Image

Kind = Literal["exact", "near", "same"]
"""The same bytes; one picture, altered; codes from which the model cannot tell two things apart."""


@dataclass(frozen=True, slots=True)
class Copy:
    """An image of a group.

    Attributes:
        image: Of the catalogue.
        product_ids: Of the products that it shows, ascending by key.
        path: Of its picture; None where no list of pictures was given, or that has no such image.
    """

    image: Image
    product_ids: tuple[str, ...]
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Images that are each linked to another one of the group.

    Attributes:
        kind: The weakest of the links that hold it together.
        copies: Two or more, in the order of the catalogue.
        products: How many products they show; 1 where a product merely has a picture twice.
    """

    kind: Kind
    copies: tuple[Copy, ...]
    products: int


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The groups of a catalogue, those of the most images first.

    A group of a weaker kind holds those of stronger kinds that it joins, which are told as well.

    Attributes:
        exact, near, same: Groups by kind; the first two are empty where no pictures were given.
        images: In the store.
        pictures: That were looked at.
        cosine: Of two codes from which they count as the same thing.
        version: Of the catalogue.
        problems: Pictures that could not be read, lines that were left out.
    """

    exact: tuple[Group, ...]
    near: tuple[Group, ...]
    same: tuple[Group, ...]
    images: int
    pictures: int
    cosine: float
    version: int
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """An image of the catalogue that a photo may have been made from.

    Attributes:
        copy: The image, its products, its picture.
        kind: How it is a copy; None if it is merely the nearest.
        similarity: Cosine of photo and image, or of the mirrored photo and image.
        is_mirrored: Whether the mirrored photo is nearer.
    """

    copy: Copy
    kind: Kind | None
    similarity: float
    is_mirrored: bool


@dataclass(frozen=True, slots=True)
class Recognised:
    """Whether a photo is one of the catalogue's.

    Attributes:
        photo: As it was given.
        seen: Images, the likeliest first; the first says whether the photo is ours.
    """

    photo: Path
    seen: tuple[Seen, ...]

    @property
    def kind(self) -> Kind | None:
        """How the photo is one of the catalogue's; None if it is not."""
        return self.seen[0].kind if self.seen else None
