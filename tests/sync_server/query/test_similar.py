"""More like a product, on a server: by all its images, without these, as its devices answer."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import csv
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.making.tiles import TileShop, tile

from pocketlens import Lens, SearchResult
from pocketlens.errors import NotFound, QueryError
from pocketlens.progress import Progress
from pocketlens_server.catalogue.pushing import push
from pocketlens_server.catalogue.targets import LocalTarget
from pocketlens_server.folders import ServerFolder
from pocketlens_server.query.queries import Queries

# Tile 1 shows both a and b.
SHOWN = {"a": (0, 1), "b": (1, 2, 3), "c": (4,), "d": (5, 6)}


class Shop(TileShop):
    """Products with several pictures, one of them shared."""

    def push(self, progress: Progress = lambda stage, done, total: None) -> None:
        with (self.folder / "list.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "product_id"])
            for product, numbers in SHOWN.items():
                for number in numbers:
                    (self.folder / f"{number}.png").write_bytes(tile(number))
                    writer.writerow([f"{number}.png", product])
        target = LocalTarget(self.catalogue, clock=lambda: self.now)
        push(target, self.folder / "list.csv", replace=True, lost_share=1, progress=progress)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = Shop(tmp_path_factory.mktemp("shop"), {}, now=datetime.now(UTC))
    made.publish()
    made.sync("device")
    return made


def similar(shop: Shop, *asked: dict[str, Any]) -> list[SearchResult]:
    async def run() -> list[SearchResult]:
        queries = Queries(ServerFolder(shop.folder / "server"))
        try:
            return [await queries.similar("main", **one) for one in asked]
        finally:
            await queries.close()

    return asyncio.run(run())


def shown(found: SearchResult) -> list[tuple[str, str]]:
    return [(match.product.id, match.image.id) for match in found.matches]


def test_a_server_answers_as_a_device(shop: Shop) -> None:
    there = similar(shop, *({"product": product} for product in SHOWN))
    with Lens.open(shop.folder / "device") as lens:
        here = [lens.similar(product) for product in SHOWN]

    for one, other in zip(there, here, strict=True):
        assert shown(one) == shown(other)
        assert [match.similarity for match in one.matches] == pytest.approx(
            [match.similarity for match in other.matches], abs=0.02
        )


@pytest.mark.parametrize("variety", [0.5, 1])
def test_variety_is_what_it_is_on_a_device(shop: Shop, variety: float) -> None:
    there = similar(shop, *({"product": each, "k": 2, "variety": variety} for each in SHOWN))
    with Lens.open(shop.folder / "device") as lens:
        here = [lens.similar(product, 2, variety=variety) for product in SHOWN]
        plain = [lens.similar(product, 2) for product in SHOWN]

    assert list(map(shown, there)) == list(map(shown, here))
    assert list(map(shown, there)) != list(map(shown, plain))


@pytest.mark.parametrize("variety", [2, -0.1, float("nan"), float("inf")])
def test_variety_that_cannot_be_is_told(shop: Shop, variety: float) -> None:
    with pytest.raises(QueryError, match="variety from 0 to 1"):
        similar(shop, {"product": "a", "variety": variety})


def test_no_image_of_the_product_is_an_answer(shop: Shop) -> None:
    of_a, of_b, of_image = similar(shop, {"product": "a"}, {"product": "b"}, {"image": "1.png"})

    assert {product for product, _ in shown(of_a)} == {"b", "c", "d"}
    assert ("b", "1.png") not in shown(of_a)  # it is a picture of a
    assert {product for product, _ in shown(of_b)} == {"a", "c", "d"}
    assert {product for product, _ in shown(of_image)} == {"c", "d"}


@pytest.mark.parametrize("asked", [{"product": "e"}, {"image": "9.png"}, {"image": "a"}], ids=str)
def test_what_is_not_there_is_not_found(asked: dict[str, str], shop: Shop) -> None:
    with pytest.raises(NotFound):
        similar(shop, asked)
