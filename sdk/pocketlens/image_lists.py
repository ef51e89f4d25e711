"""An image list, a CSV or a folder of folders, to images and products.

    problems: list[Problem] = []
    for line in iterate(Path("catalogue.csv"), problems):
        line.image.id, line.product.id, line.path

What makes the whole list doubtful is an `ImageListError` with its place; what concerns one line
only becomes a `Problem`, and the list goes on. Nothing is opened but the list itself.
Source: docs/formats.md, "Image lists".
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

from pocketlens import csv_rows
from pocketlens.errors import CatalogError, ImageListError
from pocketlens.products import Image, Price, Product, checked_id

REQUIRED_COLUMNS = ("image", "product_id")
OPTIONAL_COLUMNS = (
    "title category price currency stock url image_id image_url".split()  # and attr.<name>
)
ATTRIBUTE_PREFIX = "attr."
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})

_PRICE = re.compile(r"[0-9]{1,15}(\.[0-9]{1,6})?", re.ASCII)
_CURRENCY = re.compile("[A-Z]{3}", re.ASCII)
_STOCK = re.compile(r"[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was ignored, or left out, while the rest of a list was taken.

    Attributes:
        line: Line of the list, from 1 (the header); None for the list as a whole.
        column: Name of the column, or None.
        what: What it is, and what was done about it.
    """

    line: int | None
    column: str | None
    what: str

    def __str__(self) -> str:
        place = [f"line {self.line}"] if self.line is not None else []
        place += [f"column '{self.column}'"] if self.column is not None else []
        return f"{', '.join(place)}: {self.what}" if place else self.what


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list: this picture shows this product.

    Attributes:
        number: Line of the CSV, from 1 (the header); for a folder a running number from 1.
        path: Of the picture, ready to open; whether it exists is checked only on request.
        image: Its id is the column `image_id` or else the text of the column `image`; in a
            folder the path relative to it.
        product: The product as this line describes it.
        row: Number of the data line, from 0: the row of its vector.
    """

    number: int
    path: Path
    image: Image
    product: Product
    row: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of a list, with every product that it shows.

    Attributes:
        product_ids: In order of appearance, each once.
        line: Where the image appears first.
    """

    path: Path
    image: Image
    product_ids: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class ImageList:
    """A whole list in memory.

    Attributes:
        products: By id, in order of appearance.
    """

    path: Path
    entries: tuple[Entry, ...]
    products: Mapping[str, Product]
    problems: tuple[Problem, ...] = field(default=())


def iterate(
    path: Path,
    problems: list[Problem],
    *,
    need_files: bool = False,
    refused: list[ImageListError] | None = None,
) -> Iterator[Line]:
    """Reads a list line by line; memory is bounded but for some digests a line.

    A product or image that comes again is yielded as that line describes it: see
    `merged_product` and `merged_image`.

    Args:
        path: A folder with a folder a product, or a UTF-8 CSV with a header.
        problems: Where problems are appended while the lines are taken.
        need_files: Leave out lines whose picture is missing, each with a problem.
        refused: Where lines of a CSV that cannot be understood go; the first is raised if None.

    Raises:
        ImageListError: There is no list, or a line of it cannot be understood.
    """
    lines = _folder_lines(path, problems) if path.is_dir() else _csv_lines(path, problems, refused)
    for line in lines:
        if need_files and not _is_file(line.path):
            column = None if path.is_dir() else "image"
            problems.append(
                Problem(line.number, column, f"no picture at {line.path}; the line is left out")
            )
            continue
        yield line


def read(
    path: Path, *, need_files: bool = True, refused: list[ImageListError] | None = None
) -> ImageList:
    """Reads a whole list into memory, one entry a picture; see `iterate`.

    Raises:
        ImageListError: There is no list, or a line of it cannot be understood.
    """
    problems: list[Problem] = []
    entries: dict[str, Entry] = {}
    products: dict[str, Product] = {}
    for line in iterate(path, problems, need_files=need_files, refused=refused):
        known = products.get(line.product.id, line.product)
        products[line.product.id] = merged_product(known, line, problems)
        entry = entries.get(line.image.id, Entry(line.path, line.image, (), line.number))
        entries[line.image.id] = replace(
            entry,
            image=merged_image(entry.image, line, problems),
            product_ids=tuple(dict.fromkeys((*entry.product_ids, line.product.id))),
        )
    return ImageList(path, tuple(entries.values()), MappingProxyType(products), tuple(problems))


