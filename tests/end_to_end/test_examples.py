"""The examples run as a reader would run them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle
from tests.making.serving import serving
from tests.making.shop_servers import ShopServer

from pocketlens import Lens, image_lists, index, install
from pocketlens.products import Price
from pocketlens_server.cli import main as pocketlens_server

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


def run(example: str, *arguments: str, status: int = 0) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / example), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
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


def test_push_changes_applies_each_change_once_and_publishes(tmp_path: Path) -> None:
    shop = ShopServer(tmp_path / "shop", products=8)
    drawn = run("push_changes.py", "--draw", str(tmp_path / "changes"))
    with serving(shop.data) as address:
        first, second = (run("push_changes.py", *drawn, "--server", address.grpc) for _ in range(2))
        install(tmp_path / "store", server=address.grpc, root=shop.root)

    assert first[0] == "7 applied, 1 repeated, 11 waiting, 1 skipped"
    assert first[1].endswith(" is done: 11 pictures embedded, 0 known")
    assert first[2:] == second[2:] == ["version 2 has all that was applied"]
    assert second[0] == "20 repeated"
    with Lens.open(tmp_path / "store") as lens:
        novel = tmp_path / "changes" / "catalog" / "books-005" / "clean-0.jpg"
        found = lens.search(novel, k=1).matches[0].product
        assert (lens.facts.version, lens.facts.products) == (2, 14)
        assert (found.id, found.price) == ("books-005", Price(420, "EUR"))


def test_push_changes_says_what_was_refused_and_what_died(tmp_path: Path) -> None:
    shop = ShopServer(tmp_path / "shop", products=1)
    (tmp_path / "torn.jpg").write_bytes(b"no picture")
    torn = {"change": "put image", "product": "sku-0", "image": "torn", "file": "torn.jpg"}
    changes = [torn, {"change": "patch product", "product": "lost", "stock": 3}]
    lines = [json.dumps({"id": f"c-{n}", "revision": n, **each}) for n, each in enumerate(changes)]
    (tmp_path / "changes.jsonl").write_text("\n".join(lines))

    with serving(shop.data) as address:
        arguments = [str(tmp_path / "changes.jsonl"), "--server", address.grpc]
        said = run("push_changes.py", *arguments, status=1)

    assert "c-1: There is no product 'lost'. Put it first. Then send it again." in said
    assert any(line.startswith("torn is a dead letter: ") for line in said)
    assert said[-1] == "version 1 has all that was applied"


def test_what_the_page_for_backends_shows_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "ingest.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    shop = ShopServer(tmp_path / "shop", products=1)
    token = ["--scope", "backend", "--out", str(tmp_path / "backend.token")]
    assert pocketlens_server(["tokens", "make", *token, "--data", str(shop.data)]) == 0
    Image.new("RGB", (64, 64), "blue").save(tmp_path / "mug.jpg")

    with serving(shop.data, asks_tokens=True) as address:
        program = found[1].replace("shop.example:8443", address.grpc)
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        install(
            tmp_path / "store",
            server=f"http://127.0.0.1:{address.http_port}/main",
            root=shop.root,
        )

    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    with Lens.open(tmp_path / "store") as lens:
        mug = lens.search(tmp_path / "mug.jpg", k=1).matches[0].product
        assert (mug.id, mug.price, mug.stock) == ("mug", Price(1250, "EUR"), 2)
