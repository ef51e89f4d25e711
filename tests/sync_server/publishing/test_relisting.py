"""A codebook is replaced inside a generation: every device follows, whatever version it is at."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.making.embeddings import clustered
from tests.making.servers import Server, change
from tests.making.shops import Shop, make_shop

from pocketlens import Lens
from pocketlens.errors import GoldenProbeFailed, StateMismatch
from pocketlens.formats.delta import DeltaReader
from pocketlens.formats.manifest import Manifest, decode, encode
from pocketlens.generations import ListedCodebook, make_codebook
from pocketlens.query import clustering
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens.sync import session
from pocketlens.sync.planner import Action, Have, make_plan
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.transports import FolderTransport
from pocketlens_server.publishing import drift, relisting, states
from pocketlens_server.publishing.drift import is_outgrown

SINGLE, PRODUCTS = 20, 8


@pytest.fixture(autouse=True)
def small_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are many from 21 images on, so that a small shop grows through several codebooks."""
    monkeypatch.setattr(clustering, "SINGLE_LIST_IMAGES", SINGLE)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"), products=PRODUCTS, images_each=2)


@pytest.fixture
def server(shop: Shop, tmp_path: Path) -> Server:
    return Server.of_shop(shop, tmp_path / "server")


def sync(server: Server, store: Path) -> SyncReport:
    transport = FolderTransport(server.public)
    return session.sync(store, transport, catalogue="main", root=server.root, now=server.now)


def grow(server: Server, count: int, seed: int) -> np.ndarray:
    """More images of the first product, in clusters of their own."""
    embeddings = clustered(np.random.default_rng(seed), count, 16, clusters=4)
    for number, embedding in enumerate(embeddings):
        server.put_image(f"more/{seed}-{number}.jpg", embedding, ["sku-0"])
    return embeddings


def codebook_of(store: Path) -> tuple[bytes, int]:
    with Reader.open(store) as reader:
        return reader.facts.codebook_sha256, reader.facts.lists


def published(server: Server) -> Manifest:
    (manifest,) = server.publish().manifests
    assert encode(decode(encode(manifest))) == encode(manifest)
    return manifest


