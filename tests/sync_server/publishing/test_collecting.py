"""What nothing names goes, at no more work than it is, and not because a clock says so once."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.making.tiles import BEGAN, TileShop

from pocketlens.errors import ServerError
from pocketlens.products import Image, Product
from pocketlens_server.catalogue.operations import PutImage, PutProduct, apply
from pocketlens_server.catalogue.pictures import keep
from pocketlens_server.folders import MAIN, CatalogueFolder, ServerFolder, Tables
from pocketlens_server.publishing import collecting, releasing
from pocketlens_server.publishing.collecting import Collected, Unshown
from pocketlens_server.storage.waiting_images import WaitingImage

DAY = timedelta(days=1)


@pytest.fixture
def folder(tmp_path: Path) -> CatalogueFolder:
    """Of a catalogue without versions, in which nothing was collected yet."""
    server = ServerFolder.create(tmp_path / "server", offline_keys=tmp_path / "keys", now=BEGAN)
    return server.catalogue(MAIN)


def kept(folder: CatalogueFolder, name: str, at: datetime) -> bytes:
    picture = keep(folder, f"the picture {name}".encode())
    os.utime(folder.picture(picture), (at.timestamp(),) * 2)
    return picture


def collected(folder: CatalogueFolder, now: datetime) -> Collected:
    return releasing.collect(folder, now=now)


# --- at what cost ---------------------------------------------------------------------------------


def steps_among(others: int, folder: CatalogueFolder) -> int:
    """What SQLite does to forget 20 pictures of so many more, in tens of its steps."""
    names = [hashlib.sha256(b"%d" % number).digest() for number in range(20 + others)]
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    with closing(sqlite3.connect(folder.database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        tables = Tables.of(connection)
        for number in (1, 2):
            rows = dict.fromkeys(names, np.ones(2, np.float32))
            tables.vectors.put_embeddings(number, rows)
            tables.vectors.put_codes(number, dict.fromkeys(names, b"\1\1"))
        connection.set_progress_handler(step, 10)
        gone = Unshown(set(names[:20]), (), head=0)
        assert collecting.collect(folder, tables, gone, hours=24, now=BEGAN).pictures == 20
        connection.set_progress_handler(None, 0)
        assert tables.vectors.pictures() == set(names[20:])
        assert tables.vectors.codes(2, names).keys() == set(names[20:])
        connection.rollback()
    return steps


def test_a_collection_takes_no_longer_among_more_pictures(folder: CatalogueFolder) -> None:
    few = steps_among(10, folder)

    assert few > 10
    assert steps_among(4000, folder) <= 1.1 * few


def test_a_picture_that_comes_to_be_needed_while_images_are_looked_at_stays(
    folder: CatalogueFolder,
) -> None:
    names = ("shown by one that was published", "shown", "waiting", "kept again", "gone")
    pictures = {name: kept(folder, name, BEGAN - 9 * DAY) for name in names}
    collected(folder, BEGAN)
    with folder.reading() as before:
        found = collecting.unshown(folder, before, now=BEGAN + DAY, all_images=True)
        assert found is not None
        assert found.pictures == set(pictures.values())
        with folder.changing() as tables:  # nobody waits for those who look
            apply(tables.history, PutProduct(Product("mug")))
            image = PutImage(Image("mug-1"), pictures["shown by one that was published"], ["mug"])
            apply(tables.history, image)
            tables.history.publish(BEGAN)
            apply(tables.history, PutImage(Image("mug-1"), pictures["shown"], ["mug"]))
            waiting = WaitingImage(Image("mug-2"), pictures["waiting"], 1, [1])
            tables.waiting.put(waiting)
    kept(folder, "kept again", BEGAN)

    with folder.changing() as tables:
        assert collecting.collect(folder, tables, found, hours=24, now=BEGAN).pictures == 1

    there = [name for name, picture in pictures.items() if folder.picture(picture).exists()]
    assert there == [*names[:-1]]


# --- by which clock -------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> TileShop:
    """With files of its first version that its third does not name, as was just noted."""
    made = TileShop(tmp_path / "shop", dict.fromkeys(range(4), 1))
    for pieces in (1, 2, 3):
        made.stock[3] = pieces
        made.publish()
    made.publish()
    return made


def public_files(shop: TileShop) -> set[Path]:
    return {path for path in shop.public.rglob("*") if path.is_file()}


@pytest.mark.parametrize("hours", [25, 24 * 7, 24 * 100])
def test_a_clock_that_jumps_ahead_removes_nothing_that_devices_were_promised(
    shop: TileShop, hours: int
) -> None:
    before = public_files(shop)
    half = shop.catalogue.folder / "pictures" / ".coming.tmp"
    half.write_bytes(b"ha")
    os.utime(half, (shop.now.timestamp(),) * 2)
    picture = shop.catalogue.picture(kept(shop.catalogue, "about to be named", shop.now))

    ahead = collected(shop.catalogue, shop.now + timedelta(hours=hours))
    right = collected(shop.catalogue, shop.now + timedelta(minutes=5))

    assert [ahead, right] == [Collected(0, 0)] * 2
    assert public_files(shop) == before
    assert half.exists()
    assert picture.exists()


def test_what_a_clock_noted_while_it_was_ahead_goes_a_day_after_it_is_right(
    shop: TileShop,
) -> None:
    right = shop.now
    shop.now += 30 * DAY
    shop.stock[3] = 9
    shop.publish()
    shop.publish()
    shop.now = right
    collected(shop.catalogue, right)

    collected(shop.catalogue, right + timedelta(hours=25))
    gone = collected(shop.catalogue, right + timedelta(hours=26))

    assert gone.files > 0
    assert shop.sync("new").version == 4


def test_a_server_that_was_off_for_a_week_collects_with_its_second_publish(shop: TileShop) -> None:
    before = public_files(shop)
    shop.now += 7 * DAY
    shop.publish()
    assert before <= public_files(shop)

    shop.publish()

    assert not before <= public_files(shop)
    assert shop.sync("new").version == 3


def test_pictures_are_looked_for_once_a_day_by_a_clock_that_was_ahead_too(
    folder: CatalogueFolder,
) -> None:
    def is_due(now: datetime) -> bool:
        with folder.reading() as tables:
            return collecting.unshown(folder, tables, now=now) is not None

    assert is_due(BEGAN)
    collected(folder, BEGAN)
    assert not is_due(BEGAN + timedelta(hours=23))
    assert is_due(BEGAN + DAY)
    collected(folder, BEGAN + 300 * DAY)
    assert is_due(BEGAN + DAY)


# --- what is found there --------------------------------------------------------------------------


def test_notes_of_a_former_server_are_begun_anew(shop: TileShop) -> None:
    notes = shop.catalogue.folder / "unnamed.json"
    before = public_files(shop)
    notes.write_text('{"metadata/1.snapshot.json": "2020-01-01T00:00:00+00:00"}')

    for hours in (1, 2):
        assert collected(shop.catalogue, shop.now + timedelta(hours=hours)).files == 0
    assert public_files(shop) == before
    assert collected(shop.catalogue, shop.now + timedelta(hours=26)).files == 0
    assert collected(shop.catalogue, shop.now + timedelta(hours=27)).files > 0


@pytest.mark.parametrize("name", ["unnamed.json", "pictures-collected"])
@pytest.mark.parametrize("text", ["", "[]", '{"at": 7}', '{"since": []}', "\0"])
def test_notes_that_are_damaged_are_named(shop: TileShop, name: str, text: str) -> None:
    before = public_files(shop)
    (shop.catalogue.folder / name).write_text(text)
    shop.now += 2 * DAY

    with pytest.raises(ServerError, match=f"{name} cannot be read"):
        shop.publish()

    assert public_files(shop) == before


def test_a_damaged_file_of_float_embeddings_holds_nothing_up(folder: CatalogueFolder) -> None:
    folder.floats.mkdir()
    damaged = folder.floats / f"{'a' * 64}.sqlite"
    damaged.write_bytes(b"no database" * 100)
    os.utime(damaged, ((BEGAN + 9 * DAY).timestamp(),) * 2)  # it has just come
    picture = kept(folder, "old", BEGAN - 9 * DAY)

    collected(folder, BEGAN)
    collected(folder, BEGAN + 3 * DAY)

    assert not folder.picture(picture).exists()
    assert damaged.exists()
