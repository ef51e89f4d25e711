"""The image lists of a shop on two days, for a server to publish one after the other.

    python examples/two_days.py [--out runs/two_days] [--products 1000]

Draws the catalogue of a sample shop and writes `monday.csv` and `tuesday.csv`: on Tuesday one price
in a hundred is another, five products have gone, and five are new.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from pocketlens.testing import ShopSize, make_sample_shop

SEED = 7  # as the demo's, so that its model and its photos fit
MOVED = 5  # products that go, and that come
REPRICED = 100  # one product of so many


def main() -> None:
    """Draws the shop and writes both lists."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/two_days"), help="folder to draw in")
    parser.add_argument("--products", type=int, default=1000, help="of each day")
    arguments = parser.parse_args()
    if arguments.products < MOVED:
        parser.error(f"--products: {MOVED} or more")
    size = ShopSize(arguments.products + MOVED, 0, 0, 0, 0, 0, 0, 0)
    with Progress(console=Console(stderr=True)) as bar:
        drawing = bar.add_task("drawing", total=None)

        def told(name: str, done: int, total: int) -> None:
            if total:  # the other lists are empty
                bar.update(drawing, completed=done, total=total)

        shop = make_sample_shop(arguments.out, seed=SEED, size=size, progress=told)
    with shop.catalog.open(newline="") as file:
        rows = list(csv.DictReader(file))
    products = list(dict.fromkeys(row["product_id"] for row in rows))
    monday, tuesday = set(products[:-MOVED]), set(products[MOVED:])
    repriced = set(products[MOVED:-MOVED:REPRICED])
    write(arguments.out / "monday.csv", [row for row in rows if row["product_id"] in monday])
    write(
        arguments.out / "tuesday.csv",
        [
            row | {"price": f"{float(row['price']) * 0.9:.2f}"}
            if row["product_id"] in repriced
            else row
            for row in rows
            if row["product_id"] in tuesday
        ],
    )


def write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Writes one list and says so."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{path}: {len(rows)} pictures of {len({row['product_id'] for row in rows})} products")


if __name__ == "__main__":
    main()
