"""A sync ends at the signed state, or leaves the store as it was; what was fetched is kept."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.making.servers import Server, change
from tests.making.shops import Shop, make_shop

from pocketlens import Lens
from pocketlens.errors import (
    MeteredRefused,
    StoreFull,
    SyncCancelled,
    SyncError,
    TransportError,
    TrustError,
)
from pocketlens.formats.manifest import Blob
from pocketlens.indexing import index
from pocketlens.options import SyncOptions
from pocketlens.store.pieces import Pieces
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens.sync import session
from pocketlens.sync.planner import Action
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.transports import FolderTransport
from pocketlens_server.catalogue.operations import DeleteProduct, PatchProduct, apply


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"), products=40, images_each=2)


@pytest.fixture
def server(shop: Shop, tmp_path: Path) -> Server:
    made = Server.of_shop(shop, tmp_path / "server")
    made.publish()
    return made


def sync(server: Server, store: Path, **choices: Any) -> SyncReport:
    transport = choices.pop("transport", FolderTransport(server.public))
    given = {"catalogue": "main", "root": server.root, "now": server.now, **choices}
    return session.sync(store, transport, **given)


def state_of(store: Path) -> tuple[int, bytes]:
    with Reader.open(store) as reader:
        return reader.facts.version, reader.facts.state_hash


def test_an_empty_folder_becomes_the_catalogue_and_follows_it(
    server: Server, tmp_path: Path
) -> None:
    store, rng = tmp_path / "store", random.Random(1)

    first = sync(server, store)

    assert (first.action, first.before, first.version) == (Action.INSTALL, 0, 1)
    assert sync(server, store).action is Action.NOTHING
    for version in range(2, 6):
        change(server, rng)
        (manifest,) = server.publish().manifests
        report = sync(server, store)
        assert (report.before, report.version) == (version - 1, version)
        assert state_of(store) == (version, manifest.state_hash)
        assert report.as_of == server.now
    assert verify(store).findings == ()
    assert not (store / "pieces").exists()


def test_a_store_that_was_away_for_long_takes_one_delta(server: Server, tmp_path: Path) -> None:
    store = tmp_path / "store"
    sync(server, store)
    for stock in range(9):
        apply(server.catalogue.history, PatchProduct("sku-3", stock=stock))
        (manifest,) = server.publish().manifests

    report = sync(server, store)

    assert (report.action, report.before, report.version) == (Action.DELTA, 1, 10)
    assert report.fetched_bytes < 300
    assert state_of(store) == (10, manifest.state_hash)


def test_searches_go_on_and_find_what_is_new_after_a_refresh(
    server: Server, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    sync(server, store)
    with Lens.open(store) as lens:
        query = server.shop.embeddings[10]
        assert lens.search_vector(query).matches[0].product.id == "sku-5"
        apply(server.catalogue.history, DeleteProduct("sku-5"))
        server.publish()

        sync(server, store)

        assert lens.search_vector(query).matches[0].product.id == "sku-5"
        assert lens.refresh()
        found = lens.search_vector(query)
        assert found.version == 2
        assert "sku-5" not in [match.product.id for match in found.matches]
        assert not lens.refresh()


def test_a_plan_says_what_a_sync_would_cost_and_changes_nothing(
    server: Server, tmp_path: Path
) -> None:
    store = tmp_path / "store"

    plan = sync(server, store, only_plan=True)
    done = sync(server, store)

    assert plan == done
    assert plan.fetched_bytes > 1000
    apply(server.catalogue.history, PatchProduct("sku-3", stock=4))
    server.publish()
    before = files_of(store)
    plan = sync(server, store, only_plan=True)
    assert (plan.action, plan.before, plan.version) == (Action.DELTA, 1, 2)
    assert files_of(store) == before


def files_of(store: Path) -> dict[Path, bytes]:
    """All but what SQLite keeps beside a database that is open."""
    found = (path for path in store.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in found if not path.name.endswith(("-shm", "-wal"))}


class Broken(FolderTransport):
    """Breaks off after some pieces."""

    def __init__(self, folder: Path, pieces: int) -> None:
        super().__init__(folder)
        self.left, self.sent = pieces, 0

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        if self.left == 0:
            yield b"half of"
            raise TransportError("Nobody answers any more.")
        self.left -= 1
        for chunk in super().piece(blob, number):
            self.sent += len(chunk)
            yield chunk


def test_what_was_fetched_before_a_cut_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    store, sent = tmp_path / "store", 0
    for _ in range(3):
        transport = Broken(server.public, 1)
        if (store / "CURRENT").exists():
            break
        try:
            sync(server, store, transport=transport)
        except TransportError:
            assert len(Pieces(store / "pieces").at_hand()) >= 1
        sent += transport.sent

    (manifest,) = [each for each in [server.catalogue.vectors.snapshot(1)] if each]
    assert state_of(store)[0] == manifest.head
    blobs = sum(path.stat().st_size for path in (server.public / "blobs").iterdir())
    assert sent == blobs  # bundle, codebook, snapshot: each once


class Lying(FolderTransport):
    """Sends other pieces than were signed."""

    def __init__(self, folder: Path, change: Any) -> None:
        super().__init__(folder)
        self._change = change

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        yield self._change(b"".join(super().piece(blob, number)))


@pytest.mark.parametrize(
    "change_piece",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: bytes(len(data)),
        lambda data: b"<html>Sign in to the network</html>",
    ],
    ids=["cut", "longer", "zeros", "captive portal"],
)
def test_changed_pieces_leave_the_store_as_it_was(
    server: Server, tmp_path: Path, change_piece: Any
) -> None:
    store = tmp_path / "store"
    sync(server, store)
    apply(server.catalogue.history, PatchProduct("sku-3", stock=4))
    server.publish()
    before = state_of(store)

    with pytest.raises(TransportError, match="Received another"):
        sync(server, store, transport=Lying(server.public, change_piece))

    assert state_of(store) == before
    assert sync(server, store).version == 2


def test_a_metered_network_is_spared(server: Server, tmp_path: Path) -> None:
    store = tmp_path / "store"
    metered = SyncOptions(is_metered=True, metered_bytes=2000)

    with pytest.raises(MeteredRefused, match="2,000 are allowed"):
        sync(server, store, options=metered)
    with pytest.raises(MeteredRefused):
        sync(server, store, options=SyncOptions(max_bytes=10))

    sync(server, store)
    apply(server.catalogue.history, PatchProduct("sku-3", stock=4))
    server.publish()
    with pytest.raises(MeteredRefused, match="0 are allowed"):
        sync(server, store, options=SyncOptions(is_metered=True, max_bytes=0))
    assert sync(server, store, options=metered).version == 2


def test_a_sync_without_room_or_that_is_cancelled_changes_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    with pytest.raises(SyncCancelled):
        sync(server, store, cancelled=lambda: True)
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(StoreFull, match="1,048,576 are free"):
            sync(server, store)
    assert not (store / "CURRENT").exists()

    assert sync(server, store).version == 1


def test_other_stores_and_catalogues_are_not_touched(
    server: Server, shop: Shop, tmp_path: Path
) -> None:
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=tmp_path / "indexed")

    with pytest.raises(SyncError, match="Received one of pocketlens index"):
        sync(server, tmp_path / "indexed")
    with pytest.raises(TrustError, match="Received 'main'"):
        sync(server, tmp_path / "new", catalogue="other")
    assert verify(tmp_path / "indexed").is_whole


def test_a_server_that_is_older_than_the_store_is_told(server: Server, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(server.public, tmp_path / "backup")
    apply(server.catalogue.history, PatchProduct("sku-3", stock=4))
    server.publish()
    sync(server, store)
    before = state_of(store)

    with pytest.raises(TrustError):
        sync(server, store, transport=FolderTransport(tmp_path / "backup"))

    assert state_of(store) == before


def test_an_expired_server_is_refused_and_searching_goes_on(server: Server, tmp_path: Path) -> None:
    store = tmp_path / "store"
    sync(server, store)

    with pytest.raises(TrustError, match="expired"):
        sync(server, store, now=server.now + timedelta(days=10))

    with Lens.open(store) as lens:
        assert lens.search_vector(server.shop.embeddings[0]).matches[0].product.id == "sku-0"


def test_a_damaged_store_is_made_anew(server: Server, tmp_path: Path) -> None:
    store = tmp_path / "store"
    sync(server, store)
    (database,) = store.glob("installs/*/store.sqlite")
    database.write_bytes(b"rot" * 1000)

    report = sync(server, store)

    assert report.action is Action.INSTALL
    assert verify(store).findings == ()
