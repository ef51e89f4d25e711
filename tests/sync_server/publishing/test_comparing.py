"""What differs between two versions, and that a phone pays what it says."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.making.tiles import TileShop

from pocketlens.errors import InvalidOperation
from pocketlens.formats.manifest import decode
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


def test_what_a_phone_pays_is_the_delta_that_is_published(shop: TileShop) -> None:
    with shop.catalogue.reading() as tables:
        manifest = decode(next(iter(tables.vectors.manifests().values())))

    for base in (1, 2):
        delta = manifest.delta_from(base)
        assert delta is not None
        assert found(shop, base, 3).delta_bytes == delta.blob.size
        assert not found(shop, base, 3).is_estimated
    assert found(shop, 1, 2).delta_bytes == 0  # nobody can be brought there any more
    assert found(shop, 3, 3) == found(shop, 3, 3, listed=0)


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
