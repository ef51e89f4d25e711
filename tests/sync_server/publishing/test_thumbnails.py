"""A server draws thumbnails of the pictures it keeps, and publishes them with a version."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.models import drawing
from tests.making.pictures import exif, with_exif
from tests.making.restored import copied
from tests.making.tiles import TileShop, tile

from pocketlens import Lens
from pocketlens.errors import ServerError
from pocketlens.formats.manifest import decode, encode
from pocketlens.query.thumbnails import thumbnail
from pocketlens.store import installs
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.session import sync
from pocketlens.sync.transports import FolderTransport
from pocketlens_protos.v1.manifest_pb2 import Manifest
from pocketlens_server import settings
from pocketlens_server.catalogue.pictures import keep
from pocketlens_server.catalogue.thumbnails import draw_missing
from pocketlens_server.folders import MAIN, CatalogueFolder, ServerFolder
from pocketlens_server.maintenance.backup import backup
from pocketlens_server.maintenance.fsck import examine
from pocketlens_server.maintenance.restoring import restore
from pocketlens_server.publishing import holdings, releasing
from pocketlens_server.publishing.thumbnails import waiting_pictures


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> TileShop:
    made = TileShop(tmp_path_factory.mktemp("tiles") / "shop", dict.fromkeys(range(3), 1))
    switch(made.catalogue, on=True)
    made.publish()
    return made


@pytest.fixture
def shop(template: TileShop, tmp_path: Path) -> TileShop:
    return copied(template, tmp_path / "shop")


def switch(folder: CatalogueFolder, *, on: bool) -> None:
    text = f"[pictures]\nthumbnails = {'true' if on else 'false'}\n"
    (folder.folder / settings.FILE_NAME).write_text(text)


def follow(shop: TileShop, public: Path | None = None, store: str = "device") -> SyncReport:
    public = public or shop.public
    return sync(
        shop.folder / store,
        FolderTransport(public),
        catalogue=MAIN,
        root=(public / "metadata" / "1.root.json").read_bytes(),
        now=shop.now,
        device=store,
        with_thumbnails=True,
    )


def shown(shop: TileShop, number: int, store: str = "device") -> np.ndarray | None:
    with Lens.open(shop.folder / store) as lens:
        data = lens.thumbnail(f"{number}.png")
    if data is None:
        return None
    assert len(data) <= 3072
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("WEBP", (96, 96))
    return np.asarray(image).astype(int)


def is_tile(number: int, found: np.ndarray | None) -> bool:
    assert found is not None
    wanted = np.asarray(Image.open(io.BytesIO(tile(number))).convert("RGB")).astype(int)
    return bool(np.abs(found - wanted).mean() < 16)


def test_devices_show_what_was_pushed(shop: TileShop) -> None:
    report = follow(shop)

    assert report.thumbnails.packs == 1
    assert all(is_tile(number, shown(shop, number)) for number in range(3))
    assert not is_tile(0, shown(shop, 1))
    assert not shop.catalogue.thumbnails.exists()  # what is in packs need not wait any more
    shop.stock[7] = 1
    shop.publish()
    assert follow(shop).thumbnails.packs == 1
    assert is_tile(7, shown(shop, 7))


def test_without_the_setting_none_are_drawn(tmp_path: Path) -> None:
    shop = TileShop(tmp_path / "shop", {0: 1})
    shop.publish()

    (manifest,) = releasing.newest(shop.catalogue)
    assert manifest.thumbnails is None
    assert follow(shop).thumbnails.packs == 0

    switch(shop.catalogue, on=True)
    shop.stock[0] = 2
    shop.publish()
    follow(shop)
    assert is_tile(0, shown(shop, 0))

    switch(shop.catalogue, on=False)
    shop.stock[0] = 3
    shop.publish()
    follow(shop)
    assert shown(shop, 0) is None


def test_what_is_drawn_waits_for_the_version_that_is_made(shop: TileShop) -> None:
    shop.stock[8] = 1
    shop.push()
    (picture,) = _waiting(shop)
    assert draw_missing(shop.catalogue, [picture]) == 1
    path = shop.catalogue.thumbnail(picture)
    before = path.stat().st_mtime_ns

    assert draw_missing(shop.catalogue, [picture]) == 0  # cut off, the same call goes on

    assert path.stat().st_mtime_ns == before
    shop.publish()
    follow(shop)
    assert is_tile(8, shown(shop, 8))


def _waiting(shop: TileShop) -> list[bytes]:
    with shop.catalogue.reading() as tables:
        opened = releasing._catalogue(shop.catalogue, tables)
        return waiting_pictures(opened)


def test_a_picture_is_drawn_as_the_sdk_draws_it(shop: TileShop, tmp_path: Path) -> None:
    file = io.BytesIO()
    wide = Image.fromarray(drawing(5)).resize((400, 200))
    wide.save(file, "JPEG", quality=95)
    upright = with_exif(file.getvalue(), exif(6))

    picture = keep(shop.catalogue, upright)

    assert draw_missing(shop.catalogue, [picture]) == 1

    drawn = Image.open(shop.catalogue.thumbnail(picture))
    alone = Image.open(io.BytesIO(thumbnail(upright)))
    assert drawn.size == alone.size == (64, 128)
    assert np.abs(np.asarray(drawn).astype(int) - np.asarray(alone)).mean() < 4


def test_a_picture_that_cannot_be_read_is_passed_over(shop: TileShop) -> None:
    picture = keep(shop.catalogue, b"\x89PNG\r\n\x1a\n and no more")

    assert draw_missing(shop.catalogue, [picture, bytes(32)]) == 0


def test_packs_that_are_named_stay_and_others_go(shop: TileShop) -> None:
    (first,) = releasing.newest(shop.catalogue)
    assert first.thumbnails is not None
    for number in range(20, 22):
        shop.stock[number] = 1
        shop.publish()
    shop.now += timedelta(days=3)
    shop.stock[0] = 9
    shop.publish()
    shop.now += timedelta(days=3)
    releasing.collect(shop.catalogue, now=shop.now)
    releasing.collect(shop.catalogue, now=shop.now + timedelta(days=3))

    blobs = shop.public / "blobs"
    assert not (blobs / first.thumbnails.sha256.hex()).exists()  # that list is no more
    (manifest,) = releasing.newest(shop.catalogue)
    assert manifest.thumbnails is not None
    packs = holdings.read_packs(blobs, manifest.thumbnails)
    assert packs is not None
    assert len(packs.packs) == 3
    assert all((blobs / each.sha256.hex()).exists() for each in packs.packs)
    shop.publish()  # signs again what has expired meanwhile
    follow(shop)
    assert all(is_tile(number, shown(shop, number)) for number in (0, 1, 2, 20, 21))


def test_a_missing_pack_is_found_and_a_backup_has_all_of_them(
    shop: TileShop, tmp_path: Path
) -> None:
    server = ServerFolder(shop.folder / "server")
    backup(server, tmp_path / "saved", now=shop.now)
    assert [each for each in examine(server, now=shop.now) if each.is_damage] == []
    (manifest,) = releasing.newest(shop.catalogue)
    assert manifest.thumbnails is not None
    packs = holdings.read_packs(shop.public / "blobs", manifest.thumbnails)
    assert packs is not None
    (shop.public / "blobs" / packs.packs[0].sha256.hex()).unlink()

    (found,) = [each for each in examine(server, now=shop.now) if each.is_damage]

    assert packs.packs[0].sha256.hex()[:12] in found.text
    restore(tmp_path / "saved", tmp_path / "back", now=shop.now)
    follow(shop, tmp_path / "back/public/main", store="of the restored")
    assert is_tile(1, shown(shop, 1, "of the restored"))


def test_an_exported_store_has_them_and_what_follows_fetches_none_of_them(
    shop: TileShop, tmp_path: Path
) -> None:
    releasing.export(shop.catalogue, tmp_path / "app", now=shop.now, with_thumbnails=True)
    installs.copy(tmp_path / "app", shop.folder / "device")

    report = follow(shop)

    assert report.thumbnails.fetched_bytes == 0
    assert is_tile(1, shown(shop, 1))


def test_a_setting_that_is_no_yes_or_no_is_refused(shop: TileShop) -> None:
    (shop.catalogue.folder / settings.FILE_NAME).write_text('[pictures]\nthumbnails = "yes"\n')

    with pytest.raises(ServerError, match="thumbnails"):
        settings.read(shop.catalogue.folder)


def test_a_device_of_before_passes_over_the_list(shop: TileShop) -> None:
    """The field is unknown to it: nothing else of the manifest has moved."""
    (manifest,) = releasing.newest(shop.catalogue)
    message = Manifest.FromString(encode(manifest))
    assert message.HasField("thumbnails")
    message.ClearField("thumbnails")
    former = decode(message.SerializeToString())
    assert former.thumbnails is None
    assert former.deltas == manifest.deltas
    assert former.snapshot == manifest.snapshot


def test_a_pack_that_rotted_is_made_anew_with_the_next_picture(shop: TileShop) -> None:
    (manifest,) = releasing.newest(shop.catalogue)
    assert manifest.thumbnails is not None
    packs = holdings.read_packs(shop.public / "blobs", manifest.thumbnails)
    assert packs is not None
    (shop.public / "blobs" / packs.packs[0].sha256.hex()).write_bytes(b"rot")
    shop.stock[9] = 1
    shop.push()
    assert len(_waiting(shop)) == 4

    shop.publish()

    follow(shop)
    assert all(is_tile(number, shown(shop, number)) for number in (0, 1, 2, 9))
