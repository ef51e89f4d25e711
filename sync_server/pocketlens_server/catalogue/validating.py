"""An image list -> what a push would refuse or leave out, with nothing written anywhere.

    report = validate(Path("catalogue.csv"))
    report.refused, report.notices

Every picture is decoded, in as many threads as there are cores: in this process, since they are the
operator's own, and no further than `PictureLimits` let its header ask for.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pocketlens import image_lists
from pocketlens.errors import ImageListError, MissingExtraError, PictureError
from pocketlens.image_lists import ATTRIBUTE_PREFIX, Entry, Problem
from pocketlens.options import PictureLimits
from pocketlens.products import Product
from pocketlens.progress import Progress
from pocketlens.query.picture_sources import opened
from pocketlens.query.pictures import upright
from pocketlens_server.catalogue import vision_lists
from pocketlens_server.catalogue.item_limits import ATTRIBUTES, image_faults, product_faults
from pocketlens_server.catalogue.vision_lists import Listed

_BATCH = 256  # pictures whose checks wait for each other
_SEEN_SIDE = 256  # pixels that a picture is decoded to: its data is read to the end all the same


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Attributes:
        products, images: Of the list.
        refused: What a push would refuse or leave out.
        notices: What it would take, though it may not be meant.
    """

    products: int
    images: int
    refused: tuple[Problem, ...]
    notices: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What two pictures share that are exactly the same; `box` is None for all of it."""

    sha256: bytes
    box: tuple[int, int, int, int] | None


def validate(
    path: Path,
    *,
    pictures: Path | None = None,
    limits: PictureLimits | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Report:
    """Checks a list as a push would take it.

    Args:
        path: CSV or folder, see `pocketlens.image_lists`, or a CSV of Vision Product Search.
        pictures: Folder of the pictures of the latter; that of the CSV if None.
        limits: Beyond which a picture is refused; `PictureLimits()` if None.
        progress: Called with "checking", done and total.

    Raises:
        CatalogError: A folder of pictures was given for a list that names its own.
    """
    errors: list[ImageListError] = []
    try:
        listed = vision_lists.read_any(path, pictures=pictures, refused=errors)
    except ImageListError as exc:
        return Report(0, 0, tuple(map(_refusal, [*errors, exc])), ())
    images = listed.images
    refused, notices = [_refusal(each) for each in errors], [*images.problems]
    refused += _refused_products(listed)
    refused += _refused_images(listed)
    shown = _check_pictures(listed, limits or PictureLimits(), refused, notices, progress)
    notices += (
        Problem(None, None, f"product {id_!r} has no picture that can be used")
        for id_ in images.products
        if id_ not in shown
    )
    return Report(len(images.products), len(images.entries), _in_order(refused), _in_order(notices))


def _refusal(error: ImageListError) -> Problem:
    """An error of a list, without its place in the text."""
    _, _, what = str(error).removeprefix(str(error.path)).partition(": ")
    return Problem(error.line, error.column, what)


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: problem.line or 0))


# --- products ---------------------------------------------------------------------------------


def _refused_products(listed: Listed) -> Iterator[Problem]:
    """What no product may have, each at the line that says so first."""
    found = {
        (product.id, field): why
        for product in listed.images.products.values()
        for field, why in product_faults(product)
    }
    places = _places(listed, found)
    for (id_, field), why in found.items():
        yield listed.problem(places.get((id_, field)), field, why)


def _places(listed: Listed, wanted: Container[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
    """The first lines that say something of a field of a product: what they say stays."""
    places: dict[tuple[str, str], int] = {}
    for number, product in _lines(listed) if wanted else ():
        for field in _said(product):
            if (product.id, field) in wanted:
                places.setdefault((product.id, field), number)
    return places


def _said(product: Product) -> Iterator[str]:
    """Fields of which a product says something."""
    yield from (field for field in ("title", "category", "url") if getattr(product, field))
    yield from (ATTRIBUTE_PREFIX + name for name in product.attributes)
    yield ATTRIBUTES
    if product.price is not None:
        yield "currency"


def _lines(listed: Listed) -> Iterator[tuple[int, Product]]:
    """Numbers of the lines and what they say of products, read again."""
    path = listed.images.path
    if listed.is_vision:
        return ((each.number, each.product) for each in vision_lists.iterate(path, [], refused=[]))
    return ((each.number, each.product) for each in image_lists.iterate(path, [], refused=[]))


# --- images -----------------------------------------------------------------------------------


def _refused_images(listed: Listed) -> Iterator[Problem]:
    """What no image may have, whatever its picture is."""
    for entry in listed.images.entries:
        for field, why in image_faults(entry.image, entry.product_ids):
            yield listed.problem(entry.line, field, why)


def _check_pictures(
    listed: Listed,
    limits: PictureLimits,
    refused: list[Problem],
    notices: list[Problem],
    progress: Progress,
) -> set[str]:
    """Decodes every picture; returns the products that one shows."""
    first: dict[_Seen, Entry] = {}
    shown: set[str] = set()
    left, done, total = iter(listed.images.entries), 0, len(listed.images.entries)

    def seen_of(entry: Entry) -> _Seen | Problem:
        return _seen(listed, entry, limits)

    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="pocketlens-validate") as pool:
        while some := list(islice(left, _BATCH)):
            for entry, seen in zip(some, pool.map(seen_of, some), strict=True):
                done += 1
                progress("checking", done, total)
                if isinstance(seen, Problem):
                    refused.append(seen)
                    continue
                shown.update(entry.product_ids)
                known = first.setdefault(seen, entry)
                if set(known.product_ids) != set(entry.product_ids):
                    text = f"the same picture as image {known.image.id!r}, of other products"
                    notices.append(listed.problem(entry.line, "image", f"{entry.path}: {text}"))
    return shown


def _seen(listed: Listed, entry: Entry, limits: PictureLimits) -> _Seen | Problem:
    column, area, box = "image", listed.areas.get(entry.image.id), None
    if entry.image.id in listed.missing:
        return listed.problem(entry.line, column, listed.missing[entry.image.id])
    try:
        if not entry.path.is_file():
            return listed.problem(entry.line, column, f"no picture at {entry.path}")
        upright(entry.path, limits=limits, at_least=_SEEN_SIDE)
        with entry.path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").digest()
        if area is not None:
            with opened(entry.path, limits) as source:
                size = source.upright_size
            column = "area"
            box = area.box(size, limits=limits)
            box = None if box == (0, 0, *size) else box
    except (PictureError, MissingExtraError) as exc:
        return listed.problem(entry.line, column, str(exc))
    except OSError as exc:
        what = f"{entry.path} cannot be read: {exc.strerror}"
        return listed.problem(entry.line, column, what)
    return _Seen(sha256, box)
