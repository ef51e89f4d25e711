"""Image lists to the pictures that are learned from: whose they are, which of them are catalogue.

    pictures = read([Path("catalogue.csv"), Path("photos.csv")], side=288)
    pictures.square(7)      # letterboxed, RGB
    pictures.cutout(7)      # without its white ground

The first of several lists is the catalogue, the others are photos. A product of which there is
one picture in all has it as its catalogue picture, whichever list it is in: queries are
synthesised from it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pocketlens import image_lists
from pocketlens.errors import PictureError, TrainingError
from pocketlens.formats.bundle import Spec
from pocketlens.image_lists import ImageList
from pocketlens.query import pictures as decoding
from pocketlens_converter import duplicates
from pocketlens_converter.synthesis.cutouts import Cutout, cut_out

Pixels = npt.NDArray[np.uint8]

# Pictures, and as much again of cutouts, are kept in memory up to here (16,000 of 288 pixels);
# others are decoded anew.
MEMORY_BYTES = 4 << 30


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


class TrainingPictures:
    """All pictures of the lists, letterboxed to squares and kept in memory as far as they fit.

    Attributes:
        entries: Every one of which was opened once.
        side: Pixels of a square.
        problems: What was left out, and why.
        categories: int64 (products,), number of each product's category.
        photos, catalogue: Numbers of each product's pictures.
    """

    def __init__(
        self,
        entries: Sequence[TrainingPicture],
        side: int,
        problems: list[str],
        categories: Sequence[str] = (),
    ) -> None:
        """Keeps `entries`; `categories` are the products', all of one where they are left out."""
        self.entries = tuple(entries)
        self.side = side
        self.problems = problems
        self.product_count = 1 + max(entry.product for entry in entries)
        names = list(categories) or [""] * self.product_count
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        self.categories = np.array([numbers[name] for name in names], np.int64)
        self.photos: list[list[int]] = [[] for _ in range(self.product_count)]
        self.catalogue: list[list[int]] = [[] for _ in range(self.product_count)]
        for number, entry in enumerate(self.entries):
            (self.photos if entry.slot < 0 else self.catalogue)[entry.product].append(number)
        self._fitting = _fitting(side)
        self._squares: dict[int, Pixels] = {}
        self._cutouts: dict[int, Cutout] = {}

    def keep(self, squares: Mapping[int, Pixels]) -> None:
        """Keeps decoded pictures, by number of their entry."""
        self._squares = dict(squares)

    def leave_out(self, numbers: Set[int]) -> set[int]:
        """Takes photos out of those that are drawn, except a product's last one.

        Returns:
            Those that were taken out.
        """
        left_out: set[int] = set()
        for product, photos in enumerate(self.photos):
            kept = [number for number in photos if number not in numbers] or photos[:1]
            left_out |= set(photos) - set(kept)
            self.photos[product] = kept
        return left_out

    def square(self, number: int) -> Image.Image:
        """Picture `number`, RGB, `side` x `side` pixels, on white."""
        pixels = self._squares.get(number)
        if pixels is None:
            pixels = letterboxed(self.entries[number].path, self.side)
        return Image.fromarray(pixels)

    def squares(self, numbers: Sequence[int], size: int) -> Pixels:
        """Pictures scaled to `size` pixels a side: uint8 (n, size, size, 3)."""
        scaled = np.empty((len(numbers), size, size, 3), np.uint8)
        for row, number in enumerate(numbers):
            picture = self.square(number).resize((size, size), Image.Resampling.BILINEAR)
            scaled[row] = np.asarray(picture)
        return scaled

    def cutout(self, number: int) -> Cutout:
        """The product of picture `number`, its longer side `side` pixels at most."""
        found = self._cutouts.get(number)
        if found is None:
            picture = decoding.upright(self.entries[number].path, at_least=self.side)
            picture.thumbnail((self.side, self.side))
            found = cut_out(picture)
            if len(self._cutouts) < self._fitting:
                self._cutouts[number] = found
        return found


