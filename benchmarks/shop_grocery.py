"""Grocery's pictures as a bundle embeds them, each once, and stores of any of them.

embedded = Embedded.by(model, quick=False)
store = embedded.store(folder, ["catalog", "homeshop"])
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import folds
import numpy as np
import numpy.typing as npt

from pocketlens import Embedder, index

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("POCKETLENS_SHARED", ROOT.parent / "shared")) / "data"
LISTS = {
    "catalog": "grocery/catalog.csv",
    "homeshop": "homeshop/catalog.csv",
    "photo_train": "grocery/photo_train.csv",
    "photo_val": "grocery/photo_val.csv",
}
QUICK_PRODUCTS = 12  # of those that photo_val shows

Rows = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Pictures:
    """A list, and float32 (n, dim) unit embeddings of its pictures."""

    rows: Rows
    vectors: npt.NDArray[np.float32]

    @property
    def products(self) -> npt.NDArray[np.str_]:
        return np.array([row["product_id"] for row in self.rows])

    @property
    def categories(self) -> npt.NDArray[np.str_]:
        return np.array([row["category"] for row in self.rows])

    def at_most(self, count: int) -> Pictures:
        """The first `count` pictures of each category, evenly over its products."""
        nth: dict[str, int] = {}
        order = []
        for place, row in enumerate(self.rows):
            nth[row["product_id"]] = nth.get(row["product_id"], -1) + 1
            order.append((nth[row["product_id"]], place))
        taken: dict[str, int] = {}
        kept = []
        for _, place in sorted(order):
            category = self.rows[place]["category"]
            taken[category] = taken.get(category, 0) + 1
            if taken[category] <= count:
                kept.append(place)
        return Pictures([self.rows[place] for place in kept], self.vectors[kept])


@dataclass(frozen=True, slots=True)
class Grocery:
    """All lists as one bundle sees them."""

    model: Path
    pictures: dict[str, Pictures]

    @classmethod
    def by(cls, model: Path, names: Sequence[str], *, quick: bool) -> Grocery:
        """Embeds lists; --quick has fewer products, and every tenth distractor."""
        with (DATA / LISTS["photo_val"]).open(newline="") as file:
            some = list(dict.fromkeys(row["product_id"] for row in csv.DictReader(file)))
        pictures = {}
        with Embedder.open(model) as embedder:
            for name in names:
                path = DATA / LISTS[name]
                with path.open(newline="") as file:
                    rows = list(csv.DictReader(file))
                if quick and name == "homeshop":
                    rows = rows[::10]
                elif quick:
                    rows = [row for row in rows if row["product_id"] in some[:QUICK_PRODUCTS]]
                vectors = embedder.embed_many(path.parent / row["image"] for row in rows)
                pictures[name] = Pictures(rows, vectors)
        return cls(model, pictures)

    def store(self, folder: Path, *pictures: Pictures) -> Path:
        """A store of pictures; the product ids of different lists are different."""
        folder.mkdir()
        rows = [
            {"image": f"{number}-{row['image']}"}
            | {name: row[name] for name in ("product_id", "category")}
            for number, each in enumerate(pictures)
            for row in each.rows
        ]
        folds.write(folder / "list.csv", rows)
        np.save(folder / "vectors.npy", np.concatenate([each.vectors for each in pictures]))
        index(
            folder / "list.csv",
            vectors=folder / "vectors.npy",
            model=self.model,
            out=folder / "store",
            rng=np.random.default_rng(0),
        )
        return folder / "store"
