"""Stores of products that are words: titles, categories and attributes from a short list.

store = word_store(tmp_path, products=300)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pocketlens.indexing import index
from pocketlens.products import Product
from tests.making.embeddings import clustered
from tests.making.shops import bare_bundle, write_csv

WORDS = "red blue blush mug mugs cup café t-shirt shirt 42 öl tiny über grün Straße".split()
DIM = 16


def word_rows(products: int, seed: int = 0) -> list[dict[str, str]]:
    """Lines of a list; each product has two words in its title, and some elsewhere."""
    rng = np.random.default_rng(seed)
    return [
        {
            "image": f"{number}.jpg",
            "product_id": f"sku-{number}",
            "title": " ".join(rng.choice(WORDS, 2)),
            "category": str(rng.choice(WORDS[:6])) if number % 3 else "",
            "price": f"{number}.00",
            "currency": "EUR",
            "stock": str(number % 2),
            "attr.colour": str(rng.choice(WORDS[:3])) if number % 2 else "",
            "attr.waterproof": "yes" if number % 5 == 0 else "",
        }
        for number in range(products)
    ]


def word_store(folder: Path, rows: Sequence[dict[str, str]]) -> Path:
    """A store of lines of a list, a picture each."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "v.npy", clustered(np.random.default_rng(1), len(rows), DIM, clusters=20))
    (folder / "shop.tflite").write_bytes(bare_bundle(DIM))
    index(
        write_csv(folder / "list.csv", rows),
        vectors=folder / "v.npy",
        model=folder / "shop.tflite",
        out=folder / "store",
    )
    return folder / "store"


def tokens(text: str) -> list[str]:
    """What FTS5 makes of a text, as far as letters of Europe go."""
    bare = "".join(
        each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each)
    )
    return re.findall(r"[^\W_]+", bare.lower())


def columns_of(product: Product) -> tuple[list[str], ...]:
    """Tokens of the title, the category, and the attributes of a product."""
    attributes = " ".join(f"{name} {value}" for name, value in product.attributes.items())
    return tokens(product.title), tokens(product.category), tokens(attributes)