def read(lists: Sequence[Path], side: int, *, held_out: Collection[str] = ()) -> TrainingPictures:
    """Reads the lists and opens every picture once; one that cannot be opened is a problem.

    A product id means one product in all lists. Products whose pictures are all the same count as
    one, and a picture of several products that differ elsewhere is left out: it would be learned
    as a negative of what it shows.

    Args:
        lists: The catalogue first, then photos; or a single list.
        side: Pixels of the squares that are kept.
        held_out: Categories of which nothing is learned.

    Raises:
        ImageListError: A list cannot be understood.
        TrainingError: Fewer than two products have pictures, or a category is in no list.
    """
    found: list[_Found] = []
    thumbnails: list[Pixels] = []
    problems: list[str] = []
    read_lists = [image_lists.read(path) for path in lists]
    categories = _categories(read_lists)
    unknown = set(held_out) - set(categories.values())
    if unknown:
        raise TrainingError(f"No list has the category {min(unknown)!r}. Check --hold-out.")
    for position, (path, listed) in enumerate(zip(lists, read_lists, strict=True)):
        problems += [f"{path}: {problem}" for problem in listed.problems]
        for entry in listed.entries:
            category = categories[entry.product_ids[0]]
            if category in held_out:
                continue
            try:
                square = letterboxed(entry.path, side)
            except PictureError as exc:
                problems.append(f"{path}, line {entry.line}: {exc} Left out.")
                continue
            is_catalogue = position == 0 and len(lists) > 1
            is_kept = len(found) < _fitting(side)
            found.append(
                _Found(entry.path, entry.product_ids, is_catalogue, square if is_kept else None)
            )
            thumbnails.append(duplicates.thumbnail(square))
    kept, shared = _told_apart(found, thumbnails)
    problems += shared
    numbers = {name: number for number, name in enumerate(dict.fromkeys(each[0] for each in kept))}
    if len(numbers) < 2:
        raise TrainingError(
            f"Expected pictures of 2 or more products. Received {len(numbers)}. "
            "Check the lists' paths."
        )
    slots = itertools.count()
    alone = Counter(name for name, _ in kept)
    entries = [
        TrainingPicture(
            each.path,
            numbers[name],
            next(slots) if each.is_catalogue or alone[name] == 1 else -1,
        )
        for name, each in kept
    ]
    of_products = [categories[name] for name in numbers]
    pictures = TrainingPictures(entries, side, problems, of_products)
    pictures.keep(
        {number: each.square for number, (_, each) in enumerate(kept) if each.square is not None}
    )
    return pictures


def photo_share(lists: Sequence[Path], held_out: Collection[str] = ()) -> float:
    """Share of the products in image lists that have photos; no picture is opened.

    Args:
        lists: As `read` takes them.
        held_out: Categories whose products do not count.

    Raises:
        ImageListError: A list cannot be understood.
    """
    read_lists = [image_lists.read(path) for path in lists]
    categories = _categories(read_lists)
    counts = Counter(
        name
        for listed in read_lists
        for entry in listed.entries
        for name in entry.product_ids
        if categories[name] not in held_out
    )
    photographed = {
        name
        for listed in read_lists[1:] or read_lists
        for entry in listed.entries
        for name in entry.product_ids
        if counts[name] > 1
    }
    return len(photographed) / max(1, len(counts))


def letterboxed(path: Path, side: int) -> Pixels:
    """A picture as the SDK sees it: uint8 (side, side, 3), on white.

    Raises:
        PictureError: It cannot be used as a picture.
    """
    return decoding.tensor(path, Spec("", side, side, 2))


def _fitting(side: int) -> int:
    """Squares of that side that are kept in memory at most."""
    return MEMORY_BYTES // (3 * side * side)


def _categories(lists: Sequence[ImageList]) -> dict[str, str]:
    """Each product's category: the first that any list names."""
    categories: dict[str, str] = {}
    for listed in lists:
        for name, product in listed.products.items():
            categories[name] = categories.get(name) or product.category
    return categories


@dataclass(frozen=True, slots=True)
class _Found:
    """A picture of a list, with what the list says of it; `square` is None where none fits."""

    path: Path
    products: tuple[str, ...]
    is_catalogue: bool
    square: Pixels | None


def _told_apart(
    found: Sequence[_Found], thumbnails: Sequence[Pixels]
) -> tuple[list[tuple[str, _Found]], list[str]]:
    """Each picture with the one product that it is learned as, and what was left out.

    One picture is one content: saved twice, under two names or in two qualities, it is one.
    """
    contents = duplicates.first_alike(np.stack(thumbnails)).tolist() if found else []
    shown: dict[int, set[str]] = {}
    pictures: dict[str, set[int]] = {}
    for content, each in zip(contents, found, strict=True):
        shown.setdefault(content, set()).update(each.products)
        for product in each.products:
            pictures.setdefault(product, set()).add(content)
    first_alike: dict[frozenset[int], str] = {}
    alike = {name: first_alike.setdefault(frozenset(of), name) for name, of in pictures.items()}
    kept: list[tuple[str, _Found]] = []
    problems = [
        f"{name} and {first} have the same pictures: they are learned as one product."
        for name, first in alike.items()
        if name != first
    ]
    for content, each in zip(contents, found, strict=True):
        names = sorted({alike[name] for name in shown[content]})
        if len(names) == 1:
            kept.append((names[0], each))
        else:
            problems.append(f"{each.path} shows {len(names)} products ({names[0]}...). Left out.")
    return kept, problems
