"""What was signed and does not work here is held back, and the store goes on with what does."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.making.followers import answer, sync
from tests.making.scenes import ShopScene
from tests.making.servers import Server
from tests.making.serving import on_disk, serving
from tests.making.shops import bare_bundle, make_shop

from pocketlens.cli import main
from pocketlens.cli.sync import _as_json, _summary
from pocketlens.errors import GoldenProbeFailed, MeteredRefused, StoreFull
from pocketlens.formats.manifest import Manifest, decode
from pocketlens.options import SyncOptions
from pocketlens.store import installs, marks
from pocketlens.store.marks import Quarantine
from pocketlens.store.pieces import Pieces
from pocketlens.store.reader import Reader
from pocketlens.sync import preflight, session
from pocketlens.sync.grpc_transport import GrpcTransport
from pocketlens.sync.http_transport import HttpTransport
from pocketlens.sync.observed import Observed
from pocketlens.sync.planner import Action
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.transports import FolderTransport, Transport
from pocketlens_server.catalogue.operations import PatchProduct, apply
from pocketlens_server.publishing import keeping, keys, rekeying

A_DAY = timedelta(days=1)


@pytest.fixture
def store(server: Server, store: Path) -> Path:
    """It has answered at version 1."""
    assert answer(server, store) == 1
    return store


def new_model(server: Server, *, is_broken: bool = False) -> None:
    name = f"model {len(server.bundles) + 1}"
    server.add_model(bare_bundle(16, name=name, is_broken=is_broken))
    server.publish()


def new_stock(server: Server, stock: int) -> Manifest:
    """The newest manifest."""
    apply(server.catalogue.history, PatchProduct("sku-4", stock=stock))
    return server.publish().manifests[-1]


def test_a_model_that_does_not_compute_as_it_must_is_held_back(
    server: Server, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = installs.current(store)
    new_model(server, is_broken=True)

    report = sync(server, store)

    assert (report.action, report.before, report.version) == (Action.DELTA, 1, 2)
    assert report.held_back is not None
    assert report.held_back.version == 2
    assert "drifts" in report.held_back.reason
    assert installs.current(store) == before
    assert answer(server, store) == 2
    assert main(["info", str(store)]) == 0
    assert "held back    version 2: litert" in capsys.readouterr().out
    main(["info", str(store), "--json"])
    assert json.loads(capsys.readouterr().out)["held_back"]["version"] == 2

    new_model(server)  # version 3, another generation

    assert sync(server, store).action is Action.INSTALL
    assert answer(server, store) == 3
    assert sync(server, store).held_back is None
    assert marks.get(store, Quarantine) is None


def test_the_command_says_what_is_held_back(server: Server, store: Path) -> None:
    new_model(server, is_broken=True)
    report = sync(server, store)
    quarantine = marks.get(store, Quarantine)
    assert quarantine is not None

    said_in_words = _summary(store, report, plan=False)

    assert "from version 1, version 2; a delta took" in said_in_words
    assert "version 2 of another model is held back until there is a newer one" in said_in_words
    assert "which is the newest" not in _summary(store, sync(server, store), plan=False)
    said = _as_json(report)["held_back"]
    assert isinstance(said, dict)
    assert said["reason"] == quarantine.reason


@pytest.mark.parametrize("way", ["folder", "grpc", "http"])
def test_meanwhile_the_versions_of_the_own_generation_come(
    server: Server, store: Path, tmp_path: Path, way: str
) -> None:
    def transport() -> Transport:
        match way:
            case "grpc":
                return GrpcTransport(address.grpc, "main")
            case "http":
                return HttpTransport(address.http)
        return FolderTransport(server.public)

    def follow() -> SyncReport:
        return sync(server, store, transport=transport())

    with serving(on_disk(server, tmp_path / "disk")) as address:
        new_model(server, is_broken=True)  # version 2
        assert follow().version == 2
        for _ in range(2):  # of both generations it has version 2, or has seen it
            report = follow()
            assert (report.action, report.version) == (Action.NOTHING, 2)
            assert report.held_back is not None
        for version in (3, 4):
            new_stock(server, version)
            report = follow()
            assert (report.action, report.version) == (Action.DELTA, version)
            assert report.held_back is not None
            assert report.held_back.version == 2  # not tried again so soon
        server.sign_again()
        assert follow().action is Action.NOTHING
        new_stock(server, 5)  # two days later
        report = follow()
        assert (report.action, report.version) == (Action.DELTA, 5)
        assert report.held_back is not None
        assert report.held_back.version == 5
        new_model(server)  # version 6
        report = follow()

    assert (report.action, report.version, report.held_back) == (Action.INSTALL, 6, None)
    assert answer(server, store) == 6
    assert marks.get(store, Quarantine) is None
    assert not (store / "pieces").exists()


def test_a_model_that_is_held_back_is_fetched_once(server: Server, store: Path) -> None:
    new_model(server, is_broken=True)
    sync(server, store)
    server.now += A_DAY
    newest = new_stock(server, 7)
    kept = Pieces(store / "pieces").at_hand()

    assert kept == {
        sha256
        for blob in (newest.bundle, newest.codebook, newest.snapshot.blob)
        for sha256 in blob.pieces
    }
    plan = sync(server, store, only_plan=True)
    delta = newest.delta_from(newest.snapshot.head)
    assert delta is not None
    assert (plan.action, plan.version) == (Action.INSTALL, 3)
    assert plan.fetched_bytes == delta.blob.size


def test_the_bytes_of_what_failed_are_told(server: Server, store: Path) -> None:
    new_model(server, is_broken=True)
    plan = sync(server, store, only_plan=True)

    assert sync(server, store).fetched_bytes >= plan.fetched_bytes > 0


def test_a_generation_that_retired_leaves_its_store_its_own_manifest(
    server: Server, store: Path
) -> None:
    new_model(server, is_broken=True)
    assert sync(server, store).version == 2
    server.now += 31 * A_DAY
    keeping.retire(server.catalogue.history, server.catalogue.vectors, now=server.now)
    server.sign(*map(decode, server.catalogue.vectors.manifests().values()))

    assert sync(server, store).action is Action.WAIT

    found = Observed.of(store, "main", server.now)
    assert found is not None
    assert found.manifest is not None
    assert found.manifest.generation.hex() == found.facts.generation


def test_a_store_that_rots_meanwhile_is_made_anew_with_the_model_that_works(
    server: Server, store: Path
) -> None:
    new_model(server, is_broken=True)
    sync(server, store)
    (installs.current(store) / "store.sqlite").write_bytes(b"rot")

    report = sync(server, store)

    assert (report.action, report.version) == (Action.INSTALL, 2)
    assert report.held_back is not None
    assert answer(server, store) == 2


def test_what_a_new_model_costs_keeps_no_price_away(server: Server, store: Path) -> None:
    new_model(server)
    new_stock(server, 3)
    little = SyncOptions(max_bytes=2000)

    report = sync(server, store, options=little)

    assert (report.action, report.version, report.held_back) == (Action.DELTA, 3, None)
    with pytest.raises(MeteredRefused):  # nothing else is left to do
        sync(server, store, options=little)
    assert sync(server, store).action is Action.INSTALL
    assert answer(server, store) == 3


def test_a_model_that_there_is_no_room_for_keeps_no_price_away(
    server: Server, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_model(server)
    new_stock(server, 3)
    usage = shutil.disk_usage(store)
    little = preflight._SPARE_BYTES + 700
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=little))

    report = sync(server, store)

    assert (report.action, report.version, report.held_back) == (Action.DELTA, 3, None)
    with pytest.raises(StoreFull):  # nothing else is left to do
        sync(server, store)
    monkeypatch.undo()
    assert sync(server, store).action is Action.INSTALL


@pytest.mark.parametrize("has_store", [True, False])
def test_what_a_thief_let_fail_holds_nothing_of_the_owner_back(
    tmp_path: Path, has_store: bool
) -> None:
    scene = ShopScene(tmp_path / "server", make_shop(tmp_path / "shop", products=8))
    folder = tmp_path / "device"

    def follow(scene: ShopScene) -> SyncReport:
        transport = FolderTransport(scene.public)
        return session.sync(folder, transport, catalogue="main", root=scene.root, now=scene.now)

    scene.publish()
    thief = scene.robbed(keys.ONLINE)
    if has_store:
        assert follow(scene).version == 1
        thief.publish(7)
        assert follow(thief).version == 8
        thief = scene.robbed(keys.ONLINE)
    spoil(thief, versions=7)
    with pytest.raises(GoldenProbeFailed):
        follow(thief)
    assert marks.get(folder, Quarantine) is not None

    rekeying.rotate(
        scene.catalogue, keys.ONLINE, offline=[scene.catalogue.offline_keys], now=scene.now
    )
    for _ in range(2):
        scene.publish()
        follow(scene)

    with Reader.open(folder) as reader:
        assert reader.facts.version == 3


def spoil(thief: ShopScene, versions: int) -> None:
    """Versions of pictures that nothing finds."""
    server = thief._server
    server.signers = dict(thief.signers)
    server.now = max(server.now, thief.now)
    for number in range(8):
        image = f"pictures/{number:05d}-0.jpg"
        server.put_image(image, np.zeros(16, np.float32), [f"sku-{number}"])
    for _ in range(versions):
        published = server.publish()
    for _ in range(9):  # newer than what the device saw of the thief's
        server.sign(*published.manifests)


def test_a_store_whose_generation_has_retired_waits_for_a_model_that_works(
    server: Server, store: Path
) -> None:
    server.kept = keeping.Keeping(generation_days=0)
    new_model(server, is_broken=True)
    server.publish()  # version 3 is of the new generation alone

    with pytest.raises(GoldenProbeFailed):
        sync(server, store)
    assert answer(server, store) == 1
    assert sync(server, store).action is Action.WAIT

    new_model(server)
    assert sync(server, store).action is Action.INSTALL
    assert answer(server, store) == 4
