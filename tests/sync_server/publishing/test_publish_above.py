"""Versions whose numbers are not next to each other: those between are lost, nothing else is."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.making.embeddings import clustered
from tests.making.servers import BEGAN, Server, change
from tests.making.shops import Shop, make_shop

from pocketlens.formats.manifest import Manifest
from pocketlens.query import clustering
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens.sync import session
from pocketlens.sync.planner import Action
from pocketlens.sync.transports import FolderTransport
from pocketlens_server.publishing.publisher import publish
from pocketlens_server.storage import migrations
from pocketlens_server.storage.history import OFFER, PRODUCT, History


@pytest.fixture(autouse=True)
def small_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are many from 21 images on, so that a small shop grows through several codebooks."""
    monkeypatch.setattr(clustering, "SINGLE_LIST_IMAGES", 20)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"), products=8, images_each=2)


def published(server: Server, above: int) -> Manifest:
    server.now += timedelta(minutes=5)
    server.connection.execute("BEGIN")
    rng = np.random.default_rng(0)
    made = publish(server.catalogue, now=server.now, rng=rng, above=above)
    server.connection.execute("COMMIT")
    server.sign(*made.manifests)
    return made.manifests[-1]


def sync(server: Server, store: Path) -> session.SyncReport:
    transport = FolderTransport(server.public)
    return session.sync(store, transport, catalogue="main", root=server.root, now=server.now)


@pytest.mark.parametrize("seed", range(2))
def test_a_device_follows_from_every_version_over_numbers_that_are_lost(
    shop: Shop, tmp_path: Path, seed: int
) -> None:
    """Products come and go, models begin, codebooks are replaced where numbers are left out."""
    rng = random.Random(seed)
    server = Server.of_shop(shop, tmp_path / "server")
    versions, actions = [published(server, rng.choice([0, 3])).version], []
    sync(server, tmp_path / f"at-{versions[0]}")
    for more in (0, 12, 3, 40, 0, 90):
        change(server, rng)
        for number, embedding in enumerate(clustered(np.random.default_rng(more), more, 16)):
            server.put_image(f"more/{more}-{number}.jpg", embedding, ["sku-0"])
        above = versions[-1] + rng.choice([0, 1, 4, 30])
        manifest = published(server, above)

        assert manifest.version == above + 1
        assert {each.base for each in manifest.deltas} <= set(versions)
        for version in versions:
            copy = tmp_path / "copy"
            shutil.copytree(tmp_path / f"at-{version}", copy)
            actions.append(sync(server, copy).action)
            with Reader.open(copy) as reader:
                assert reader.facts.state_hash == manifest.state_hash
                assert reader.facts.version == manifest.version
            assert verify(copy).findings == ()
            shutil.rmtree(copy)
        versions.append(manifest.version)
        sync(server, tmp_path / f"at-{manifest.version}")
    assert actions.count(Action.DELTA) > len(actions) / 2


def test_what_held_holds_until_the_version_that_is_there() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrations.create(connection)
    history = History(connection)
    history.put(PRODUCT, 1, b"old")
    history.put(PRODUCT, 2, b"goes")
    history.publish(BEGAN)
    history.put(PRODUCT, 1, b"new")
    history.put(OFFER, 1, b"comes")
    history.delete(PRODUCT, 2)

    assert history.publish(BEGAN, above=7) == 8

    assert history.head == 8
    for version in range(1, 8):
        assert history.value(PRODUCT, 1, version) == b"old"
        assert history.value(PRODUCT, 2, version) == b"goes"
        assert history.value(OFFER, 1, version) is None
        assert history.newest_until(version) == 1
    assert history.value(PRODUCT, 1, 8) == b"new"
    assert history.value(PRODUCT, 2, 8) is None
    assert history.value(OFFER, 1, 8) == b"comes"
    assert (history.newest_until(8), history.newest_until(9), history.newest_until(0)) == (8, 8, 0)
    assert list(history.begun_since(PRODUCT, 1)) == [(1, b"new")]
    assert history.ended_since(PRODUCT, 1) == [2]
    assert history.publish(BEGAN, above=3) == 9
