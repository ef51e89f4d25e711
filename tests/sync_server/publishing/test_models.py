"""Models that come, wait, fail and come again; pictures that some model has not embedded."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.making.colour_bundle import colour_bundle, described_as
from tests.making.tiles import TileShop

from pocketlens.errors import BundleError, ServerError
from pocketlens.formats import bundle as bundles
from pocketlens.query.embedder import Embedder
from pocketlens_server.publishing import models, rekeying, releasing
from pocketlens_server.publishing.comparing import compare
from pocketlens_server.publishing.publisher import Published
from pocketlens_server.publishing.releasing import Terms
from pocketlens_server.storage.blobs import Blobs
from pocketlens_server.storage.jobs import JobState


@pytest.fixture
def shop(tmp_path: Path) -> TileShop:
    made = TileShop(tmp_path / "shop", dict.fromkeys(range(8), 1))
    made.publish()
    return made


def published(shop: TileShop, terms: Terms | None = None) -> Published | None:
    """What waits, without another push."""
    shop.now += timedelta(minutes=5)
    rng = np.random.default_rng(0)
    return releasing.publish(shop.catalogue, now=shop.now, rng=rng, terms=terms)


def add_cut_off_before_signing(shop: TileShop, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(models.signing, "add_model", killed)
        with pytest.raises(KeyboardInterrupt):
            shop.add_model(name)


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """How often each picture is embedded from now on."""
    counts: Counter[bytes] = Counter()
    embed = Embedder.embed_tensor

    def counting(self: Embedder, tensor: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        counts[tensor.tobytes()] += 1
        return embed(self, tensor)

    monkeypatch.setattr(Embedder, "embed_tensor", counting)
    return counts


def sha256(shop: TileShop, name: str) -> bytes:
    return hashlib.sha256((shop.folder / f"{name}.tflite").read_bytes()).digest()


def newest_of(made: Published | None) -> bytes:
    """SHA-256 of the bundle that new devices get."""
    assert made is not None
    return made.manifests[-1].bundle.sha256


def unlike_its_spec() -> bytes:
    data = colour_bundle(name="wrong")
    said = bundles.decode(data)
    other = np.zeros((48, 48, 3), np.uint8)
    examples = tuple(replace(each, tensor=other) for each in said.golden_examples)
    return described_as(
        data, replace(said, spec=replace(said.spec, width=48, height=48), golden_examples=examples)
    )


def test_a_model_that_no_runtime_takes_is_not_added(shop: TileShop) -> None:
    path = shop.folder / "wrong.tflite"
    path.write_bytes(unlike_its_spec())

    with pytest.raises(BundleError):
        models.add_model(shop.catalogue, path, now=shop.now)

    shop.stock[20] = 1  # pushes and versions go on
    assert shop.publish() is not None


def test_a_model_that_was_not_signed_yet_begins_nothing(
    shop: TileShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_cut_off_before_signing(shop, "second", monkeypatch)
    shop.stock[3] = 9
    (manifest,) = shop.publish().manifests  # type: ignore[union-attr]
    assert shop.sync("device").version == manifest.version

    shop.add_model("second")  # the same command goes on

    assert len(published(shop).manifests) == 2  # type: ignore[union-attr]
    shop.sync("device")


def test_a_model_that_is_cut_off_while_it_embeds_embeds_at_most_a_batch_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, of_two_batches, of_one = 150, 128, 64
    shop = TileShop(tmp_path / "shop", dict.fromkeys(range(pictures), 1))
    shop.push()
    path = shop.folder / "second.tflite"
    path.write_bytes(colour_bundle(name="second"))
    counts = counted(monkeypatch)

    def killed(stage: str, done: int, total: int) -> None:
        if done == of_two_batches:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.add_model(shop.catalogue, path, now=shop.now, progress=killed)
    assert of_two_batches <= counts.total() <= of_two_batches + of_one

    models.add_model(shop.catalogue, path, now=shop.now)

    assert len(counts) == pictures
    assert counts.total() <= pictures + of_one
    with shop.catalogue.reading() as tables:
        (job,) = tables.jobs.newest(limit=1)
    assert (job.state, job.counters.embedded) == (JobState.DONE, pictures)
    assert newest_of(published(shop)) == sha256(shop, "second")


def test_a_model_with_too_few_keys_begins_nothing(shop: TileShop) -> None:
    safe, other = shop.folder / "keys" / "main", shop.folder / "other" / "main"
    rekeying.add(shop.catalogue, "models", offline=[safe], now=shop.now, into=other)
    rekeying.set_threshold(shop.catalogue, "models", 2, offline=[safe, other], now=shop.now)
    with pytest.raises(ServerError, match="Expected 2 of the keys"):
        shop.add_model("second")
    shop.stock[3] = 9

    assert len(shop.publish().manifests) == 1  # type: ignore[union-attr]

    assert shop.sync("new").version == 2


def test_a_picture_that_is_damaged_is_named_before_a_model_is_signed(shop: TileShop) -> None:
    picture = next((shop.catalogue.folder / "pictures").glob("*/*"))
    whole = picture.read_bytes()
    picture.write_bytes(b"")

    with pytest.raises(ServerError, match=rf"1 pictures .* such as {picture}"):
        shop.add_model("second")
    picture.write_bytes(whole)
    shop.add_model("second")

    assert compare(shop.catalogue, 0, 0, listed=0).is_new_model


def test_an_earlier_model_begins_again_when_that_is_said(shop: TileShop) -> None:
    shop.add_model("second")
    published(shop)

    with pytest.raises(ServerError, match=r"publish --new-generation --model .*first\.tflite"):
        shop.add_model("first")
    with pytest.raises(ServerError, match="model add"):
        published(shop, Terms(begin_again=True, model=bytes(32)))
    made = published(shop, Terms(begin_again=True, model=sha256(shop, "first")))

    assert newest_of(made) == sha256(shop, "first")
    assert shop.sync("device").version == 3


@pytest.mark.parametrize("changes", [False, True])
def test_a_new_model_is_the_one_that_begins(shop: TileShop, changes: bool) -> None:
    shop.add_model("second")
    if changes:
        shop.stock[20] = 1
        shop.push()

    made = published(shop, Terms(begin_again=True))

    assert newest_of(made) == sha256(shop, "second")


def test_of_two_models_that_wait_the_one_that_is_named_is_the_newest(shop: TileShop) -> None:
    shop.add_model("second")
    shop.add_model("third")

    made = published(shop, Terms(begin_again=True, model=sha256(shop, "second")))

    assert newest_of(made) == sha256(shop, "second")


def test_of_two_models_the_first_version_is_of_the_one_that_is_named(tmp_path: Path) -> None:
    shop = TileShop(tmp_path / "shop", dict.fromkeys(range(8), 1))
    shop.add_model("second")
    shop.push()

    made = published(shop, Terms(begin_again=True, model=sha256(shop, "first")))

    assert newest_of(made) == sha256(shop, "first")


def test_a_model_whose_signing_was_cut_off_comes_after_a_later_one(
    shop: TileShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_cut_off_before_signing(shop, "second", monkeypatch)
    shop.add_model("third")
    published(shop)
    with pytest.raises(ServerError, match="model add"):
        published(shop, Terms(begin_again=True, model=sha256(shop, "second")))

    shop.add_model("second")

    assert newest_of(published(shop)) == sha256(shop, "second")


def test_a_model_that_lacks_what_was_rolled_back_begins_all_the_same(shop: TileShop) -> None:
    del shop.stock[7]
    shop.publish()
    shop.add_model("second")
    releasing.roll_back(shop.catalogue, 1)

    assert newest_of(published(shop)) == sha256(shop, "second")


def test_what_is_rolled_back_is_embedded_by_the_models_that_came_since(shop: TileShop) -> None:
    del shop.stock[7]
    shop.publish()
    shop.add_model("second")
    assert published(shop) is not None

    releasing.roll_back(shop.catalogue, 1)

    assert published(shop).manifests[-1].products == 8  # type: ignore[union-attr]
    assert shop.sync("device").version == 4


def test_what_is_pushed_beside_a_new_model_is_embedded_by_it(shop: TileShop) -> None:
    def then_a_model_comes(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("sending", total):
            shop.add_model("second")
            published(shop)

    shop.stock[20] = 1
    shop.push(progress=then_a_model_comes)

    assert [each.products for each in published(shop).manifests] == [9, 9]  # type: ignore[union-attr]


def test_a_model_that_comes_again_keeps_its_files_beside_a_collection(
    shop: TileShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.add_model("second")
    shop.publish()
    shop.now += timedelta(days=31)
    shop.stock[3] = 9
    shop.publish()
    shop.stock[3] = 10
    shop.now += timedelta(hours=1)
    shop.publish()  # the first is noted as needed no more
    for path in (shop.catalogue.folder / "bundles").iterdir():
        os.utime(path, ((shop.now - timedelta(days=1)).timestamp(),) * 2)
    shop.now += timedelta(hours=25)
    put = Blobs.put

    def then_files_are_collected(self: Blobs, chunks: Any) -> object:
        found = put(self, chunks)
        monkeypatch.setattr(Blobs, "put", put)
        with pytest.raises(ServerError, match="database is locked"):
            releasing.collect(shop.catalogue, now=shop.now)
        return found

    monkeypatch.setattr(Blobs, "put", then_files_are_collected)
    shop.catalogue = replace(shop.catalogue, busy_seconds=0.1)
    shop.add_model("first")
    releasing.collect(shop.catalogue, now=shop.now)

    manifest = published(shop).manifests[-1]  # type: ignore[union-attr]
    assert (shop.public / "blobs" / manifest.bundle.sha256.hex()).exists()
    assert shop.sync("device").version == manifest.version
