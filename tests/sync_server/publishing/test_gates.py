"""What looks wrong is held before anybody sees it; what a shop does every day is not."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.making.embeddings import clustered, unit
from tests.making.publishes import BAD, GATES, GOOD, make_server
from tests.making.servers import Server
from tests.making.shops import bare_bundle, make_shop

from pocketlens.errors import PublishHeld
from pocketlens_server.publishing import gates, holdings
from pocketlens_server.publishing.gate_limits import Gate, GateLimits
from pocketlens_server.publishing.gates import Gates

LIMITS = GateLimits()
EXPECTED = {
    "cut_feed": Gate.LOST_ROWS,
    "lost_pictures": Gate.LOST_ROWS,
    "zero_vector": Gate.VECTORS,
    "nan_vector": Gate.VECTORS,
    "hub_for_photos": Gate.HUB,
    "one_picture": Gate.SHARED_PICTURE,
    "wrong_codes": Gate.CODEBOOK,
    "shifted_pictures": Gate.CANARIES,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_version_is_held_and_nothing_of_it_is_left(tmp_path: Path, name: str) -> None:
    server = make_server(tmp_path)
    server.publish(GATES)
    before = holdings.read_visible(server.public).manifests, server.catalogue.vectors.manifests()
    BAD[name](server, random.Random(1))

    with pytest.raises(PublishHeld, match="Version 2 is held, nothing has changed") as held:
        server.publish(GATES)

    assert EXPECTED[name].value in dict(held.value.reasons)
    assert (
        holdings.read_visible(server.public).manifests,
        server.catalogue.vectors.manifests(),
    ) == before
    assert server.catalogue.history.head == 1


def test_what_the_operator_means_passes_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server(tmp_path)
    server.publish(GATES)
    BAD["cut_feed"](server, random.Random(1))

    with caplog.at_level(logging.WARNING):
        published = server.publish(Gates(LIMITS, {Gate.LOST_ROWS}))

    assert published.version == 2
    assert "publish.allowed version=2 gate=lost-rows" in caplog.text


def test_vectors_that_are_none_are_held_though_allowed(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    server.publish(GATES)
    BAD["nan_vector"](server, random.Random(1))

    with pytest.raises(PublishHeld) as held:
        server.publish(Gates(LIMITS, set(Gate)))

    assert "--allow" not in str(held.value)


@pytest.mark.parametrize("seed", range(2))
def test_what_a_shop_does_passes(tmp_path: Path, seed: int) -> None:
    server, rng = make_server(tmp_path), random.Random(seed)
    server.publish(GATES)
    days = list(GOOD.values())
    rng.shuffle(days)

    for change in days:
        change(server, rng)
        server.publish(GATES)

    assert server.catalogue.history.head == 1 + len(GOOD)


def test_one_answer_to_everything_is_held_at_the_first_version_too(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    BAD["hub_for_photos"](server, random.Random(1))

    with pytest.raises(PublishHeld, match="first answer to"):
        server.publish(GATES)


def test_small_shops_may_lose_what_is_a_large_share_of_them() -> None:
    assert not list(gates.lost_rows("products", 30, 20, LIMITS))
    assert not list(gates.lost_rows("products", 100, 80, LIMITS))
    assert list(gates.lost_rows("products", 100, 79, LIMITS))


def test_a_picture_that_was_shared_before_holds_nothing_until_it_spreads() -> None:
    picture = bytes(32)
    many = LIMITS.products_a_picture + 1

    assert not list(gates.shared_pictures({picture: many}, {picture: many}, LIMITS))
    assert list(gates.shared_pictures({picture: many}, {picture: many + 1}, LIMITS))
    assert not list(gates.shared_pictures({}, {picture: many - 1}, LIMITS))


def test_answers_of_products_that_are_gone_are_no_change() -> None:
    old = [frozenset({key}) for key in range(20)]
    new = [frozenset({99})] * 20

    assert not list(gates.changed_answers(old, new, {99}, 0, LIMITS))
    assert list(gates.changed_answers(old, new, {*range(20), 99}, 0.5, LIMITS))


def test_each_length_beside_one_is_told() -> None:
    rows = np.array([[1, 0], [0, 0], [np.nan, 0], [np.inf, 0], [3, 4], [0.6, 0.8]], np.float32)

    (found,) = gates.bad_vectors(range(6), rows, "a model")

    assert "4 embeddings by a model" in found.text


@pytest.mark.parametrize("begun_again", [False, True])
def test_a_new_model_is_looked_at_however_many_generations_there_were(
    tmp_path: Path, begun_again: bool
) -> None:
    shop = make_shop(tmp_path / "shop", products=30)
    flat = shop.embeddings.copy()
    flat[:, 8:] *= 0.05
    server = Server.of_shop(replace(shop, embeddings=unit(flat)), tmp_path)
    server.publish()
    for row, embedding in enumerate(clustered(np.random.default_rng(3), 12, 16)):
        server.put_image(f"new-{row}", embedding, ["sku-1"])
    lenient = Gates(GateLimits(found_share=0))
    server.publish(lenient)
    if begun_again:
        server.publish(lenient, begin_again=True)
    server.add_model(bare_bundle(16, name="broken"))
    rng = np.random.default_rng(0)
    hub = unit(rng.normal(size=(1, 16)).astype(np.float32))[0]
    for picture in server.pictures:  # by a damaged model all pictures are nearly the same
        noise = rng.normal(size=16).astype(np.float32) * 1e-4
        server.catalogue.vectors.put_embeddings(2, {picture: unit((hub + noise)[None])[0]})

    with pytest.raises(PublishHeld):
        server.publish(Gates(GateLimits()))
