"""Words beside a picture against the picture alone, and what words cost.

- colours: articles that come in several colours, photographed without colour: only the word for
  the colour, which is an attribute, tells which one is meant.
- groceries: photos of photo_val in grocery's catalogue among homeshop's pictures, with a word of
  the right product's title, and with one of another's. Beside our sum stands what ranks of picture
  and words come to that are joined by their reciprocals (Cormack, Clarke and Buettcher 2009, with
  60).
- cost: a store of 100,000 products with titles of the assortment: bytes of its words, and
  milliseconds of one core to make them, to read them, to take in that a hundredth of the products
  changed, and to search with them.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import process_time

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.making.colour_bundle import colour_bundle
from tests.making.embeddings import clustered, turned
from tests.making.shops import bare_bundle, write_csv

from pocketlens import Lens, index
from pocketlens.query.embedder import Embedder
from pocketlens.store.reader import Reader
from pocketlens.store.words import FILE_NAME, Words
from pocketlens.testing.assortment import assortment
from pocketlens.testing.photography import catalogue_picture

DATA = Path(os.environ.get("POCKETLENS_SHARED", "../shared")) / "data"
COLOURS = tuple("red orange yellow green teal blue violet pink".split())
ARTICLES, QUICK_ARTICLES, COLOURS_EACH = 64, 12, 5
PRODUCTS, QUICK_PRODUCTS = 100_000, 2_000
CHANGED = 0.01
DIM = 128
QUICK_PHOTOS = 30
RANKS_FROM = 60
LEAST_KEPT = 0.8  # of the photos that the picture answers rightly, with a word that misleads

Figures = dict[str, float]
Rows = list[dict[str, str]]


def measured(model: Path, *, quick: bool = False, seed: int = 12) -> Figures:
    """Figures; `model` is a bundle of grocery's products."""
    figures = _of_colours(QUICK_ARTICLES if quick else ARTICLES, np.random.default_rng(seed))
    figures |= _of_groceries(model, np.random.default_rng(seed), QUICK_PHOTOS if quick else None)
    figures |= _of_cost(QUICK_PRODUCTS if quick else PRODUCTS, np.random.default_rng(seed))
    return {f"words_{name}": round(value, 4) for name, value in figures.items()}


def goals_of(figures: Figures) -> list[dict[str, object]]:
    """That words settle what a picture leaves open, and overrule no picture that does not."""
    of = {name.removeprefix("words_"): value for name, value in figures.items()}
    alone = of["groceries_alone_recall_at_1"]
    kept = of["groceries_other_word_recall_at_1"] / alone if alone else 1.0  # none to lose
    goals = [
        ("colours_gain", of["colours_word_recall_at_1"] - of["colours_alone_recall_at_1"], 0.5),
        (
            "groceries_gain",
            of["groceries_word_recall_at_1"] - alone,
            0.1,
        ),
        ("groceries_kept_with_another_word", kept, LEAST_KEPT),
    ]
    return [
        {"name": f"words_{name}", "value": round(value, 4), "goal": goal, "met": value >= goal}
        for name, value, goal in goals
    ]


# --- colours --------------------------------------------------------------------------------------


def _of_colours(articles: int, rng: np.random.Generator) -> Figures:
    """Each article in some colours; a photo of each, in grey."""
    rows: Rows = []
    photos: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for article in assortment(1, range(articles)):
            for colour in rng.choice(COLOURS, COLOURS_EACH, replace=False):
                id_ = f"{article.product.id}-{colour}"
                (folder / f"{id_}.jpg").write_bytes(_grey(catalogue_picture(article, 0), rng))
                photos[id_] = _grey(catalogue_picture(article, 0), rng)
                rows.append(
                    {
                        "image": f"{id_}.jpg",
                        "product_id": id_,
                        "title": article.product.title,
                        "category": article.product.category,
                        "attr.colour": str(colour),
                    }
                )
        (folder / "model.tflite").write_bytes(colour_bundle())
        index(
            write_csv(folder / "list.csv", rows),
            model=folder / "model.tflite",
            out=folder / "store",
        )
        with Lens.open(folder / "store") as lens:
            alone, word = [], []
            for id_, photo in photos.items():
                alone.append(lens.search(photo, 1).matches[0].product.id == id_)
                found = lens.search(photo, 1, text=id_.rpartition("-")[2])
                word.append(found.matches[0].product.id == id_)
    return {
        "colours_products": len(rows),
        "colours_alone_recall_at_1": statistics.mean(alone),
        "colours_word_recall_at_1": statistics.mean(word),
    }


def _grey(picture: bytes, rng: np.random.Generator) -> bytes:
    """Without colour, a little brighter or darker, cropped and compressed anew."""
    with Image.open(io.BytesIO(picture)) as image:
        edge = int(rng.integers(0, 6))
        grey = ImageOps.expand(ImageOps.crop(image.convert("L"), edge), edge, 255)
        levels = np.clip(np.asarray(grey, np.float32) * rng.uniform(0.93, 1.07), 0, 255)
        file = io.BytesIO()
        Image.fromarray(levels.astype(np.uint8)).convert("RGB").save(
            file, "JPEG", quality=int(rng.integers(70, 95))
        )
    return file.getvalue()


# --- groceries ------------------------------------------------------------------------------------


