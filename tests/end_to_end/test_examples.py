"""The examples run as a reader would run them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle

from pocketlens import image_lists, index

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    lines = ["image,product_id,title,price,currency,stock"]
    rng = np.random.default_rng(2)
    for number in range(6):
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,sku-{number},Thing {number},{10 * number}.00,EUR,{number % 3}")
    (folder / "list.csv").write_text("\n".join(lines))
    (folder / "shop.tflite").write_bytes(colour_bundle())
    index(folder / "list.csv", model=folder / "shop.tflite", out=folder / "store")
    return folder


def run(example: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / example), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_search_a_photo_prints_the_verdict_and_the_matches(shop: Path) -> None:
    lines = run("search_a_photo.py", str(shop / "store"), str(shop / "4.png"))

    assert lines[0].split()[0] in {"MATCH", "UNSURE", "NO_MATCH"}
    assert lines[1].split()[1:] == ["sku-4", "Thing", "4", "40.00", "EUR"]
    assert len(lines) == 6


def test_filter_results_prints_what_a_shopper_can_buy(shop: Path) -> None:
    lines = run("filter_results.py", str(shop / "store"), str(shop / "4.png"), "40")

    assert lines[0] == "3 of 6 products are affordable"
    assert {line.split()[1] for line in lines[1:]} == {"sku-1", "sku-2", "sku-4"}


def test_two_days_differ_by_some_prices_and_ten_products(tmp_path: Path) -> None:
    lines = run("two_days.py", "--out", str(tmp_path), "--products", "12")

    days = [image_lists.read(tmp_path / f"{day}.csv") for day in ("monday", "tuesday")]
    monday, tuesday = (each.products for each in days)
    assert [line.rpartition(" of ")[2] for line in lines] == ["12 products"] * 2
    assert len(monday.keys() - tuesday.keys()) == len(tuesday.keys() - monday.keys()) == 5
    assert [id_ for id_ in monday.keys() & tuesday.keys() if monday[id_] != tuesday[id_]] == [
        "books-005"
    ]
    assert not any(each.problems for each in days)
