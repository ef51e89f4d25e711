"""`pocketlens estimate`: what it prints of prices and attributes, and where it has none."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle, fields

from pocketlens import Lens, index
from pocketlens.cli import main
from pocketlens.cli.estimate import headline
from pocketlens.estimates.prices import PriceBand, PriceEstimate, Sale
from pocketlens.estimates.weighting import Weighting
from pocketlens.products import Price, Product

BAND = PriceBand(*(Price(cents, "EUR") for cents in (950, 1200, 1500)))


def sale(age_days: int | None) -> Sale:
    return Sale(Product("p", price=Price(1200, "EUR")), 0.8, age_days, 0.5)


@pytest.mark.parametrize(
    ("price", "line"),
    [
        (
            PriceEstimate("EUR", BAND, (sale(10), sale(30)), Weighting()),
            "About 12.00 EUR, four of five from 9.50 to 15.00; by 2 items, "
            "sold 20 days ago at the median",
        ),
        (
            PriceEstimate("EUR", BAND, (sale(None), sale(None)), Weighting()),
            "About 12.00 EUR, four of five from 9.50 to 15.00; by 2 items",
        ),
        (
            PriceEstimate("EUR", None, (sale(10),), Weighting()),
            "Too few to say: 1 item like it with a price in EUR",
        ),
        (
            PriceEstimate("", None, (), Weighting()),
            "No price: nothing like it in category c has one",
        ),
    ],
    ids="dated undated too-few none".split(),
)
def test_headline_says_the_price(price: PriceEstimate, line: str) -> None:
    assert headline(price, "c") == line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve chairs sold in euros, two in yen, a boat without a price, and a photo of a chair."""
    made = tmp_path_factory.mktemp("sold")
    rng = np.random.default_rng(8)
    chair = fields(rng, side=64).astype(int)
    lines = ["image,product_id,title,category,price,currency,attr.wood,attr.sold_at"]
    for number in range(15):
        pixels = np.clip(chair + rng.integers(-40, 40, chair.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(made / f"{number}.png")
        offer = f"{10 + number}.00,EUR" if number < 12 else "1500,JPY" if number < 14 else ","
        kind = "chairs" if number < 14 else "boats"
        lines.append(
            f"{number}.png,p{number},Item {number},{kind},{offer},oak,2026-01-0{number % 9 + 1}"
        )
    (made / "list.csv").write_text("\n".join(lines))
    (made / "shop.tflite").write_bytes(colour_bundle())
    index(made / "list.csv", model=made / "shop.tflite", out=made / "store")
    return made


def run(folder: Path, *options: str, photo: str = "0.png") -> int:
    return main(["estimate", str(folder / "store"), str(folder / photo), *options])


def test_it_prints_price_items_and_suggestions(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder) == 0

    first, header, *rows, last = capsys.readouterr().out.splitlines()
    assert first.startswith("About ")
    assert " EUR, four of five from " in first
    assert "by 12 items, sold " in first
    assert header.split() == ["item", "price", "sold", "similarity", "weight"]
    assert all(row.startswith("Item ") and " EUR " in row for row in rows)
    assert len(rows) == 10
    assert "category chairs (" in last
    assert "wood oak (100%)" in last


def test_json_has_every_documented_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--json") == 0

    said = json.loads(capsys.readouterr().out)
    assert said["currency"] == "EUR"
    low, middle, high = (float(said["band"][name]) for name in ("low", "middle", "high"))
    assert 5 < low <= middle <= high < 40
    assert len(said["items"]) == 12
    assert said["items"][0].keys() == {"id", "title", "price", "similarity", "age_days", "weight"}
    assert sum(each["weight"] for each in said["items"]) == pytest.approx(1)
    assert said["median_age_days"] > 0
    assert said["fitted_on"] == 12
    assert said["temperature"] > 0
    assert said["half_life_days"] is None or said["half_life_days"] > 0
    assert {"name": "wood", "value": "oak", "share": 1.0, "votes": 15} in [
        {**each, "share": round(each["share"], 6)} for each in said["suggestions"]
    ]
    with Lens.open(folder / "store") as lens:
        facts = lens.facts
    assert (said["generation"], said["version"]) == (facts.generation, facts.version)
    assert datetime.fromisoformat(said["as_of"]) == facts.as_of


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--currency", "JPY"], "Too few to say: 2 items like it with a price in JPY"),
        (["--currency", "USD"], "Too few to say: 0 items like it with a price in USD"),
        (["--category", "boats"], "No price: nothing like it in category boats has one"),
        (["--category", "cars"], "No price: nothing like it in category cars has one"),
    ],
    ids="few none unpriced unknown".split(),
)
def test_where_there_is_no_price_it_says_why(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], line: str
) -> None:
    assert run(folder, *options) == 0

    assert capsys.readouterr().out.splitlines()[0] == line


def test_without_a_category_none_is_named() -> None:
    price = PriceEstimate("", None, (), Weighting())

    assert headline(price, None) == "No price: nothing like it has one"


def test_what_cannot_be_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--currency", "euro") == 1
    assert "Expected a currency" in capsys.readouterr().err
    assert run(folder, photo="list.csv") == 1
    assert main(["estimate", str(folder), str(folder / "0.png")]) == 1
