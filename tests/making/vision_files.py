"""A shop's bulk-import CSV of Vision Product Search with its pictures, as if downloaded.

    path = vision_csv(folder, products=12, rng=rng)      # folder/products.csv, folder/pictures/...

Values derive from numbers, so that a test knows them: product 3 is `sku-003`, its category
`apparel-v2`, its labels `colour=colour-3`, `style=a` and `style=b`.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tests.making.pictures import drawn, encoded

BUCKET = "example-shop"
SIZE = (96, 64)


def written(path: Path, rows: Iterable[Iterable[str]]) -> Path:
    """A CSV of rows, quoted where it must be."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def row(
    uri: str = f"gs://{BUCKET}/a.jpg",
    image_id: str = "",
    product_set: str = "shop",
    product_id: str = "p",
    category: str = "apparel-v2",
    name: str = "",
    labels: str = "",
    polygon: str = "",
) -> list[str]:
    """The eight cells of a line."""
    return [uri, image_id, product_set, product_id, category, name, labels, polygon]


def vision_csv(folder: Path, *, products: int, rng: np.random.Generator) -> Path:
    """Two pictures a product, a part of the second; every fourth is in two product sets.

    Pictures lie in `pictures/<bucket>/<product>/<number>.jpg`, so that names repeat. Only the first
    line of a product says what it is.
    """
    rows = []
    for number in range(products):
        product = f"sku-{number:03}"
        place = folder / "pictures" / BUCKET / product
        place.mkdir(parents=True)
        for picture in (1, 2):
            seed = int(rng.integers(1 << 32))
            (place / f"{picture}.jpg").write_bytes(encoded(drawn(*SIZE, seed=seed), quality=90))
        uri = f"gs://{BUCKET}/{product}/"
        said = {"name": f"Product {number}", "labels": f"colour=colour-{number},style=a,style=b"}
        first = row(f"{uri}1.jpg", f"{product}-1", product_id=product, **said)
        rows.append(first)
        polygon = "0.25,0.25,0.75,0.25,0.75,0.75,0.25,0.75" if number % 2 else "24,16,72,48"
        rows.append(row(f"{uri}2.jpg", product_id=product, polygon=polygon))
        if number % 4 == 0:
            rows.append(row(f"{uri}1.jpg", f"{product}-1", "sale", product_id=product))
    return written(folder / "products.csv", rows)