def _is_file(path: Path) -> bool:
    """Whether there is one, as far as we are let see."""
    try:
        return path.is_file()
    except OSError:  # in a folder that may not be read, or under a name too long to be one
        return False


def count_rows(path: Path) -> int:
    """Data lines of a list, duplicates included: as many as its vectors must have rows.

    Raises:
        ImageListError: There is no list, or it is not UTF-8.
    """
    if path.is_dir():
        return sum(1 for _ in _folder_lines(path, []))
    return sum(1 for _ in csv_rows.rows(path)) - 1


def merged_product(known: Product, line: Line, problems: list[Problem]) -> Product:
    """What is known of a product after one more line of it: the first text of a field stays."""
    new = line.product
    if new == known:
        return known
    fields: dict[str, object] = {}
    for name in ("title", "category", "url", "price", "stock"):
        old_value, new_value = getattr(known, name), getattr(new, name)
        if old_value in ("", None):
            fields[name] = new_value
        elif new_value not in ("", None, old_value):
            problems.append(_contradiction(line, name, old_value, new_value))
    for name, value in new.attributes.items():
        old_value = known.attributes.get(name, value)
        if value != old_value:
            problems.append(_contradiction(line, ATTRIBUTE_PREFIX + name, old_value, value))
    attributes = {**new.attributes, **known.attributes}
    return replace(known, attributes=attributes, **fields)  # type: ignore[arg-type] # by name


def merged_image(known: Image, line: Line, problems: list[Problem]) -> Image:
    """What is known of an image after one more line of it: the first url stays."""
    if known.url and line.image.url not in ("", known.url):
        problems.append(_contradiction(line, "image_url", known.url, line.image.url))
    return known if known.url else line.image


def _contradiction(line: Line, column: str, old: object, new: object) -> Problem:
    what = f"'{new}' differs from '{old}' in an earlier line of the same, which stays"
    return Problem(line.number, column, what)


# --- folders ----------------------------------------------------------------------------------


def _folder_lines(folder: Path, problems: list[Problem]) -> Iterator[Line]:
    row = 0
    for product_folder in _visible(folder, problems):
        pictures = list(_visible(product_folder, problems, inside=True))
        if not pictures:
            problems.append(Problem(None, None, f"no pictures in {product_folder}; left out"))
        for path in pictures:
            image_id = path.relative_to(folder).as_posix()
            try:
                image, product = Image(image_id), Product(product_folder.name)
            except CatalogError as exc:
                raise ImageListError(f"{exc} Rename {path}.", path=folder) from exc
            yield Line(row + 1, path, image, product, row)
            row += 1
    if row == 0:
        raise ImageListError(
            "Expected a folder with a folder a product, and pictures "
            f"({' '.join(sorted(PICTURE_SUFFIXES))}) in those. Received none.",
            path=folder,
        )


def _visible(folder: Path, problems: list[Problem], *, inside: bool = False) -> Iterable[Path]:
    """Folders of products, or `inside` one its pictures, sorted; what else is there is reported."""
    for path in sorted(folder.iterdir()):
        is_picture = path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES
        if path.name.startswith("."):
            continue
        if is_picture if inside else path.is_dir():
            yield path
        elif inside or is_picture:
            what = "is no picture" if inside else "is in no product's folder"
            problems.append(Problem(None, None, f"{path} {what}; left out"))


# --- CSV --------------------------------------------------------------------------------------


