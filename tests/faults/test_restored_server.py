"""A server that is restored to an older day rewinds no device, and its operator is told.

The short form; benchmarks/faults has the long one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.making.restored import STORIES, copied, template, told
from tests.making.serving import serving
from tests.making.tiles import TileShop

from pocketlens.errors import ServerError, StoreFull, TrustError
from pocketlens.store.reader import Reader
from pocketlens.sync.grpc_transport import GrpcTransport
from pocketlens.sync.session import sync
from pocketlens_server.folders import ServerFolder
from pocketlens_server.maintenance.backup import backup
from pocketlens_server.maintenance.restoring import restore
from pocketlens_server.publishing import ahead, holdings, releasing, restored, signing
from pocketlens_server.publishing.releasing import Terms
from pocketlens_server.publishing.restored import Restored, mark


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TileShop:
    return template(tmp_path_factory.mktemp("shops") / "template")


@pytest.mark.parametrize(
    "name",
    [
        "everything",
        "prices, and devices ask days later",
        "a model without a version",
        "the restored server, by the same backup",
    ],
)
def test_devices_ahead_of_a_restored_server_go_on_and_come_to_its_next_version(
    name: str, shop: TileShop, tmp_path: Path
) -> None:
    outcome = told(STORIES[name], shop, tmp_path / "shop")

    assert outcome.ahead > 0
    assert outcome.rewound == outcome.silent == outcome.late == outcome.installed == 0
    assert not outcome.untold


def test_a_server_notes_who_polls_and_is_ahead_of_it(shop: TileShop, tmp_path: Path) -> None:
    lost, other = copied(shop, tmp_path / "lost"), copied(shop, tmp_path / "shop")
    lost.stock[1] += 7
    lost.publish()
    lost.sync("v4")
    (lost.folder / "v4").rename(other.folder / "v4")
    root = (other.public / "metadata" / "1.root.json").read_bytes()

    with serving(other.folder / "server") as address:
        for store in ("v3", "v4"):
            with closing(GrpcTransport(address.grpc, "main")) as transport, suppress(TrustError):
                sync(other.folder / store, transport, catalogue="main", root=root, now=other.now)

    found = ahead.seen(other.catalogue)
    assert found is not None
    assert (found.polls, found.versions) == (1, {4: 1})
    with Reader.open(other.folder / "v4") as reader:
        assert reader.facts.version == 4


def test_a_restored_catalogue_publishes_when_its_operator_has_said_above_what(
    shop: TileShop, tmp_path: Path
) -> None:
    other = copied(shop, tmp_path / "shop")
    mark(other.catalogue.folder, Restored(other.now, other.now, 3, seen=8))
    before = holdings.read_visible(other.public).manifests
    other.stock[3] = 20
    for terms in (None, Terms(rollout=1), Terms(begin_again=True)):
        with pytest.raises(ServerError, match=r"copy of its public files has version 8.*--above"):
            other.publish(terms)
    for wrong in (-1, 2_000_000):
        with pytest.raises(ServerError, match="from 0 to"):
            other.publish(Terms(above=wrong))
    assert holdings.read_visible(other.public).manifests == before

    published = other.publish(Terms(above=8))

    assert published is not None
    assert [published.version, *(each.base for each in published.manifests[0].deltas)] == [9, 3, 1]
    with pytest.raises(ServerError, match="from 1 to 9"):
        releasing.roll_back(other.catalogue, 7)  # whose contents nobody knows
    other.stock[3] = 21
    published = other.publish()
    assert published is not None
    assert [published.version, *(each.base for each in published.manifests[0].deltas)] == [
        10, 9, 3, 2, 1,
    ]  # fmt: skip
    assert releasing.roll_back(other.catalogue, 3) > 0


def test_nothing_newer_was_published_and_nothing_waits(shop: TileShop, tmp_path: Path) -> None:
    other = copied(shop, tmp_path / "shop")
    mark(other.catalogue.folder, Restored(other.now, other.now, 3))

    assert other.publish(Terms(above=0)) is None

    assert restored.mark_of(other.catalogue) is None
    assert other.sync("v3").version == 3
    assert other.publish() is None


def test_a_publish_above_that_is_cut_off_is_repeated(shop: TileShop, tmp_path: Path) -> None:
    """The version is a row; what was signed is not yet above what devices have."""
    other = copied(shop, tmp_path / "shop")
    mark(other.catalogue.folder, Restored(other.now, other.now, 3))
    other.stock[3] = 20
    shutil.copytree(other.public / "metadata", tmp_path / "metadata")
    other.publish(Terms(above=8))
    shutil.rmtree(other.public / "metadata")
    shutil.move(tmp_path / "metadata", other.public)
    mark(other.catalogue.folder, Restored(other.now, other.now, 3))

    assert other.publish(Terms(above=8)) is None

    assert other.sync("v3").version == 9
    assert min(each.version for each in signing.status(other.public)[3:]) > 1_700_000_000
    assert ahead.seen(other.catalogue) is None


def fill(path: Path) -> None:
    with path.open("wb") as file:
        while True:
            os.write(file.fileno(), bytes(4096))


def test_a_backup_to_a_full_disk_says_so_and_leaves_the_one_before(
    shop: TileShop, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    other = copied(shop, tmp_path / "shop")
    disk = small_disk(700_000)
    server = ServerFolder(other.folder / "server")
    backup(server, disk / "saved", now=other.now)
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space"):
        fill(filler)
    other.stock[3] = 20
    other.publish()

    with pytest.raises(StoreFull, match="No room"):
        backup(server, disk / "saved", now=other.now)
    with pytest.raises(StoreFull, match="No room"):
        restore(disk / "saved", disk / "server", now=other.now)

    assert sorted(path.name for path in disk.iterdir()) == ["filler", "saved", "server"]
    assert list((disk / "server").iterdir()) == []
    assert {path.name for path in (disk / "saved").iterdir()} == {
        "backup.json", "backup.lock", "files",
    }  # fmt: skip
    done = restore(disk / "saved", tmp_path / "server", now=other.now)
    assert done.catalogues["main"].version == 3
    filler.unlink()
    assert backup(server, disk / "saved", now=other.now).catalogues["main"].version == 4
