"""How well the price of a one-of-a-kind item is told from similar items sold.

Catalogues of past sales are drawn: an item's look is eight numbers, its price follows its look and
its category, the day it was sold and a noise that is known; its vector says category and look, and
half as much that says nothing. Photos of other items of the same kind ask, today. The median of the
item's own category, which an estimate is not told, is what has to be beaten; nothing can do better
than 0.67 of the noise.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.making.shops import bare_bundle

from pocketlens.estimates.estimating import Appraiser, Estimate
from pocketlens.indexing import index
from pocketlens.open_install import OpenInstall, Settings
from pocketlens.options import PictureLimits, SearchOptions

DIM, LOOKS, CATEGORIES = 64, 8, 24
TODAY = date(2026, 11, 1)
SOLD_OVER_DAYS = 4 * 365
HEADER = "image product_id category price currency attr.colour attr.sold_at".split()
COLOURS = tuple("red orange yellow green teal blue violet pink".split())

Floats = npt.NDArray[np.float64]
Sold = tuple[npt.NDArray[np.int64], Floats, Floats, npt.NDArray[np.float32]]
"""Categories (n,), looks (n, LOOKS), logarithms of prices (n,), vectors (n, DIM)."""


@dataclass(frozen=True, slots=True)
class Market:
    """How prices come about.

    Attributes:
        items: Sold.
        noise: Standard deviation of the logarithm of a price that nothing explains.
        look: The same of what the look explains.
        yearly: By which logarithms grow in a year.
        dated: Share of items that say when they were sold.
        categories: Of the items.
    """

    items: int
    noise: float = 0.25
    look: float = 0.5
    yearly: float = 0.0
    dated: float = 1.0
    categories: int = CATEGORIES


MARKETS = {
    "plain": Market(20_000),
    "quiet": Market(20_000, noise=0.1),
    "noisy": Market(20_000, noise=0.5),
    "rising": Market(20_000, yearly=0.25),
    "undated": Market(20_000, dated=0.0),
    "half_dated": Market(20_000, yearly=0.1, dated=0.5),
}
SMALL = {
    "items_1000": Market(1_000),
    "items_100": Market(100, categories=4),
    "items_20": Market(20, categories=1),
}


def measured(*, quick: bool = False, seed: int = 12) -> dict[str, float]:
    """Figures of every market, by its name."""
    markets = dict(list(MARKETS.items())[:1]) if quick else MARKETS
    figures: dict[str, float] = {}
    for name, market in markets.items():
        figures |= _of_market(name, [market], 400 if quick else 1000, seed)
    for name, market in SMALL.items():
        repeats = 4 if quick else 20
        figures |= _of_market(name, [market] * repeats, 50, seed)
    return figures


def goals_of(figures: dict[str, float]) -> list[dict[str, object]]:
    """The goals that these figures are there to show."""
    goals: list[dict[str, object]] = []
    for name in MARKETS:
        if f"prices_{name}_interval_held_share" not in figures:
            continue
        held = figures[f"prices_{name}_interval_held_share"]
        error = figures[f"prices_{name}_median_absolute_log_error"]
        category = figures[f"prices_{name}_category_median_absolute_log_error"]
        goals.append(
            {
                "name": f"prices, {name}: the 80 % interval holds the truth",
                "value": held,
                "goal": "0.75 to 0.85",
                "met": 0.75 <= held <= 0.85,
            }
        )
        goals.append(
            {
                "name": f"prices, {name}: median absolute log error below the category median's",
                "value": error,
                "goal": f"< {category}",
                "met": error < category,
            }
        )
    return goals


def _of_market(name: str, markets: list[Market], photos: int, seed: int) -> dict[str, float]:
    errors, held, by_category, too_few = [], [], [], 0
    colours: list[bool] = []
    first_s, later_ms, width = [], [], []
    for number, market in enumerate(markets):
        rng = np.random.default_rng([seed, number, market.items])
        with (
            tempfile.TemporaryDirectory() as work,
            closing(_Sales(Path(work), market, rng)) as sales,
        ):
            appraiser = Appraiser(sales.install, today=lambda: TODAY)
            for photo in range(photos):
                category, look, truth, vector = sales.asked(rng)
                started = perf_counter()
                estimate = appraiser.estimate_vector(vector)
                spent = perf_counter() - started
                first_s.append(spent) if photo == 0 else later_ms.append(1e3 * spent)
                by_category.append(abs(sales.category_median(category) - truth))
                colours.append(_colour_of(estimate) == COLOURS[_colour(look)])
                price = estimate.price
                if price.band is None:
                    too_few += 1
                    continue
                band = (price.band.low, price.band.middle, price.band.high)
                low, middle, high = (np.log(each.minor_units) for each in band)
                errors.append(abs(middle - truth))
                held.append(low <= truth <= high)
                width.append(high - low)
    figures = {
        "median_absolute_log_error": float(np.median(errors)),
        "category_median_absolute_log_error": float(np.median(by_category)),
        "interval_held_share": float(np.mean(held)),
        "interval_median_log_width": float(np.median(width)),
        "too_few_share": too_few / (photos * len(markets)),
        "colour_suggested_right_share": float(np.mean(colours)),
        "first_estimate_s": float(np.median(first_s)),
        "estimate_p50_ms": float(np.median(later_ms)),
    }
    return {f"prices_{name}_{figure}": round(value, 4) for figure, value in figures.items()}


class _Sales:
    """A catalogue of past sales, open, and more items of its kind."""

    def __init__(self, work: Path, market: Market, rng: np.random.Generator) -> None:
        self._market = market
        self._centres = rng.standard_normal((market.categories, DIM)) / np.sqrt(DIM)
        self._looks = rng.standard_normal((market.categories, LOOKS, DIM)) / np.sqrt(DIM)
        self._levels = rng.normal(8.5, 0.8, market.categories)
        self._tastes = rng.standard_normal((market.categories, LOOKS))
        self._tastes /= np.linalg.norm(self._tastes, axis=1, keepdims=True)
        ages = rng.integers(0, SOLD_OVER_DAYS, market.items).astype(np.float64)
        dated = rng.random(market.items) < market.dated
        self._of, looks, self._logs, vectors = self._drawn(market.items, rng, ages)
        days = [TODAY - timedelta(days=int(age)) for age in ages]
        with (work / "sales.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(HEADER)
            for number, (category, log) in enumerate(zip(self._of, self._logs, strict=True)):
                price, colour = f"{np.exp(log) / 100:.2f}", COLOURS[_colour(looks[number])]
                sold = days[number].isoformat() if dated[number] else ""
                names = f"{number}.jpg", f"p{number}", f"category {category}"
                rows.writerow([*names, price, "EUR", colour, sold])
        np.save(work / "vectors.npy", vectors)
        (work / "b.tflite").write_bytes(bare_bundle(DIM))
        lists = {"model": work / "b.tflite", "vectors": work / "vectors.npy"}
        index(work / "sales.csv", **lists, out=work / "store")
        settings = Settings(SearchOptions(), "cpu", PictureLimits())
        self.install = OpenInstall.opened(work / "store", settings)

    def _drawn(self, count: int, rng: np.random.Generator, ages: Floats) -> Sold:
        """Items sold so many days ago."""
        market = self._market
        of = rng.integers(market.categories, size=count)
        looks = rng.standard_normal((count, LOOKS))
        logs = self._levels[of] + market.look * (looks * self._tastes[of]).sum(axis=1)
        logs += rng.normal(0, market.noise, count) - market.yearly * ages / 365
        vectors = 1.5 * self._centres[of] + 0.35 * np.einsum("nl,nld->nd", looks, self._looks[of])
        vectors += 0.5 * rng.standard_normal((count, DIM)) / np.sqrt(DIM)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return of, looks, logs, vectors.astype(np.float32)

    def asked(self, rng: np.random.Generator) -> tuple[int, Floats, float, npt.NDArray[np.float32]]:
        of, looks, logs, vectors = self._drawn(1, rng, np.zeros(1))
        return int(of[0]), looks[0], float(logs[0]), vectors[0]

    def category_median(self, category: int) -> float:
        mine = self._logs[self._of == category]
        return float(np.median(mine if len(mine) else self._logs))

    def close(self) -> None:
        self.install.close()


def _colour(look: Floats) -> int:
    """A colour that three signs of the look decide."""
    return int(4 * (look[0] > 0) + 2 * (look[1] > 0) + (look[2] > 0))


def _colour_of(estimate: Estimate) -> str:
    return next((each.value for each in estimate.suggestions if each.name == "colour"), "")
