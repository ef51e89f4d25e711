"""A whole sample shop in a folder: generated pictures and the image lists that name them.

    shop = make_sample_shop(Path("shop"), seed=7)
    pocketlens.index(shop.catalog, model=..., out=...)

Six image lists come out, each a CSV (docs/formats.md, "Image lists"):

- `catalog.csv`: every product of the shop with its facts and one or two clean pictures;
- `train.csv`: photos of those products, and photos and pictures of past products that the shop no
  longer has, so that a model learns to tell things apart rather than to know these by heart;
- `held_out.csv`: photos to calibrate with, `queries.csv`: photos to test with, of the catalogue;
- `elsewhere.csv`: photos to calibrate with, of products that were never in the catalogue nor in
  training; `absent.csv`: photos to test with, of others like these.

Photos of one list are in no other. A list appears when all of its pictures have been written.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocketlens.durable_files import write_file
from pocketlens.progress import Progress
from pocketlens.testing.assortment import Article, assortment
from pocketlens.testing.photography import catalogue_picture, photo

_LISTS = ("catalog", "train", "held_out", "queries", "absent", "elsewhere")
_FACTS = (
    "title category price currency stock url image_url attr.brand attr.colour attr.size".split()
)
_PAST_FROM = 10_000  # numbers of articles of no shop start here: brands of their own
_ABSENT_FROM = 20_000
_ELSEWHERE_FROM = 30_000


@dataclass(frozen=True, slots=True)
class ShopSize:
    """How much is drawn.

    Attributes:
        products: In the catalogue; four of five have a second picture.
        past_products: In training only.
        absent_products: In `absent.csv` only.
        elsewhere_products: In `elsewhere.csv` only.
        train_photos, held_out_photos, query_photos: Of each product of the shop in that list; an
            absent product has `query_photos` too, one of elsewhere `held_out_photos`.
        past_photos: Of each past product.
    """

    products: int = 64
    past_products: int = 32
    absent_products: int = 16
    elsewhere_products: int = 40
    train_photos: int = 16
    held_out_photos: int = 4
    query_photos: int = 4
    past_photos: int = 16


@dataclass(frozen=True, slots=True)
class SampleShop:
    """Where the image lists of a sample shop are."""

    folder: Path
    catalog: Path
    train: Path
    held_out: Path
    queries: Path
    absent: Path
    elsewhere: Path

    @classmethod
    def at(cls, folder: Path) -> SampleShop:
        """The places in `folder`, whether or not the shop has been drawn."""
        return cls(folder, *(folder / f"{name}.csv" for name in _LISTS))


@dataclass(frozen=True, slots=True)
class _Picture:
    """A line of a list, and how its picture is drawn."""

    name: str
    article: Article
    draw: Callable[[], bytes]
    in_catalogue: bool


def make_sample_shop(
    folder: Path, *, seed: int, size: ShopSize = ShopSize(), progress: Progress | None = None
) -> SampleShop:
    """Draws a shop into `folder`; the same seed and size draw the same pictures.

    An error leaves pictures but no list that names a missing one; calling again begins anew.
    About 13 ms a picture on one core.
    """
    for name in _LISTS:
        (folder / f"{name}.csv").unlink(missing_ok=True)
    for name, pictures in zip(_LISTS, _plans(seed, size), strict=True):
        _write_list(folder, name, pictures, progress)
    return SampleShop.at(folder)


def _plans(seed: int, size: ShopSize) -> tuple[list[_Picture], ...]:
    """The pictures of every list, in the order of `_LISTS`."""
    shop = assortment(seed, range(size.products))
    past = assortment(seed, range(_PAST_FROM, _PAST_FROM + size.past_products))
    absent = assortment(seed, range(_ABSENT_FROM, _ABSENT_FROM + size.absent_products))
    elsewhere = assortment(seed, range(_ELSEWHERE_FROM, _ELSEWHERE_FROM + size.elsewhere_products))
    return (
        list(_clean_pictures("catalog", shop, in_catalogue=True)),
        [
            *_photos("train", shop, size.train_photos, seed),
            *_photos("train", past, size.past_photos, seed),
            *_clean_pictures("train", past, in_catalogue=False),
        ],
        list(_photos("held_out", shop, size.held_out_photos, seed)),
        list(_photos("queries", shop, size.query_photos, seed)),
        list(_photos("absent", absent, size.query_photos, seed)),
        list(_photos("elsewhere", elsewhere, size.held_out_photos, seed)),
    )


def _clean_pictures(
    name: str, articles: Iterable[Article], *, in_catalogue: bool
) -> Iterator[_Picture]:
    for article in articles:
        for view in range(1 + (article.number % 5 != 4)):
            yield _Picture(
                f"{name}/{article.product.id}/clean-{view}.jpg",
                article,
                lambda article=article, view=view: catalogue_picture(article, view),  # type: ignore[misc]
                in_catalogue,
            )


def _photos(name: str, articles: Iterable[Article], each: int, seed: int) -> Iterator[_Picture]:
    stream = _LISTS.index(name) + 10  # apart from the streams that draw articles
    for article in articles:
        for number in range(each):
            key = [seed, stream, article.number, number]
            yield _Picture(
                f"{name}/{article.product.id}/{number:03}.jpg",
                article,
                lambda article=article, key=key: photo(article, np.random.default_rng(key)),  # type: ignore[misc]
                False,
            )


def _write_list(
    folder: Path, name: str, pictures: list[_Picture], progress: Progress | None
) -> None:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    in_catalogue = any(picture.in_catalogue for picture in pictures)
    rows.writerow(["image", "product_id", *(_FACTS if in_catalogue else ())])
    folder.mkdir(parents=True, exist_ok=True)
    for done, picture in enumerate(pictures):
        if progress is not None:
            progress(name, done, len(pictures))
        path = folder / picture.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.draw())
        facts = _facts(picture) if in_catalogue else ()
        rows.writerow([picture.name, picture.article.product.id, *facts])
    write_file(folder / f"{name}.csv", text.getvalue().encode())
    if progress is not None:
        progress(name, len(pictures), len(pictures))


def _facts(picture: _Picture) -> list[str]:
    product = picture.article.product
    price = product.price
    return [
        product.title,
        product.category,
        "" if price is None else str(price.amount),
        "" if price is None else price.currency,
        str(product.stock),
        product.url,
        f"https://shop.example/{picture.name}",
        *(product.attributes[name] for name in ("brand", "colour", "size")),
    ]