def _of_groceries(model: Path, rng: np.random.Generator, most: int | None) -> Figures:
    """Real photos and titles; the right word, another one, and ranks joined instead."""
    photos = _lines(DATA / "grocery/photo_val.csv")
    if most is not None:
        photos = [photos[int(place)] for place in np.linspace(0, len(photos) - 1, most)]
    shown = [*_lines(DATA / "grocery/catalog.csv"), *_lines(DATA / "homeshop/catalog.csv")]
    titles = {row["product_id"]: row["title"] for row in shown if row.get("title")}
    rank: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        columns = ("image", "product_id", "title", "category")
        lines = [{name: row.get(name, "") for name in columns} for row in shown]
        index(write_csv(folder / "list.csv", lines), model=model, out=folder / "store")
        with (
            closing(Embedder.open(model, accelerator="cpu")) as embedder,
            Lens.open(folder / "store") as lens,
        ):
            for photo in photos:
                id_ = photo["product_id"]
                vector = embedder.embed(Path(photo["image"]))
                pictures = _ids(lens, vector, "")
                rank.setdefault("alone", []).append(pictures.index(id_))
                for name, word in (
                    ("word", str(rng.choice(titles[id_].split()))),
                    ("other_word", _other_word(titles, id_, rng)),
                ):
                    rank.setdefault(name, []).append(_ids(lens, vector, word).index(id_))
                    joined = _joined(pictures, lens, word)
                    rank.setdefault(f"{name}_by_ranks", []).append(joined.index(id_))
    figures: Figures = {"groceries_photos": len(photos), "groceries_products": len(shown)}
    for name, ranks in rank.items():
        for k in (1, 3, 10):
            share = statistics.mean(each < k for each in ranks)
            figures[f"groceries_{name}_recall_at_{k}"] = share
    return figures


def _ids(lens: Lens, vector: npt.NDArray[np.float32], text: str) -> list[str]:
    """All products, best first."""
    found = lens.search_vector(vector, 10_000, text=text)
    return [each.id for match in found.matches for each in (match.product, *match.alternatives)]


def _other_word(titles: dict[str, str], id_: str, rng: np.random.Generator) -> str:
    """A word of some other title that the right one lacks."""
    words = {word for title in titles.values() for word in title.split()}
    return str(rng.choice(sorted(words - set(titles[id_].split()))))


def _joined(pictures: list[str], lens: Lens, word: str) -> list[str]:
    """Products by the sum of the reciprocals of both ranks."""
    words = {
        match.product.id: rank
        for rank, match in enumerate(lens.search_text(word, 10_000).matches, 1)
    }
    scores = {
        id_: 1 / (RANKS_FROM + rank) + (1 / (RANKS_FROM + words[id_]) if id_ in words else 0)
        for rank, id_ in enumerate(pictures, 1)
    }
    return sorted(scores, key=lambda id_: -scores[id_])


def _lines(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row | {"image": str((path.parent / row["image"]).resolve())} for row in rows]


# --- cost -----------------------------------------------------------------------------------------


def _of_cost(products: int, rng: np.random.Generator) -> Figures:
    """Bytes and milliseconds at one size."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        vectors = clustered(rng, products, DIM, clusters=products // 50)
        np.save(folder / "vectors.npy", vectors)
        (folder / "model.tflite").write_bytes(bare_bundle(DIM))
        rows = list(_assorted(products))
        file = folder / "store" / "cache" / FILE_NAME
        _index(folder, rows)
        figures: Figures = {"products": products, "make_cpu_ms": _opened_ms(folder)}
        figures |= {"bytes_a_product": file.stat().st_size / products}
        figures |= {"read_cpu_ms": statistics.median(_opened_ms(folder) for _ in range(5))}
        questions = turned(rng, vectors[rng.choice(products, 40, replace=False)], 0.7)
        with Lens.open(folder / "store") as lens:
            for name, text in (
                ("no_words", ""),
                ("a_rare_word", rows[0]["attr.brand"]),
                ("a_colour", "blue"),
                ("three_words", f"blue {rows[0]['title']}"),
                ("a_word_of_all", "colour"),
            ):
                figures[f"search_with_{name}_cpu_ms"] = _median_ms(
                    lambda query, text=text: lens.search_vector(query, text=text), questions
                )
            figures["search_by_two_words_cpu_ms"] = _median_ms(
                lambda _: lens.search_text("blue mug"), questions
            )
        for row in rows[: int(products * CHANGED)]:
            row["title"] += " sale"
        _index(folder, rows)
        figures["take_a_hundredth_in_cpu_ms"] = _opened_ms(folder)
    return {f"cost_{name}": value for name, value in figures.items()}


def _assorted(products: int) -> Iterator[dict[str, str]]:
    for article in assortment(1, range(products)):
        product = article.product
        yield {
            "image": f"{article.number}.jpg",
            "product_id": f"{product.id}-{article.number}",
            "title": product.title,
            "category": product.category,
            **{f"attr.{name}": value for name, value in product.attributes.items()},
        }


def _index(folder: Path, rows: Rows) -> None:
    index(
        write_csv(folder / "list.csv", rows),
        vectors=folder / "vectors.npy",
        model=folder / "model.tflite",
        out=folder / "store",
    )


def _opened_ms(folder: Path) -> float:
    with Reader.open(folder / "store") as reader:
        began = process_time()
        with Words(reader):
            return (process_time() - began) * 1e3


def _median_ms(
    ask: Callable[[npt.NDArray[np.float32]], object], questions: npt.NDArray[np.float32]
) -> float:
    """The first ones, which read and evaluate, are not counted."""
    spent = []
    for query in questions:
        began = process_time()
        ask(query)
        spent.append((process_time() - began) * 1e3)
    return statistics.median(spent[5:])
