"""Versions for some devices first, generations that retire, files and history that go."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.making.tiles import BEGAN, TileShop

from pocketlens.errors import Conflict, ServerError, StoreFull, StoreReadOnly
from pocketlens.formats.manifest import WHOLE_ROLLOUT, decode
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens.sync.planner import Action
from pocketlens_server.catalogue.pushing import push
from pocketlens_server.catalogue.targets import LocalTarget
from pocketlens_server.folders import ServerFolder
from pocketlens_server.publishing import comparing, holdings, releasing, signing
from pocketlens_server.publishing.releasing import Terms
from pocketlens_server.storage.history import PRODUCT

DEVICES = [f"device-{number}" for number in range(12)]


@pytest.fixture
def shop(tmp_path: Path) -> TileShop:
    made = TileShop(tmp_path / "shop", dict.fromkeys(range(8), 1))
    made.publish()
    return made


def test_a_version_reaches_more_devices_as_its_share_grows(shop: TileShop) -> None:
    for device in DEVICES:
        shop.sync(device)
    shop.stock[3] = 7

    shop.publish(Terms(rollout=0.3))
    few = {each for each in DEVICES if shop.sync(each).action is Action.DELTA}
    assert shop.publish() is None  # nothing waits: as many as before
    assert {shop.sync(each).action for each in DEVICES} == {Action.WAIT, Action.NOTHING}
    assert shop.publish(Terms(rollout=0.7)) is None
    more = {each for each in DEVICES if shop.sync(each).action is Action.DELTA}
    assert shop.publish(Terms(rollout=1)) is None
    rest = {each for each in DEVICES if shop.sync(each).action is Action.DELTA}

    assert few
    assert more
    assert rest
    assert sorted([*few, *more, *rest]) == sorted(DEVICES)
    assert {shop.sync(each).version for each in DEVICES} == {2}


def test_a_share_does_not_shrink_and_is_a_share(shop: TileShop) -> None:
    with pytest.raises(ServerError, match="% of devices already"):
        shop.publish(Terms(rollout=0.5))
    for share in (0, -0.1, 1.5):
        with pytest.raises(ServerError, match="above 0"):
            Terms(rollout=share)
    assert [each.rollout for each in releasing.newest(shop.catalogue)] == [WHOLE_ROLLOUT]


def test_a_version_whose_signing_failed_is_signed_when_it_is_asked_for_again(
    shop: TileShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise StoreFull(f"No room for {path}.")

    shop.stock[3] = 7
    with monkeypatch.context() as patch:
        patch.setattr(signing, "write_file", full)
        with pytest.raises(StoreFull):
            shop.publish(Terms(parent=1))
        assert shop.sync("device").version == 1
        assert comparing.status(shop.catalogue).version == 1
        with pytest.raises(StoreFull):  # and no Conflict, which would say that it is there
            shop.publish(Terms(parent=1))

    with pytest.raises(Conflict):
        shop.publish(Terms(parent=1))
    assert shop.sync("device").version == 2
    found = comparing.status(shop.catalogue)
    assert found.version == 2
    assert found.as_of is not None
    assert found.as_of > BEGAN


def test_an_old_generation_gets_versions_until_its_day(shop: TileShop) -> None:
    (first,) = releasing.newest(shop.catalogue)
    shop.sync("pinned", generation=first.generation)
    shop.add_model("second")
    shop.publish()
    old, new = releasing.newest(shop.catalogue)
    assert old.retires_at == shop.now + timedelta(days=30)
    assert new.retires_at is None

    shop.now += timedelta(days=29)
    shop.stock[3] = 7
    shop.publish()
    assert shop.sync("pinned", generation=first.generation).action is Action.DELTA
    assert releasing.newest(shop.catalogue)[0].retires_at == old.retires_at

    shop.now += timedelta(days=1)
    assert releasing.refresh(shop.catalogue, now=shop.now)
    assert list(holdings.read_visible(shop.public).manifests) == [new.generation]
    moved = shop.sync("pinned", generation=first.generation)

    assert (moved.action, moved.version) == (Action.INSTALL, 3)
    with Reader.open(shop.folder / "pinned") as reader:
        assert reader.facts.generation == new.generation.hex()
    assert verify(shop.folder / "pinned").findings == ()
    assert not releasing.refresh(shop.catalogue, now=shop.now)


def test_files_stay_a_day_after_the_last_manifest_naming_them(shop: TileShop) -> None:
    shop.stock[3] = 7
    shop.publish()
    before = named_files(shop)
    shop.stock[3] = 8
    shop.publish()
    shop.publish()  # notes what the version before has and this one has not
    gone = before - named_files(shop)
    assert gone

    shop.now += timedelta(hours=23)
    shop.publish()
    assert all((shop.public / name).exists() for name in gone)
    shop.now += timedelta(hours=2)
    shop.publish()
    assert all((shop.public / name).exists() for name in gone)  # or the clock might have jumped
    shop.publish()

    assert not any((shop.public / name).exists() for name in gone)
    assert all((shop.public / name).exists() for name in named_files(shop))
    assert shop.sync("new").version == 3
    assert (shop.public / "metadata" / "1.root.json").exists()


def test_a_retired_generation_leaves_nothing(shop: TileShop) -> None:
    (first,) = releasing.newest(shop.catalogue)
    shop.add_model("second")
    shop.publish()
    shop.now += timedelta(days=30)
    shop.publish()
    make_older(shop.catalogue.folder, days=31)

    shop.publish()
    shop.now += timedelta(hours=25)
    shop.publish()
    shop.publish()

    assert not (shop.public / "blobs" / first.bundle.sha256.hex()).exists()
    assert not shop.catalogue.bundle(first.bundle.sha256).exists()
    with shop.catalogue.reading() as tables:
        assert len(tables.vectors.generations()) == len(tables.vectors.bundles()) == 1
    assert shop.sync("new").action is Action.INSTALL
    shop.add_model("third")
    shop.publish()
    assert len(releasing.newest(shop.catalogue)) == 2


def test_history_is_kept_so_many_versions_and_no_delta_is_older(shop: TileShop) -> None:
    settings = shop.catalogue.folder / "settings.toml"
    settings.write_text("[keeping]\nversions = 3\n")
    shop.sync("late")
    for pieces in range(2, 8):
        shop.stock[3] = pieces
        shop.publish()

    (manifest,) = releasing.newest(shop.catalogue)

    assert [each.base for each in manifest.deltas] == [6, 5, 4]
    with pytest.raises(ServerError, match="from 4 to 7"):
        releasing.roll_back(shop.catalogue, 3)
    assert shop.sync("late").action is Action.INSTALL
    assert verify(shop.folder / "late").findings == ()


def test_pictures_go_with_the_last_version_that_shows_them(shop: TileShop) -> None:
    (shop.catalogue.folder / "settings.toml").write_text("[keeping]\nversions = 1\n")
    with shop.catalogue.reading() as tables:
        known = tables.vectors.pictures()
    del shop.stock[5]
    shop.publish()
    make_older(shop.catalogue.folder, days=2)
    shop.publish()  # a version that is kept shows it
    assert pictures(shop) == known
    shop.stock[3] = 6
    shop.publish()
    assert releasing.collect(shop.catalogue, now=shop.now).pictures == 1

    with shop.catalogue.reading() as tables:
        left = tables.vectors.pictures()
    assert left == pictures(shop)
    assert len(left) == len(known) - 1
    shop.stock[5] = 1  # it comes back
    shop.publish()
    assert pictures(shop) == known
    assert shop.sync("new").action is Action.INSTALL


def named_files(shop: TileShop) -> set[str]:
    """Blobs of the newest manifests."""
    found = set()
    for data in holdings.read_visible(shop.public).manifests.values():
        manifest = decode(data)
        changes = (manifest.snapshot, *manifest.deltas)
        for blob in (manifest.bundle, manifest.codebook, *(each.blob for each in changes)):
            found.add(f"blobs/{blob.sha256.hex()}")
    return found


def pictures(shop: TileShop) -> set[bytes]:
    return {bytes.fromhex(each.name) for each in (shop.catalogue.folder / "pictures").glob("*/*")}


def make_older(folder: Path, *, days: int) -> None:
    """As if everything in it had come so many days before the shop began."""
    for path in folder.rglob("*"):
        when = np.datetime64("2026-11-25T10:00") - np.timedelta64(days, "D")
        os.utime(path, (int(when.astype("datetime64[s]").astype(int)),) * 2)


# --- what must not be -----------------------------------------------------------------------------


def test_with_a_clock_that_is_years_ahead_nothing_changes(shop: TileShop) -> None:
    shop.add_model("second")
    shop.publish()
    shop.stock[3] = 5
    shop.push()
    ahead = shop.now + timedelta(days=365 * 12)

    with pytest.raises(ServerError, match="set the clock right"):
        releasing.publish(shop.catalogue, now=ahead, rng=np.random.default_rng(0))
    with pytest.raises(ServerError, match="set the clock right"):
        releasing.refresh(shop.catalogue, now=ahead)
    with pytest.raises(ServerError, match="set the clock right"):
        releasing.collect(shop.catalogue, now=ahead)

    assert [each.version for each in releasing.newest(shop.catalogue)] == [2, 2]
    assert comparing.status(shop.catalogue).waiting_offers == 1
    shop.publish()
    assert shop.sync("device").version == 3


def test_a_picture_that_is_missing_deletes_nothing_that_the_list_names(shop: TileShop) -> None:
    (shop.folder / "7.png").unlink()
    (shop.folder / "6.png").write_bytes(b"no picture")

    target = LocalTarget(shop.catalogue, clock=lambda: shop.now)
    report = push(target, shop.folder / "list.csv", replace=True)

    assert len(report.problems) >= 2
    status = comparing.status(shop.catalogue)
    assert (status.waiting_products, status.waiting_offers, status.waiting_images) == (0, 0, 0)


def test_a_list_that_is_written_anew_meanwhile_deletes_nothing(shop: TileShop) -> None:
    path = shop.folder / "list.csv"

    def then_it_is_half_written(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("sending", 1):
            path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))

    shop.stock[20] = 1
    shop.push(progress=then_it_is_half_written)

    with shop.catalogue.reading() as tables:
        assert len(tables.history.ids(PRODUCT)) == 9


def test_without_its_keys_a_server_changes_nothing(shop: TileShop) -> None:
    (shop.catalogue.online_keys / "keys.json").rename(shop.folder / "keys.json")
    shop.stock[3] = 7
    shop.push()
    with pytest.raises(ServerError, match="holds no keys"):
        releasing.publish(shop.catalogue, now=shop.now, rng=np.random.default_rng(0))

    assert comparing.status(shop.catalogue).waiting_offers == 1


def test_what_devices_follow_is_not_made_anew(shop: TileShop) -> None:
    server = ServerFolder(shop.folder / "server")
    (shop.folder / "keys").rename(shop.folder / "safe")
    shop.catalogue.folder.rename(shop.folder / "moved")

    with pytest.raises(ServerError, match="devices may follow it"):
        server.add_catalogue("main", now=shop.now)

    (shop.folder / "moved").rename(shop.catalogue.folder)
    assert shop.sync("device").version == 1


def test_a_picture_that_is_collected_while_it_comes_again_is_written_again(
    shop: TileShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = next((shop.catalogue.folder / "pictures").glob("*/*"))
    data, utime = picture.read_bytes(), os.utime

    def too_late(path: Path) -> None:
        path.unlink()
        utime(path)

    monkeypatch.setattr(os, "utime", too_late)
    shop.push()

    assert picture.read_bytes() == data


def test_half_a_picture_of_a_push_that_was_killed_is_collected(shop: TileShop) -> None:
    folder = next((shop.catalogue.folder / "pictures").iterdir())
    left = folder / f".{'a' * 64}.12345678.tmp"
    left.write_bytes(b"ha")
    os.utime(left, (0, 0))

    releasing.collect(shop.catalogue, now=shop.now + timedelta(days=3))

    assert not left.exists()


@pytest.mark.parametrize(
    "text",
    [
        "gates = 5",
        "[keeping]\nfile_hours = 100000000000",
        "[keeping]\ngeneration_days = 10000000",
        "[gates]\nlost_share = inf",
        "[gates]\nlost_share = 5",
        "[keeping]\nversions = 999999999999999999999999999999",
    ],
)
def test_settings_that_cannot_be_are_told(shop: TileShop, text: str) -> None:
    (shop.catalogue.folder / "settings.toml").write_text(text)

    with pytest.raises(ServerError, match=r"settings\.toml"):
        shop.publish()


def test_a_catalogue_that_was_not_made_whole_is_made_again(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    server = ServerFolder.create(tmp_path / "server", offline_keys=keys, now=BEGAN)
    shutil.rmtree(keys)
    keys.write_text("in the way")
    with pytest.raises(StoreReadOnly, match="a file is in its way"):
        server.add_catalogue("other", now=BEGAN)
    assert server.catalogues() == ["main"]
    keys.unlink()

    made = server.add_catalogue("other", now=BEGAN)
    ServerFolder.create(tmp_path / "second", offline_keys=keys, now=BEGAN)
    with pytest.raises(ServerError, match="holds keys already"):
        ServerFolder.create(tmp_path / "third", offline_keys=keys, now=BEGAN)

    assert signing.status(made.public)
    assert server.catalogues() == ["main", "other"]
    assert not (tmp_path / "third").exists()
