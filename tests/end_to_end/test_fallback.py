"""A device that asks the real server: embeddings, photos, other versions, tokens."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.making.serving import Address, serving
from tests.making.tiles import TileShop, tile

from pocketlens import Fallback, FallbackOutcome, Lens
from pocketlens_server.callers import Scope
from pocketlens_server.catalogue.pushing import push
from pocketlens_server.catalogue.targets import LocalTarget
from pocketlens_server.folders import ServerFolder
from pocketlens_server.publishing.releasing import publish
from pocketlens_server.tokens import Tokens

TILES = range(8)
KINDS = "even", "odd"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TileShop:
    folder = tmp_path_factory.mktemp("fallback") / "shop"
    made = TileShop(folder, dict.fromkeys(TILES, 1), now=datetime.now(UTC))
    made.publish()
    made.sync("device")
    return made


@pytest.fixture(scope="module")
def address(shop: TileShop) -> Iterator[Address]:
    with serving(shop.folder / "server", asks_tokens=True) as found:
        yield found


def token(shop: TileShop, scope: Scope, *, is_expired: bool = False) -> str:
    now = datetime.now(UTC)
    made = now - timedelta(days=2) if is_expired else now
    with Tokens(ServerFolder(shop.folder / "server")) as tokens:
        return tokens.make([scope], now=made, expires_at=made + timedelta(days=1))[0]


def always(address: Address, token: str, **given: object) -> Fallback:
    return Fallback(address.grpc, when="always", deadline=60, token=token, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("send", ["embedding", "photo"])
def test_the_server_answers_as_the_device_does(shop: TileShop, address: Address, send: str) -> None:
    allowed = always(address, token(shop, Scope.QUERY), send=send, photo_consent=True)
    with Lens.open(shop.folder / "device") as lens:
        for number in TILES:
            here = lens.search(tile(number), 3)
            there = lens.search(tile(number), 3, fallback=allowed)

            assert there.answered_by == "embedding"  # there is no float model
            assert there.matches[0].product == here.matches[0].product
            assert there.matches[0].image == here.matches[0].image
            assert (there.version, there.generation) == (here.version, here.generation)
            assert there.fallback is not None
            assert there.fallback.unknown == there.fallback.gone == ()


def test_the_server_searches_the_likely_categories_as_the_device_does(tmp_path: Path) -> None:
    shop = TileShop(tmp_path / "shop", dict.fromkeys(TILES, 1), now=datetime.now(UTC))
    shop.push()
    rows = [f"{number}.png,sku-{number},{KINDS[number % 2]}" for number in TILES]
    (shop.folder / "kinds.csv").write_text("\n".join(["image,product_id,category", *rows]))
    push(LocalTarget(shop.catalogue, clock=lambda: shop.now), shop.folder / "kinds.csv")
    publish(shop.catalogue, now=shop.now, rng=np.random.default_rng(0))
    shop.sync("device")

    with serving(shop.folder / "server") as address, Lens.open(shop.folder / "device") as lens:
        here = lens.search(tile(3), category="auto")
        there = lens.search(tile(3), category="auto", fallback=always(address, ""))

    assert there.answered_by == "embedding"
    assert [each.category for each in there.categories] == ["odd", "even"]
    assert there.searched == here.searched
    assert there.matches[0].product == here.matches[0].product


@pytest.mark.parametrize("kind", ["none", "expired", "of devices"])
def test_a_token_that_opens_nothing_is_told(shop: TileShop, address: Address, kind: str) -> None:
    shown = {
        "none": lambda: "",
        "expired": lambda: token(shop, Scope.QUERY, is_expired=True),
        "of devices": lambda: token(shop, Scope.DEVICE),
    }[kind]()
    with Lens.open(shop.folder / "device") as lens:
        found = lens.search(tile(1), fallback=always(address, shown))

    assert found.answered_by == "device"
    assert found.fallback is not None
    assert found.fallback.outcome is FallbackOutcome.REFUSED


def test_a_generation_that_the_server_does_not_have_is_told(
    shop: TileShop, address: Address, tmp_path: Path
) -> None:
    other = TileShop(tmp_path / "other", {0: 1, 1: 1, 30: 1}, now=datetime.now(UTC))
    other.publish()
    other.sync("device")
    with Lens.open(other.folder / "device") as lens:
        allowed = always(address, token(shop, Scope.QUERY))
        found = lens.search(tile(1), fallback=allowed)

    assert found.answered_by == "device"
    assert found.fallback is not None
    assert found.fallback.outcome is FallbackOutcome.REFUSED
    assert "generation" in found.fallback.reason


def test_a_device_that_is_behind_learns_what_is_new(shop: TileShop, address: Address) -> None:
    allowed = always(address, token(shop, Scope.QUERY))
    with Lens.open(shop.folder / "device") as lens:
        lens.search(tile(1), fallback=allowed)  # the server has the catalogue open
        shop.stock[20] = 1
        shop.publish()
        until = time.monotonic() + 30
        found = lens.search(tile(20), 3, fallback=allowed)
        while found.version == 1 and time.monotonic() < until:  # it follows in a second or two
            found = lens.search(tile(20), 3, fallback=allowed)

    assert found.matches[0].product.id == "sku-20"
    assert found.fallback is not None
    assert found.fallback.unknown == ("sku-20",)
    assert (found.version, found.fallback.version) == (2, 1)
