"""The bulk-import CSV of Google's Vision Product Search as an image list.

    listed = read_any(path, pictures=Path("downloaded"))     # this form, or one of ours
    for entry in listed.images.entries: listed.picture(entry)

A line has no header and eight cells: image-uri, image-id, product-set-id, product-id,
product-category, product-display-name, labels, bounding-poly. What is refused, and what is only a
`Problem`, follows `pocketlens.image_lists`. Pictures are opened when they are asked for.
Source: docs/moving.md, "From Vision Product Search".
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from pocketlens import csv_rows, image_lists
from pocketlens.errors import CatalogError, ImageListError, PictureError
from pocketlens.image_lists import ATTRIBUTE_PREFIX, Entry, ImageList, Line, Problem
from pocketlens.options import PictureLimits
from pocketlens.products import Image, Product, checked_id
from pocketlens_server.catalogue.bucket_files import BucketFiles, parts_of
from pocketlens_server.catalogue.cropping import Area, cropped
from pocketlens_server.catalogue.pictures import check_size

COLUMNS = (
    "image-uri image-id product-set-id product-id product-category product-display-name labels "
    "bounding-poly"
).split()
PRODUCT_SET = "product-set"
"""Attribute that names the product sets of a product."""

_NUMBER = re.compile(r"([0-9]{1,10}(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?", re.ASCII)
_COLUMN_OF = {
    "image": "image-uri",
    "area": "bounding-poly",
    "product_id": "product-id",
    "title": "product-display-name",
    "category": "product-category",
    ATTRIBUTE_PREFIX + PRODUCT_SET: "product-set-id",
}


@dataclass(frozen=True, slots=True)
class VisionLine:
    """One line: this part of this picture shows this product.

    Attributes:
        number: Line of the CSV, from 1.
        address: Of the picture.
        area: Of the picture; None for all of it.
        image: Its id is the column `image-id` or else derived.
        product: As this line describes it.
        product_set: Its id, or "".
    """

    number: int
    address: str
    area: Area | None
    image: Image
    product: Product
    product_set: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A whole list in memory, of either form.

    Attributes:
        images: Everything that it names, whether there are pictures or not.
        areas: Of the pictures of which only a part counts, by the image's id.
        missing: Where the picture of an image was looked for in vain, by its id.
        is_vision: Whether it is one of Vision Product Search.
    """

    images: ImageList
    areas: Mapping[str, Area]
    missing: Mapping[str, str]
    is_vision: bool

    def picture(self, entry: Entry, *, limits: PictureLimits | None = None) -> bytes:
        """What is to be embedded of an image: its picture's file, or a part of it.

        Raises:
            OSError: The file cannot be read.
            InvalidOperation: It is empty, or larger than pictures may be; nothing of it was read.
            PictureError: It was looked for in vain, or the part cannot be cut out, such as of a
                picture with more pixels than `limits` allow.
            MissingExtraError: The part is one of a HEIC, which needs an extra.
        """
        if entry.image.id in self.missing:
            raise PictureError(f"There is {self.missing[entry.image.id]}.")
        check_size(entry.path.stat().st_size)
        data, area = entry.path.read_bytes(), self.areas.get(entry.image.id)
        return data if area is None else cropped(data, area, limits=limits or PictureLimits())

    def problem(self, line: int | None, column: str, what: str) -> Problem:
        """A problem at its place, which a folder has not.

        Args:
            line: Of the list.
            column: As a CSV of ours calls it.
            what: See `Problem`.
        """
        if self.is_vision:
            return Problem(line, column_of(column), what)
        if self.images.path.is_dir():
            return Problem(None, None, what)
        return Problem(line, column, what)


def read_any(
    path: Path, *, pictures: Path | None = None, refused: list[ImageListError] | None = None
) -> Listed:
    """Reads a list of the form that it has.

    Args:
        path: CSV or folder, see `pocketlens.image_lists`, or a CSV of Vision Product Search.
        pictures: Folder of the pictures of the latter; that of the CSV if None.
        refused: See `read`.

    Raises:
        ImageListError: There is no list, or a line of it cannot be understood.
        CatalogError: A folder of pictures was given for a list that names its own.
    """
    if is_vision(path):
        return read(path, pictures=pictures, refused=refused)
    if pictures is not None:
        raise CatalogError(
            f"Expected a CSV of Vision Product Search with a folder of pictures. Received {path}, "
            "which says itself where its pictures are. Leave the folder away."
        )
    return Listed(
        image_lists.read(path, need_files=False, refused=refused), {}, {}, is_vision=False
    )