def _csv_lines(
    path: Path, problems: list[Problem], refused: list[ImageListError] | None
) -> Iterator[Line]:
    rows = csv_rows.rows(path)
    header = [name.strip() for name in next(rows)[1]]
    _check_header(path, header, problems)
    seen: set[int] = set()
    file_of_image: dict[int, int] = {}
    row = -1
    for row, (number, cells) in enumerate(rows):
        digest = _digest("\0".join(f"{len(cell)}:{cell}" for cell in cells))
        if digest in seen:
            problems.append(Problem(number, None, "repeats an earlier line exactly; ignored"))
            continue
        seen.add(digest)
        try:
            line = _line(path, number, header, cells, row)
            if "image_id" in header:  # without the column, id and file are one text
                _check_file(path, line, file_of_image)
        except ImageListError as exc:
            if refused is None:
                raise
            refused.append(exc)
            continue
        yield line
    if row < 0:
        raise ImageListError("Expected lines below the header. Received none.", path=path)


def _check_file(path: Path, line: Line, file_of_image: dict[int, int]) -> None:
    file = _digest(os.path.normpath(line.path))
    if file_of_image.setdefault(_digest(line.image.id), file) != file:
        raise ImageListError(
            f"The image '{line.image.id}' has another picture in an earlier line. "
            "Give each picture an id of its own.",
            path=path,
            line=line.number,
            column="image_id",
        )


def _line(path: Path, number: int, header: list[str], texts: list[str], row: int) -> Line:
    if len(texts) != len(header):
        raise ImageListError(
            f"Expected {len(header)} cells, as in the header. Received {len(texts)}. "
            'Put text with commas into "quotes".',
            path=path,
            line=number,
        )
    cells = dict(zip(header, texts, strict=True))
    column = "image"
    try:
        picture = cells["image"] or checked_id("", "picture's")
        column = "image_id" if cells.get("image_id") else "image"
        image = Image(cells.get("image_id") or picture, cells.get("image_url", ""))
        column = "product_id"
        product_id = checked_id(cells["product_id"], "product")
        column = "currency"
        price_text = cells.get("price", "").strip()
        currency = _currency(cells.get("currency", "").strip(), needed=bool(price_text))
        column = "price"
        price = _price(price_text, currency) if price_text else None
        column = "stock"
        stock = _stock(cells.get("stock", "").strip())
    except CatalogError as exc:
        raise ImageListError(str(exc), path=path, line=number, column=column) from exc
    product = Product(
        product_id,
        cells.get("title", ""),
        cells.get("category", ""),
        cells.get("url", ""),
        price,
        stock,
        {
            name.removeprefix(ATTRIBUTE_PREFIX): value
            for name, value in cells.items()
            if value and name.startswith(ATTRIBUTE_PREFIX)
        },
    )
    return Line(number, path.parent / picture, image, product, row)


def _currency(text: str, *, needed: bool) -> str:
    if (text or needed) and not _CURRENCY.fullmatch(text):
        raise CatalogError(
            f"Expected a currency of three capital letters, such as EUR. Received {text!r}."
        )
    return text


def _price(text: str, currency: str) -> Price:
    if not _PRICE.fullmatch(text):
        raise CatalogError(f"Expected a price such as 12.50. Received {text!r}.")
    return Price.from_decimal(Decimal(text), currency)


def _stock(text: str) -> int | None:
    if text and not _STOCK.fullmatch(text):
        raise CatalogError(f"Expected a stock of 0 or more pieces. Received {text!r}.")
    return int(text) if text else None


def _check_header(path: Path, header: list[str], problems: list[Problem]) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing:
        hint = " Separate columns with commas." if len(header) == 1 else ""
        raise ImageListError(
            f"Expected the columns {' and '.join(REQUIRED_COLUMNS)}. "
            f"Received {', '.join(header)}.{hint}",
            path=path,
            line=1,
            column=missing[0],
        )
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise ImageListError("Expected each column once.", path=path, line=1, column=twice)
    known = {*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS}
    problems.extend(
        Problem(1, name, "an unknown column; ignored")
        for name in header
        if name not in known and not name.startswith(ATTRIBUTE_PREFIX)
    )


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
