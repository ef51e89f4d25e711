"""Folds of a list of photos, held out a stretch at a time.

Photos of a product are listed in the order they were taken: neighbours are of one shop on one day,
nearly alike. A fold is therefore a stretch of each product's photos, not a random choice of them.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

FOLDS = 5


@dataclass(frozen=True)
class Fold:
    """Lists of what is learned from and of what is held out."""

    learned: Path
    held_out: Path


def split(photos: Path, folder: Path, fold: int, *, without: frozenset[str] = frozenset()) -> Fold:
    """Writes the lists of fold number `fold` to `folder`.

    Args:
        photos: CSV with the columns image and product_id.
        folder: Where the lists go.
        fold: 0 to 4.
        without: Products that are in neither.
    """
    with photos.open(newline="") as file:
        rows = list(csv.DictReader(file))
    of_product: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        absolute = {**row, "image": str((photos.parent / row["image"]).resolve())}
        of_product.setdefault(row["product_id"], []).append(absolute)
    learned, held_out = [], []
    for product, taken in of_product.items():
        if product in without:
            continue
        first, end = fold * len(taken) // FOLDS, (fold + 1) * len(taken) // FOLDS
        held_out += taken[first:end]
        learned += taken[:first] + taken[end:]
    made = Fold(folder / f"learned_{fold}.csv", folder / f"held_out_{fold}.csv")
    for path, chosen in ((made.learned, learned), (made.held_out, held_out)):
        write(path, chosen)
    return made


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """Writes rows under the header of the first."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