def is_vision(path: Path) -> bool:
    """Whether a list is one of Vision Product Search, by its first line.

    What cannot be read is none: `image_lists` says what is wrong with it.
    """
    if path.is_dir():
        return False
    try:
        _, cells = next(csv_rows.rows(path))
    except ImageListError:
        return False
    names = {cell.strip() for cell in cells}
    is_own = names.issuperset(image_lists.REQUIRED_COLUMNS)
    return not is_own and (cells[0].startswith("gs://") or cells[0].strip() == COLUMNS[0])


def read(
    path: Path, *, pictures: Path | None = None, refused: list[ImageListError] | None = None
) -> Listed:
    """Reads a whole list into memory, one entry a picture or part of one.

    What a product's or image's earlier line says stays, as in every image list; product sets add
    up to the attribute `product-set`.

    Args:
        path: The CSV.
        pictures: Folder of the pictures; that of the CSV if None.
        refused: Where lines that cannot be understood go; the first is raised if None.

    Raises:
        ImageListError: There is no list, or a line of it cannot be understood.
    """
    problems: list[Problem] = []
    entries: dict[str, Entry] = {}
    products: dict[str, Product] = {}
    sets: dict[str, dict[str, None]] = {}
    areas: dict[str, Area] = {}
    missing: dict[str, str] = {}
    folder = path.parent if pictures is None else pictures
    files = BucketFiles(folder, lambda: (cells[0] for _, cells in csv_rows.rows(path)))
    for line in iterate(path, problems, refused=refused):
        id_, image = line.product.id, line.image
        products[id_] = _merged(products.get(id_, line.product), line, problems)
        if line.product_set:
            sets.setdefault(id_, {})[line.product_set] = None
        entry = entries.get(image.id)
        if entry is None:
            place, tried = files.find(line.address)
            entry = Entry(place, image, (), line.number)
            if tried is not None:
                missing[image.id] = tried
            if line.area is not None:
                areas[image.id] = line.area
        shown = tuple(dict.fromkeys((*entry.product_ids, id_)))
        entries[image.id] = replace(entry, product_ids=shown)
    for id_, names in sets.items():
        products[id_] = _in_sets(products[id_], names)
    images = ImageList(path, tuple(entries.values()), MappingProxyType(products), tuple(problems))
    return Listed(images, MappingProxyType(areas), MappingProxyType(missing), is_vision=True)


def iterate(
    path: Path, problems: list[Problem], *, refused: list[ImageListError] | None = None
) -> Iterator[VisionLine]:
    """Reads a list line by line, and opens nothing else.

    Args:
        path: The CSV.
        problems: Where problems are appended while the lines are taken.
        refused: Where lines that cannot be understood go; the first is raised if None.

    Raises:
        ImageListError: There is no list, or a line of it cannot be understood.
    """
    seen: set[bytes] = set()
    picture_of_id: dict[str, str] = {}
    is_empty = True
    for number, cells in _rows(path):
        is_empty = False
        digest = hashlib.blake2b(json.dumps(cells).encode(), digest_size=16).digest()
        if digest in seen:
            problems.append(Problem(number, None, "repeats an earlier line exactly; ignored"))
            continue
        seen.add(digest)
        try:
            line = _line(path, number, cells)
        except ImageListError as exc:
            if refused is None:
                raise
            refused.append(exc)
            continue
        yield _named(line, picture_of_id, problems)
    if is_empty:
        raise ImageListError("Expected lines. Received none.", path=path)