@pytest.mark.parametrize("seed", range(2))
def test_every_device_follows_through_every_codebook(
    server: Server, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    manifest = published(server)
    stores = [tmp_path / "at-1"]
    sync(server, stores[0])
    codebooks, actions = [manifest.codebook.sha256], []
    for version, more in enumerate((0, 12, 3, 40, 0, 90), start=2):
        change(server, rng)
        if more:
            grow(server, more, seed=version)
        manifest = published(server)
        codebooks.append(manifest.codebook.sha256)
        for store in stores:
            copy = tmp_path / "copy"
            shutil.copytree(store, copy)
            before = codebook_of(copy)[0]
            report = sync(server, copy)
            with Reader.open(copy) as reader:
                assert reader.facts.state_hash == manifest.state_hash
                assert reader.facts.probes == manifest.probes
            assert verify(copy).findings == ()
            actions.append((report.action, before == manifest.codebook.sha256))
            if store == stores[-1]:
                copy.rename(tmp_path / f"at-{version}")
            else:
                shutil.rmtree(copy)
        stores.append(tmp_path / f"at-{version}")
        sync(server, tmp_path / f"new-{version}")
        assert codebook_of(tmp_path / f"new-{version}")[0] == manifest.codebook.sha256
    assert len(set(codebooks)) >= 4
    assert actions.count((Action.DELTA, False)) >= 5


def test_a_relist_makes_no_image_another_part_and_is_taken_once(
    server: Server, tmp_path: Path
) -> None:
    published(server)
    grow(server, 30, seed=1)
    first = published(server)
    store = tmp_path / "store"
    sync(server, store)
    grow(server, 60, seed=2)

    second = published(server)

    assert second.relist is not None
    assert (second.relist.base, second.relist.head) == (0, 3)
    assert second.codebook != first.codebook
    for changes in second.deltas:
        data = server.catalogue.blobs.path(changes.blob.sha256).read_bytes()
        blocks = list(DeltaReader([data], changes.inflated_size).blocks())
        assert sum(len(block.images) for block in blocks) == (60 if changes.base == 2 else 90)
        assert not any(block.placements for block in blocks)
    report = sync(server, store)
    delta = second.delta_from(2)
    assert delta is not None
    wanted = (second.codebook, second.relist.blob, delta.blob)
    assert (report.action, report.fetched_bytes) == (
        Action.DELTA,
        sum(blob.size for blob in wanted),
    )
    server.put_image("twin.jpg", server.shop.embeddings[0], ["sku-1"])
    third = published(server)
    assert third.relist == second.relist
    delta = third.delta_from(3)
    assert delta is not None
    assert sync(server, store).fetched_bytes == delta.blob.size


def test_a_store_of_an_earlier_version_takes_the_lists_even_by_an_equal_codebook(
    server: Server,
) -> None:
    """The codebook came back: what was placed before that is said by the lists alone."""
    published(server)
    grow(server, 30, seed=1)
    manifest = published(server)
    assert manifest.relist is not None

    plans = [
        make_plan(
            Have(manifest.generation, version, manifest.state_hash, manifest.codebook.sha256),
            manifest,
        )
        for version in (1, 2)
    ]

    assert [(each.action, each.relist) for each in plans] == [
        (Action.DELTA, manifest.relist),
        (Action.NOTHING, None),
    ]


def test_searches_that_are_open_stay_as_they_were_and_find_the_same_afterwards(
    server: Server, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    embeddings = grow(server, 40, seed=1)
    published(server)
    sync(server, store)
    with Lens.open(store) as lens:
        before = [lens.search_vector(each).best for each in embeddings]
        grow(server, 60, seed=2)
        published(server)

        assert sync(server, store).action is Action.DELTA

        assert [lens.search_vector(each).best for each in embeddings] == before
        assert lens.refresh()
        for embedding in embeddings:
            found = lens.search_vector(embedding)
            assert found.version == 2
            assert found.best is not None
            assert found.best.similarity > 0.99


def test_a_relist_that_does_not_fit_leaves_the_store_and_the_snapshot_is_taken(
    server: Server, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    published(server)
    sync(server, store)
    grow(server, 40, seed=1)
    manifest = published(server)
    assert manifest.relist is not None
    blob = server.catalogue.blobs.path(manifest.relist.blob.sha256)
    kept = server.catalogue.blobs.put([blob.read_bytes()[:-1] + b"?"])
    wrong = replace(manifest, relist=replace(manifest.relist, blob=kept))
    server.sign(wrong)

    report = sync(server, store)

    assert (report.action, report.version) == (Action.INSTALL, 2)
    assert codebook_of(store)[0] == manifest.codebook.sha256
    assert verify(store).findings == ()


def test_a_codebook_that_finds_nothing_is_held_back(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(*arguments: Any, **options: Any) -> ListedCodebook:
        made = make_codebook(*arguments, **options)
        return replace(made, centroids=np.roll(made.centroids, len(made.centroids) // 2, axis=0))

    store = tmp_path / "store"
    published(server)
    grow(server, 60, seed=1)
    first = published(server)
    sync(server, store)
    grow(server, 120, seed=2)
    monkeypatch.setattr(relisting, "make_codebook", shifted)
    second = published(server)
    assert second.relist is not None

    with pytest.raises(GoldenProbeFailed, match="held back"):
        sync(server, store)

    assert codebook_of(store)[0] == first.codebook.sha256
    assert verify(store).findings == ()
    assert sync(server, store).action is Action.WAIT


def test_lists_that_history_does_not_have_are_not_published(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(server)
    grow(server, 40, seed=1)
    monkeypatch.setattr(states, "listed", lambda _: bytes(64))

    with pytest.raises(StateMismatch, match="lists of version 2"):
        server.publish()


def test_a_codebook_is_outgrown_by_number_and_by_distance(server: Server) -> None:
    published(server)
    (one_list,) = server.catalogue.vectors.generations()
    assert not is_outgrown(one_list, images=SINGLE, distance=9.0)
    assert is_outgrown(one_list, images=SINGLE + 1, distance=0.0)
    grow(server, 40, seed=1)
    published(server)
    (many,) = server.catalogue.vectors.generations()
    assert (many.listed_at, many.listed_images) == (2, 56)
    born = many.listed_distance
    assert born > 0
    assert born == drift.distance(server.catalogue.history, server.catalogue.vectors, many)
    assert not is_outgrown(many, images=111, distance=drift.LIMIT * born)
    assert is_outgrown(many, images=112, distance=born)
    assert is_outgrown(many, images=56, distance=drift.LIMIT * born * 1.01)
