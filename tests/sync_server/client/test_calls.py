"""What a backend asks of a catalogue besides its operations; services/test_catalog.py has more."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.making.fault_proxy import FaultProxy
from tests.making.serving import serving
from tests.making.tiles import TileShop, tile

from pocketlens.errors import Conflict, InvalidOperation, NotFound, ServerError, ServerUnavailable
from pocketlens.products import Image, Product
from pocketlens_server.client import CatalogueClient, PatchProduct, PutImage, PutProduct, Result
from pocketlens_server.client.connections import Patience
from pocketlens_server.folders import MAIN, ServerFolder
from pocketlens_server.storage.jobs import JobState
from pocketlens_server.storage.waiting_images import WaitingImage


def test_one_operation_is_a_job_of_its_own(client: CatalogueClient) -> None:
    first = client.apply(PutProduct(Product("mug", stock=1)), revision=2, request_id="a")
    again = client.apply(PutProduct(Product("mug", stock=1)), revision=2, request_id="a")
    older = client.apply(PatchProduct("mug", stock=9), revision=1)

    assert (first.result, first.request_id, first.is_repeated) == (Result.APPLIED, "a", False)
    assert (again.result, again.is_repeated) == (Result.APPLIED, True)
    assert (older.result, bool(older.reason)) == (Result.SKIPPED, True)
    assert [each.number for each in client.jobs()] == [3, 2, 1]
    assert {each.state for each in client.jobs()} == {JobState.DONE}


def test_jobs_are_listed_page_after_page(client: CatalogueClient) -> None:
    for number in range(5):
        client.apply(PutProduct(Product(f"sku-{number}")))

    pages = [client.jobs(limit=2), client.jobs(limit=2, before=4), client.jobs(before=2)]

    assert [[each.number for each in page] for page in pages] == [[5, 4], [3, 2], [1]]


def test_who_waits_gets_the_job_as_it_is_in_the_end(client: CatalogueClient) -> None:
    with client.stream(expected=7) as stream:
        found = client.wait(stream.job.number, seconds=0.05)
        assert (found.state, found.has_ended, found.counters.expected) == (JobState.OPEN, False, 7)

    assert client.wait(stream.job.number).state is JobState.DONE


def test_a_job_whose_pictures_nothing_will_embed_is_not_waited_for(
    client: CatalogueClient,
) -> None:
    with client.stream() as stream:
        stream.send(PutProduct(Product("mug")))
        stream.send(PutImage(Image("mug-1"), b"", ["mug"]), picture=tile(1))

    with pytest.raises(ServerError, match="Expected a model"):
        client.wait(stream.job.number)


def test_all_dead_letters_are_listed_purged_and_retried(
    server: ServerFolder, client: CatalogueClient
) -> None:
    client.apply(PutProduct(Product("mug")))
    with server.catalogue(MAIN).changing() as tables:
        for number in range(1_001):
            waiting = WaitingImage(Image(f"mug-{number}"), bytes(32), 1, [1])
            tables.dead_letters.put(waiting, ["mug"], "no picture", now=datetime.now(UTC))

    letters = client.dead_letters()
    assert [each.image.id for each in letters] == [f"mug-{number}" for number in range(1_001)]
    assert client.status().dead_letters == 1_001
    assert client.purge([letters[0].number, letters[1].number]) == 2
    assert client.retry([letters[2].number]) == 1
    assert (client.purge([]), client.retry([])) == (0, 0)  # and not all
    assert client.purge() == 998
    assert client.dead_letters() == []
    assert client.status().waiting_pictures == 1


def test_dead_letters_of_images_of_many_products_are_listed(
    server: ServerFolder, client: CatalogueClient
) -> None:
    products = [f"{number:0200}" for number in range(1_000)]
    with server.catalogue(MAIN).changing() as tables:
        for number in range(25):
            waiting = WaitingImage(Image(f"mug-{number}"), bytes(32), 1, [1])
            tables.dead_letters.put(waiting, products, "no picture", now=datetime.now(UTC))

    letters = client.dead_letters()

    assert [list(each.product_ids) for each in letters] == [products] * 25


def test_a_version_says_what_it_is_and_what_it_costs(tmp_path: Path) -> None:
    shop = TileShop(tmp_path / "shop", {}, now=datetime.now(UTC))
    with serving(shop.folder / "server") as address, CatalogueClient(address.grpc) as client:
        with client.stream() as stream:
            stream.send(PutProduct(Product("mug")))
            stream.send(PutImage(Image("mug-1"), b"", ["mug"]), picture=tile(1))
        client.wait(stream.job.number)
        waiting = client.diff()
        published = client.publish(parent=0)

        assert (waiting.products.added_ids, waiting.images.added_ids) == (("mug",), ("mug-1",))
        assert (published.version, published.is_new) == (1, True)
        [served] = published.generations
        assert (served.images, served.products, served.snapshot_version) == (1, 1, 1)
        assert client.diff(0, 1).delta_bytes > served.snapshot_bytes  # with model and codebook
        assert (client.status().version, client.status().waiting_products) == (1, 0)
        assert client.publish(parent=1).is_new is False


def test_what_a_server_refuses_is_not_asked_again(client: CatalogueClient) -> None:
    refused: list[tuple[type[Exception], Callable[[], object]]] = [
        (NotFound, lambda: client.job(1)),
        (NotFound, lambda: client.wait(1)),
        (NotFound, lambda: client.cancel(1)),
        (NotFound, lambda: client.replace(1)),
        (Conflict, lambda: client.publish(parent=7)),
        (InvalidOperation, lambda: client.publish(rollout=2)),
        (InvalidOperation, lambda: client.publish(allowed_gates=["none"])),
        (InvalidOperation, lambda: client.publish(allowed_gates=["vectors"])),
        (InvalidOperation, lambda: client.diff(3, 2)),
        (InvalidOperation, lambda: client.jobs(limit=1_001)),
    ]
    for error, call in refused:
        with pytest.raises(error) as caught:
            call()
        assert not isinstance(caught.value, ServerUnavailable)


def test_a_call_outlives_a_connection_that_breaks(server: ServerFolder) -> None:
    patience = Patience(seconds=20, first_seconds=0.05, longest_seconds=0.2)
    with (
        serving(server.path) as address,
        FaultProxy(address.port) as proxy,
        CatalogueClient(f"127.0.0.1:{proxy.port}", patience=patience) as client,
    ):
        version = client.status().version
        proxy.cut()

        assert client.status().version == version
        assert proxy.connections == 2