def column_of(field: str) -> str:
    """The column that holds what image lists call `field`, an attribute being `attr.<name>`."""
    return _COLUMN_OF.get(field, "labels")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbered rows, without the header that some files have."""
    for index, (number, cells) in enumerate(csv_rows.rows(path)):
        names = [cell.strip() for cell in cells]
        if index or names[0] != COLUMNS[0]:
            yield number, cells
        elif names != COLUMNS:
            raise ImageListError(
                f"Expected no header, or {','.join(COLUMNS)}. Received {','.join(names)}.",
                path=path,
                line=number,
            )


def _line(path: Path, number: int, cells: list[str]) -> VisionLine:
    """One row understood."""
    # Google's own examples leave the polygon without quotes.
    if len(cells) < len(COLUMNS) or not all(map(_is_number, cells[len(COLUMNS) :])):
        raise ImageListError(
            f"Expected {len(COLUMNS)} cells. Received {len(cells)}. Put labels and the polygon "
            'into "quotes"; a line without polygon ends with a comma.',
            path=path,
            line=number,
        )
    address, image_id, product_set, product_id, category, title, labels, *polygon = cells
    column = "image-uri"
    try:
        parts_of(address)
        column = "product-id"
        checked_id(product_id, "product")
        column = "labels"
        attributes = _attributes(labels)
        column = "bounding-poly"
        area = _area(",".join(polygon))
        column = "image-id"
        image = Image(image_id or _derived_id(address, area))
    except CatalogError as exc:
        raise ImageListError(str(exc), path=path, line=number, column=column) from exc
    product = Product(product_id, title.strip(), category, attributes=attributes)
    return VisionLine(number, address, area, image, product, product_set)


def _named(line: VisionLine, picture_of_id: dict[str, str], problems: list[Problem]) -> VisionLine:
    """An id belongs to the first part of a picture that has it: Google's are a product's own."""
    id_, derived = line.image.id, _derived_id(line.address, line.area)
    if picture_of_id.setdefault(id_, derived) == derived:
        return line
    text = f"'{id_}' is another picture, or part of one, in an earlier line; called {derived}"
    problems.append(Problem(line.number, "image-id", text))
    return replace(line, image=Image(derived))


def _derived_id(address: str, area: Area | None) -> str:
    """An id that the same part of the same picture has in every list."""
    sides = () if area is None else (area.left, area.top, area.right, area.bottom)
    text = "\n".join([address, *map(repr, sides)])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _attributes(labels: str) -> Mapping[str, str]:
    """Labels by their key, the values of one key in order; what is empty says nothing."""
    values: dict[str, list[str]] = {}
    for label in filter(str.strip, labels.split(",")):
        key, equals, value = (part.strip() for part in label.partition("="))
        if not (key and equals):
            raise CatalogError(
                f"Expected labels such as color=black,style=formal. Received {label[:40]!r}."
            )
        if value:
            values.setdefault(key, []).append(value)
    return {key: ", ".join(each) for key, each in values.items()}


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text.strip()) is not None


def _area(polygon: str) -> Area | None:
    """What a polygon is about; None where it is empty.

    Without a number above 1 it is normalized, as whole numbers too: it would be a single pixel.
    """
    if not polygon.strip():
        return None
    texts = [text.strip() for text in polygon.split(",")]
    if len(texts) < 4 or len(texts) % 2 or not all(map(_is_number, texts)):
        raise CatalogError(
            "Expected x,y,x,y and so on of two corners or more, none of them negative. "
            f"Received {polygon[:80]!r}."
        )
    numbers = [float(text) for text in texts]
    is_normalized = max(numbers) <= 1
    if not is_normalized and not all(text.isdigit() for text in texts):
        raise CatalogError(
            f"Expected whole pixels, or shares from 0 to 1. Received {polygon[:80]!r}."
        )
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    return Area.around(points, is_normalized=is_normalized)


def _merged(known: Product, line: VisionLine, problems: list[Problem]) -> Product:
    """What is known of a product after one more line, whose contradictions are told by column."""
    found: list[Problem] = []
    as_ours = Line(line.number, Path(), line.image, line.product, 0)
    merged = image_lists.merged_product(known, as_ours, found)
    for each in found:
        field = each.column or ""
        label = f"{field.removeprefix(ATTRIBUTE_PREFIX)}: " if field not in _COLUMN_OF else ""
        problems.append(replace(each, column=column_of(field), what=label + each.what))
    return merged


def _in_sets(product: Product, names: Mapping[str, None]) -> Product:
    """A label of that name keeps its values, before the sets."""
    label = product.attributes.get(PRODUCT_SET)
    joined = ", ".join([*([label] if label else []), *names])
    return replace(product, attributes={**product.attributes, PRODUCT_SET: joined})
