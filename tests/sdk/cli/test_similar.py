"""`pocketlens similar`: what it prints of products that look like one, and of one it lacks."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.making.shops import make_shop

from pocketlens import index
from pocketlens.cli import main


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    shop = make_shop(folder, products=30, images_each=2)
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=folder / "store")
    return folder / "store"


def test_people_see_a_table_of_other_products(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["similar", str(store), "sku-4", "-k", "3"]) == 0

    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["#", "product", "price", "similarity", "image"]
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == ["1", "2", "3"]
    assert "(sku-4)" not in "".join(lines)


def test_programs_get_what_a_search_gives(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["similar", str(store), "sku-4", "-k", "3", "--json", "--variety", "0.5"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["product"] == "sku-4"
    assert [match["rank"] for match in found["matches"]] == [1, 2, 3]
    assert (found["verdict"], found["confidence"]) == ("unsure", None)


def test_an_image_may_be_named_instead(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["similar", str(store), "pictures/00004-1.jpg", "--image", "--json"]

    assert main(command) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["image"] == "pictures/00004-1.jpg"
    assert "sku-4" not in [match["product"]["id"] for match in found["matches"]]


def test_options_narrow_it_down(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--category", "category 2", "--in-stock", "--currency", "USD", "-k", "50", "--json"]

    assert main(["similar", str(store), "sku-4", *options]) == 0

    found = json.loads(capsys.readouterr().out)
    shown = {match["product"]["id"] for match in found["matches"]}
    expected = {n for n in range(30) if n % 7 == 2 and n % 5 and n % 13 and n % 2 and n % 11}
    assert shown == {f"sku-{n}" for n in expected}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["sku-99"], 1, "There is no product 'sku-99'"),
        (["sku-4", "--image"], 1, "There is no image 'sku-4'"),
        (["sku-4", "--variety", "2"], 1, "variety from 0 to 1"),
        (["sku-4", "-k", "0"], 1, "k of 1 or more"),
        (["sku-4", "--max-price", "cheap"], 2, "a price such as"),
        ([], 2, "PRODUCT"),
    ],
    ids=["product", "image", "variety", "k", "price", "nothing"],
)
def test_what_cannot_be_is_told(
    arguments: list[str], code: int, says: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = main(["similar", str(store), *arguments])

    printed = capsys.readouterr()
    assert (found, printed.out) == (code, "")
    assert says in printed.err


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "no other product"),
        (["--category", "hats"], "no other product satisfies the filter"),
    ],
)
def test_nothing_similar_is_said(
    options: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = make_shop(tmp_path, products=1)
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=tmp_path / "store")

    assert main(["similar", str(tmp_path / "store"), "sku-0", *options]) == 0
    assert capsys.readouterr().out == f"{line}\n"
