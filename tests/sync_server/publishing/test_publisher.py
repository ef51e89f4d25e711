"""From operations to devices: every version reaches every device, by delta and by snapshot."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.making.embeddings import clustered, unit
from tests.making.servers import BEGAN, Server, change
from tests.making.shops import Shop, make_shop

from pocketlens.errors import CatalogError, StateMismatch
from pocketlens.formats.delta import DeltaReader
from pocketlens.formats.manifest import Changes, Manifest, decode, encode
from pocketlens.store import database, installs, snapshots
from pocketlens.store.applying.applier import Applier
from pocketlens.store.facts import Origin, StoreFacts
from pocketlens.store.verification import verify
from pocketlens_server.catalogue.operations import (
    DeleteProduct,
    PatchProduct,
    apply,
)
from pocketlens_server.publishing import states
from pocketlens_server.publishing.gate_limits import GateLimits
from pocketlens_server.publishing.gates import Gates
from pocketlens_server.publishing.open_catalogue import Catalogue
from pocketlens_server.publishing.publisher import SATURATED, publish
from pocketlens_server.storage import migrations
from pocketlens_server.storage.blobs import Blobs
from pocketlens_server.storage.history import IMAGE, History
from pocketlens_server.storage.vectors import Vectors

PRODUCTS, EACH = 40, 2


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"), products=PRODUCTS, images_each=EACH)


@pytest.fixture
def server(shop: Shop, tmp_path: Path) -> Server:
    return Server.of_shop(shop, tmp_path)


class Device:
    """A store that follows the manifests of one generation."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.directory, self._blobs = directory, server.catalogue.blobs

    def install(self, manifest: Manifest) -> StoreFacts:
        data = self._blobs.path(manifest.codebook.sha256).read_bytes()
        centroids = np.frombuffer(data[8:], "<f2").reshape(-1, len(manifest.scale))
        reader = self._reader(manifest.snapshot)
        model = self._blobs.path(manifest.bundle.sha256).read_bytes()
        origin = Origin(
            generation=manifest.generation.hex(),
            bundle_sha256=manifest.bundle.sha256,
            catalogue=manifest.catalogue,
            version=reader.header.head,
            as_of=reader.header.as_of,
            scale=manifest.scale,
            probes=manifest.probes,
            probes_estimated=manifest.probes_estimated,
            codebook_sha256=manifest.codebook.sha256,
            saturated_share=manifest.saturated_share,
        )
        with installs.writing(self.directory), installs.new_install(self.directory, model) as new:
            new.generation = origin.generation
            path = new.folder / database.FILE_NAME
            facts = snapshots.write(path, reader, centroids, origin)
        return facts if facts.version == manifest.version else self.follow(manifest)

    def follow(self, manifest: Manifest) -> StoreFacts:
        path = installs.current(self.directory) / database.FILE_NAME
        with database.changing(path) as connection:
            applier = Applier(connection, path)
            delta = manifest.delta_from(applier.facts.version)
            assert delta is not None
            reader = self._reader(delta)
            applier.apply(reader.header, reader.blocks())
            return applier.facts

    def _reader(self, changes: Changes) -> DeltaReader:
        data = self._blobs.path(changes.blob.sha256).read_bytes()
        return DeltaReader([data], changes.inflated_size)


@pytest.mark.parametrize("seed", range(3))
def test_every_version_reaches_every_device(server: Server, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    (manifest,) = server.publish().manifests
    first = Device(tmp_path / "1", server)
    assert first.install(manifest).state_hash == manifest.state_hash
    devices = [first]
    for version in range(2, 9):
        change(server, rng)
        (manifest,) = server.publish().manifests
        assert decode(encode(manifest)) is not None
        assert manifest.version == version
        copies = []
        for device in devices:
            copy = Device(device.directory.with_name(f"{version}-{device.directory.name}"), server)
            shutil.copytree(device.directory, copy.directory)
            copies.append(copy)
            facts = copy.follow(manifest)
            assert facts.state_hash == manifest.state_hash
            assert (facts.images, facts.products) == (manifest.images, manifest.products)
        new = Device(tmp_path / f"new-{version}", server)
        assert new.install(manifest).state_hash == manifest.state_hash
        devices.append(copies[0])
    assert verify(devices[-1].directory).findings == ()
    assert verify(tmp_path / "new-8").findings == ()


def test_a_store_finds_what_was_published(server: Server, tmp_path: Path) -> None:
    from pocketlens import Lens

    device = Device(tmp_path / "store", server)
    device.install(server.publish().manifests[0])
    apply(server.catalogue.history, DeleteProduct("sku-7"))
    device.follow(server.publish().manifests[0])

    with Lens.open(device.directory) as lens:
        for row in (0, 3 * EACH, 7 * EACH):
            found = lens.search_vector(server.shop.embeddings[row], k=3)
            ids = [match.product.id for match in found.matches]
            assert found.version == 2
            assert found.gallery_size == PRODUCTS - 1
            assert (ids[0] == f"sku-{row // EACH}") == (row != 7 * EACH)
            assert "sku-7" not in ids


def test_a_delta_that_leads_elsewhere_is_not_published(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publish()
    apply(server.catalogue.history, PatchProduct("sku-1", stock=77))
    monkeypatch.setattr(states, "replayed", lambda *_, **__: states.NOTHING)

    with pytest.raises(StateMismatch, match="leads to another state"):
        server.publish()


def test_nothing_is_published_of_nothing(shop: Shop, tmp_path: Path) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrations.create(connection)
    empty = Catalogue("main", History(connection), Vectors(connection), Blobs(tmp_path), {})

    with pytest.raises(CatalogError, match="model add"):
        publish(empty, now=BEGAN, rng=np.random.default_rng(0))
    assert list(empty.history.values(IMAGE)) == []


def test_a_scale_that_no_longer_fits_is_told_and_another_generation_helps(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", products=30)
    flat = shop.embeddings.copy()
    flat[:, 8:] *= 0.05
    server = Server.of_shop(replace(shop, embeddings=unit(flat)), tmp_path)
    server.publish()
    for row, embedding in enumerate(clustered(np.random.default_rng(3), 12, 16)):
        server.put_image(f"new-{row}", embedding, ["sku-1"])

    saturated = server.publish(Gates(GateLimits(found_share=0))).saturated_share
    old, new = server.publish(begin_again=True).manifests

    assert saturated > SATURATED
    assert new.saturated_share == 0
    assert (new.scale >= old.scale).all()
    assert new.bundle == old.bundle
    with pytest.raises(CatalogError, match="would be the same"):
        server.publish(begin_again=True)
