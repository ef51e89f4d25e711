"""What differs between two versions, and that a phone pays what it says."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest
from tests.making.tiles import TileShop

from pocketlens.errors import InvalidOperation
from pocketlens.query import clustering
from pocketlens.sync.planner import Action
from pocketlens_server.publishing.comparing import Comparison, compare, status


@pytest.fixture
def shop(tmp_path: Path) -> TileShop:
    """At version 3: 8 products, then one price of stock, then one product more and one less."""
    made = TileShop(tmp_path / "shop", dict.fromkeys(range(8), 1), now=datetime.now(UTC))
    made.publish()
    made.stock[3] = 7
    made.publish()
    del made.stock[5]
    made.stock[20] = 1
    made.publish()
    return made


def found(shop: TileShop, base: int, head: int, listed: int = 100) -> Comparison:
    return compare(shop.catalogue, base, head, listed=listed)


def test_items_are_told_by_their_ids(shop: TileShop) -> None:
    between = found(shop, 1, 3)

    assert list(between.products.added_ids) == ["sku-20"]
    assert list(between.products.deleted_ids) == ["sku-5"]
    assert (between.products.changed, between.offers_changed) == (0, 1)
    assert list(between.images.added_ids) == ["20.png"]
    assert list(between.images.deleted_ids) == ["5.png"]


def growing(folder: Path) -> Iterator[TileShop]:
    """A shop after each of its versions: prices, more images, another codebook, another model."""
    shop = TileShop(folder, dict.fromkeys(range(24), 1), now=datetime.now(UTC))
    shop.publish()
    yield shop
    shop.stock[3] = 7
    shop.publish()
    yield shop
    shop.stock |= dict.fromkeys(range(24, 26), 1)
    shop.publish()
    yield shop
    shop.stock |= dict.fromkeys(range(26, 56), 1)  # which outgrow the codebook
    shop.publish()
    yield shop
    del shop.stock[5]
    shop.publish()
    yield shop
    shop.add_model("second")
    shop.publish()
    yield shop


def test_what_a_phone_pays_is_what_it_fetches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clustering, "SINGLE_LIST_IMAGES", 20)
    ways = set()
    for head, shop in enumerate(growing(tmp_path / "shop"), start=1):
        for base in range(head):
            store = f"at-{base}"
            if base:
                shutil.copytree(shop.folder / f"was-{base}", shop.folder / store)
            compared = found(shop, base, head)
            report = shop.sync(store)

            assert (report.version, compared.is_estimated) == (head, False)
            assert compared.delta_bytes == report.fetched_bytes, (base, head)
            ways.add((report.action, base))
            shutil.rmtree(shop.folder / store)
        shop.sync(f"was-{head}")
        assert found(shop, head, head).delta_bytes == 0
        assert head < 3 or found(shop, 1, 2).delta_bytes == 0  # nobody comes there any more
    assert {(Action.DELTA, 3), (Action.INSTALL, 5)} <= ways


@pytest.mark.parametrize("head", [5, 6], ids=["another codebook", "another model"])
def test_what_a_phone_would_pay_is_nearly_what_it_will(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: int
) -> None:
    """With the codebook or the model, for a phone that has an older one."""
    monkeypatch.setattr(clustering, "SINGLE_LIST_IMAGES", 20)
    *_, shop = islice(growing(tmp_path / "shop"), head)
    for number in (7, 8, 9):
        shop.stock[number] = 5
    shop.stock[100] = 1
    shop.push()
    estimated = {base: found(shop, base, 0).delta_bytes for base in range(1, head + 1)}

    shop.publish()

    for base, about in estimated.items():
        paid = found(shop, base, head + 1).delta_bytes
        assert abs(about - paid) <= 0.1 * paid, base


def test_what_waits_is_estimated_near_what_it_comes_to(shop: TileShop) -> None:
    shop.stock |= {30: 2, 31: 2, 6: 9}
    shop.push()

    waits = found(shop, 0, 0)
    assert (waits.base, waits.head, waits.is_estimated) == (3, 0, True)
    assert list(waits.products.added_ids) == ["sku-30", "sku-31"]
    assert waits.offers_changed == 1
    assert (status(shop.catalogue).waiting_offers, status(shop.catalogue).version) == (3, 3)

    shop.publish()

    paid = found(shop, 3, 4).delta_bytes
    assert abs(waits.delta_bytes - paid) <= 0.1 * paid


def test_lists_are_cut_and_counts_are_not(shop: TileShop) -> None:
    everything = found(shop, 0, 3, listed=2)

    assert everything.products.added == 8
    assert list(everything.products.added_ids) == ["sku-0", "sku-1"]


@pytest.mark.parametrize(("base", "head"), [(1, 4), (4, 0), (3, 1), (99, 99)])
def test_versions_that_are_not_there_are_refused(shop: TileShop, base: int, head: int) -> None:
    with pytest.raises(InvalidOperation):
        found(shop, base, head)
