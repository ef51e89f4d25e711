"""The device answers at once; a server refines it where the app allows, and can spoil nothing."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image as Pillow
from tests.making import pictures as making
from tests.making.bad_servers import BAD_SERVERS, dead
from tests.making.serving import Address, serving
from tests.making.tiles import TileShop, tile

from pocketlens import Fallback, Lens, SearchResult, Verdict
from pocketlens.cli import main as pocketlens
from pocketlens.errors import QueryError
from pocketlens.fallback.ledger import Ledger
from pocketlens.fallback.merging import merged
from pocketlens.fallback.small_copies import small_copy
from pocketlens.options import PictureLimits
from pocketlens.products import Image, Product
from pocketlens.results import Match

TILES = range(10)
ALWAYS = Fallback("127.0.0.1:1", when="always", deadline_seconds=20)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TileShop:
    made = TileShop(tmp_path_factory.mktemp("shop"), dict.fromkeys(TILES, 1), now=datetime.now(UTC))
    made.publish()
    return made


@pytest.fixture(scope="module")
def address(shop: TileShop) -> Iterator[Address]:
    with serving(shop.folder / "server") as found:
        yield found


@pytest.fixture
def store(shop: TileShop, tmp_path: Path) -> Path:
    shop.sync(str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def lens(store: Path) -> Iterator[Lens]:
    with Lens.open(store) as opened:
        yield opened


def photo_of(number: int) -> bytes:
    file = io.BytesIO()
    with Pillow.open(io.BytesIO(tile(number))) as picture:
        picture.convert("RGB").resize((300, 240)).save(file, "JPEG", quality=85)
    return file.getvalue()


def steps(lens: Lens, fallback: Fallback, photo: object = None) -> list[SearchResult]:
    return list(lens.search_in_steps(photo or photo_of(3), 3, fallback=fallback))  # type: ignore[arg-type]


def left(store: Path) -> list[tuple[str, str]]:
    totals = Ledger(store / "ledger.sqlite").totals()
    return [] if totals is None else [(each.kind, each.outcome) for each in totals.newest]


def ids(found: SearchResult) -> list[str]:
    return [match.product.id for match in found.matches]


def test_the_device_answers_and_then_the_server(lens: Lens, store: Path, address: Address) -> None:
    device, refined = steps(lens, replace(ALWAYS, address=address.grpc))

    assert (device.answered_by, device.refinement) == ("device", None)
    assert refined.answered_by == "embedding"
    assert ids(refined)[0] == ids(device)[0] == "sku-3"
    assert (refined.generation, refined.version) == (device.generation, device.version)
    told = refined.refinement
    assert told is not None
    assert (told.outcome, told.reason, told.sent) == ("answered", "", "embedding")
    assert 192 < told.sent_bytes < 1000
    assert left(store) == [("embedding", "answered")]


def test_a_photo_leaves_only_as_a_small_copy_with_consent(
    lens: Lens, store: Path, address: Address
) -> None:
    with pytest.raises(QueryError, match="photo_consent"):
        replace(ALWAYS, send="photo")

    fallback = replace(ALWAYS, address=address.grpc, send="photo", photo_consent=True)
    _, refined = steps(lens, fallback)

    assert ids(refined)[0] == "sku-3"
    assert refined.accelerator == "cpu"
    assert refined.refinement is not None
    assert refined.refinement.sent == "photo"
    assert left(store) == [("photo", "answered")]


@pytest.mark.parametrize("box", [None, (20, 10, 260, 200), (0, 0, 9, 9)])
def test_a_small_copy_is_upright_small_and_says_nothing(
    box: tuple[int, int, int, int] | None, lens: Lens
) -> None:
    large = making.encoded(making.drawn(2000, 1500), quality=90)
    said = making.with_exif(large, making.exif(6))

    data = small_copy(said, lens.bundle.spec, limits=PictureLimits(), box=box)

    with Pillow.open(io.BytesIO(data)) as copy:
        assert max(copy.size) <= 2 * lens.bundle.spec.width
        assert min(copy.size) >= 8
        assert not copy.getexif()
        assert b"Exif" not in data
        if box is None:
            assert copy.size[1] > copy.size[0]  # it was turned


def test_nothing_is_asked_without_a_fallback_or_where_the_device_is_sure(
    lens: Lens, store: Path
) -> None:
    assert lens.search(photo_of(3)).refinement is None
    sure = Fallback("127.0.0.1:1", when=lambda found: found.verdict is not Verdict.MATCH)
    for fallback in (sure, Fallback("127.0.0.1:1")):
        found = lens.search(tile(3), fallback=fallback)
        assert found.verdict is Verdict.MATCH
        assert found.refinement is not None
        assert found.refinement.outcome == "not wanted"
    assert left(store) == []
    assert not (store / "ledger.sqlite").exists()


def test_an_app_says_itself_when_to_ask(lens: Lens, address: Address) -> None:
    asked = []
    fallback = replace(ALWAYS, address=address.grpc, when=lambda found: asked.append(found) or True)

    found = lens.search(photo_of(4), 3, fallback=fallback)

    assert [each.answered_by for each in asked] == ["device"]
    assert found.answered_by == "embedding"


@pytest.mark.parametrize("kind", BAD_SERVERS)
def test_a_bad_server_spoils_nothing(lens: Lens, store: Path, kind: str) -> None:
    with BAD_SERVERS[kind]() as where:
        device, refined = steps(lens, replace(ALWAYS, address=where, deadline_seconds=0.4))

    told = refined.refinement
    assert told is not None
    assert told.outcome == "failed"
    assert told.reason
    assert told.elapsed_ms < 5000
    assert replace(refined, refinement=None) == device
    assert left(store) == [("embedding", "failed")]


def test_a_dead_server_does_not_cost_every_search_its_deadline(lens: Lens, store: Path) -> None:
    with dead() as where:
        fallback = replace(ALWAYS, address=where, deadline_seconds=0.3)
        told = [lens.search(photo_of(3), fallback=fallback).refinement for _ in range(6)]

    outcomes = [each.outcome for each in told if each is not None]
    assert outcomes == ["failed"] * 3 + ["held back"] * 3
    assert len(left(store)) == 3


def test_a_metered_network_carries_embeddings_and_no_photos(
    lens: Lens, store: Path, address: Address
) -> None:
    metered = replace(ALWAYS, address=address.grpc, is_metered=True)
    photo = making.encoded(making.drawn(900, 700), quality=95)

    found = lens.search(photo_of(3), fallback=metered)
    photos = replace(metered, send="photo", photo_consent=True, metered_bytes=300)
    refused = lens.search(photo, fallback=photos)

    assert found.answered_by == "embedding"
    assert refused.refinement is not None
    assert refused.refinement.outcome == "held back"
    assert "metered" in refused.refinement.reason
    assert left(store) == [("embedding", "answered")]


def test_no_more_leaves_in_a_day_than_may(lens: Lens, address: Address, store: Path) -> None:
    fallback = replace(ALWAYS, address=address.grpc, daily_bytes=700)

    found = [lens.search(photo_of(3), fallback=fallback).refinement for _ in range(4)]

    outcomes = [each.outcome for each in found if each is not None]
    assert outcomes[0] == "answered"
    assert outcomes[-1] == "held back"
    assert len(left(store)) == outcomes.count("answered")


def test_a_ledger_that_cannot_be_written_lets_nothing_leave(
    lens: Lens, address: Address, tmp_path: Path
) -> None:
    fallback = replace(ALWAYS, address=address.grpc, ledger=tmp_path / "nowhere" / "ledger")

    found = lens.search(photo_of(3), fallback=fallback)

    assert found.answered_by == "device"
    assert found.refinement is not None
    assert (found.refinement.outcome, found.refinement.sent) == ("failed", "")
    assert "ledger" in found.refinement.reason


def test_filters_travel(lens: Lens, address: Address) -> None:
    from pocketlens import Filter

    fallback = replace(ALWAYS, address=address.grpc)

    found = lens.search(photo_of(3), filter=Filter(category="of nothing"), fallback=fallback)

    assert found.answered_by == "embedding"
    assert (found.matches, found.matches_in_filter) == ((), 0)


def result(version: int, *products: Product, answered_by: str = "device") -> SearchResult:
    matches = tuple(Match(each, Image(f"i-{each.id}"), 0.9) for each in products)
    return SearchResult(
        Verdict.MATCH, 0.9, matches[0], matches, 0.5, 0.1, 9, 9, "00" * 32, version,
        datetime(2026, 11, 26, tzinfo=UTC), answered_by=answered_by,  # type: ignore[arg-type]
    )  # fmt: skip


def test_answers_of_other_versions_are_merged_by_product() -> None:
    old, new = Product("mug", title="Old mug"), Product("mug", title="New mug")
    gone = Product("gone")
    server, device = result(4, old, gone, answered_by="photo"), result(5, new)

    found = merged(server, device, {"mug": new})

    assert [match.product for match in found.matches] == [new]
    assert (found.answered_by, found.version) == ("photo", 4)
    assert merged(result(6, new, gone), device, {"mug": old}).matches[0].product == new
    assert merged(result(4, gone), device, {}) == device


def test_the_device_says_that_the_server_has_another_version(
    shop: TileShop, tmp_path: Path
) -> None:
    other = TileShop(tmp_path / "other", dict.fromkeys(TILES, 1), now=datetime.now(UTC))
    other.publish()
    other.sync("device")
    other.stock[3] = 7
    other.publish()
    with serving(other.folder / "server") as where, Lens.open(other.folder / "device") as lens:
        found = lens.search(photo_of(3), 1, fallback=replace(ALWAYS, address=where.grpc))

    assert found.matches[0].product.stock == 7
    assert found.refinement is not None
    assert "of version 2, the device has 1" in found.refinement.reason


def test_the_command_asks_says_so_and_info_lists_it(
    store: Path, address: Address, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo_of(3))
    asked = ["--fallback", address.grpc, "--fallback-when", "always", "--fallback-deadline", "20"]

    assert pocketlens(["search", str(store), str(tmp_path / "photo.jpg"), *asked]) == 0
    assert "the server answered (embedding)" in capsys.readouterr().out
    assert pocketlens(["search", str(store), str(tmp_path / "photo.jpg"), *asked, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["answered_by"], told["refinement"]["outcome"]) == ("embedding", "answered")

    assert pocketlens(["info", str(store)]) == 0
    assert "2 embeddings (" in capsys.readouterr().out
    assert pocketlens(["info", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left"]["counts"] == {"embedding": 2}


def test_a_sync_leaves_the_ledger_alone(
    shop: TileShop, store: Path, lens: Lens, address: Address
) -> None:
    lens.search(photo_of(3), fallback=replace(ALWAYS, address=address.grpc))

    shop.sync(str(store))

    assert left(store) == [("embedding", "answered")]
