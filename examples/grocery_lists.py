"""Image lists of the public GroceryStoreDataset, written into a clone of it.

    git clone https://github.com/marcusklasson/GroceryStoreDataset
    python examples/grocery_lists.py GroceryStoreDataset/dataset

`catalog.csv` has its 81 products with a clean picture each, `photo_train.csv`, `photo_val.csv` and
`photo_test.csv` the photos that were taken in shops.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

HEADER = ("image", "product_id", "title", "category")


def main(arguments: list[str]) -> None:
    """Writes the four lists into the folder `dataset` of a clone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="folder `dataset` of a clone")
    folder = parser.parse_args(arguments).dataset
    if not (folder / "classes.csv").is_file():
        parser.error(f"{folder} has no classes.csv: name the folder `dataset` of a clone")
    with (folder / "classes.csv").open(newline="") as file:
        classes = list(csv.DictReader(file))
    products = {
        each["Class ID (int)"]: (
            each["Class Name (str)"],
            each["Class Name (str)"].replace("-", " "),
            each["Coarse Class Name (str)"],
        )
        for each in classes
    }
    iconic = {each["Class ID (int)"]: each["Iconic Image Path (str)"] for each in classes}
    write(folder / "catalog.csv", [(iconic[n].lstrip("/"), *products[n]) for n in products])
    for name in ("train", "val", "test"):
        lines = (folder / f"{name}.txt").read_text().splitlines()
        photos = [[part.strip() for part in line.split(",")] for line in lines if line.strip()]
        write(folder / f"photo_{name}.csv", [(path, *products[n]) for path, n, _ in photos])


def write(path: Path, rows: list[tuple[str, ...]]) -> None:
    """Writes one list and says so."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    print(f"{path}: {len(rows)} pictures")


if __name__ == "__main__":
    main(sys.argv[1:])
