"""A backend's calls over gRPC: each operation answered, applied once, published when it says so."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image as Pillow
from tests.making.serving import Address, serving
from tests.making.tiles import TileShop, tile

from pocketlens.errors import (
    Conflict,
    InvalidOperation,
    NotFound,
    PocketLensError,
    ServerError,
)
from pocketlens.formats.manifest import Manifest
from pocketlens.products import Image, Price, Product
from pocketlens_protos.v1 import catalog_pb2 as nouns
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_protos.v1 import catalog_service_pb2_grpc as stubs
from pocketlens_server.client import (
    CatalogueClient,
    DeleteImage,
    DeleteProduct,
    PatchProduct,
    PutImage,
    PutProduct,
    Result,
)
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.publishing import comparing, releasing
from pocketlens_server.storage.history import OFFER
from pocketlens_server.storage.jobs import JobState


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TileShop:
    made = TileShop(tmp_path_factory.mktemp("shop"), {0: 1, 1: 1}, now=datetime.now(UTC))
    made.publish()
    return made


@pytest.fixture(scope="module")
def address(shop: TileShop) -> Iterator[Address]:
    with serving(shop.folder / "server") as found:
        yield found


@pytest.fixture
def client(address: Address) -> Iterator[CatalogueClient]:
    with CatalogueClient(address.grpc) as made:
        yield made


def answered(address: Address, *requests: messages.IngestRequest) -> list[messages.Outcome]:
    """The outcomes of a stream of messages, behind the one that opens it."""
    opened = messages.IngestRequest(catalogue="main", open=messages.OpenJob())
    with grpc.insecure_channel(address.grpc) as channel:
        stub = stubs.CatalogServiceStub(channel)
        responses = list(stub.Ingest(iter([opened, *requests]), timeout=30))
    assert responses[0].opened.number > 0
    return [each.outcome for each in responses if each.HasField("outcome")]


def shown(id_: str, picture: bytes, **fields: object) -> messages.IngestRequest:
    put = messages.PutImage(
        image=nouns.Image(id=id_), product_ids=["shown"], picture=picture, **fields
    )
    return messages.IngestRequest(operation=messages.Operation(request_id=id_, put_image=put))


def product(id_: str, **fields: object) -> messages.IngestRequest:
    put = messages.PutProduct(product=nouns.Product(id=id_, **fields))
    operation = messages.Operation(request_id=f"{id_} {sorted(fields)}", put_product=put)
    return messages.IngestRequest(operation=operation)


def test_products_and_images_are_put_embedded_and_published(
    shop: TileShop, client: CatalogueClient
) -> None:
    before = client.status()
    with client.stream() as stream:
        cup = stream.send(PutProduct(Product("cup", title="Cup", price=Price(1250, "EUR"))))
        seen = stream.send(PutImage(Image("cup-1"), b"", ["cup"]), picture=tile(30))
    assert (cup.result().result, cup.result().version) == (Result.APPLIED, before.version + 1)
    assert (seen.result().result, seen.result().version) == (Result.WAITING, 0)

    job = client.wait(stream.job.number)
    published = client.publish(parent=before.version)

    assert (job.state, job.counters.received, job.counters.applied) == (JobState.DONE, 2, 2)
    assert (published.version, published.is_new) == (before.version + 1, True)
    assert shop.sync("device").version == published.version
    assert client.diff(before.version, published.version).products.added_ids == ("cup",)


def test_who_is_second_to_publish_is_told(client: CatalogueClient) -> None:
    version = client.status().version
    client.apply(PutProduct(Product("second")))
    client.publish(parent=version)
    client.apply(PutProduct(Product("third")))

    with pytest.raises(Conflict, match=f"version {version} to be the newest"):
        client.publish(parent=version)
    with pytest.raises(Conflict):
        client.roll_back(version, parent=version)

    assert client.status().version == version + 1
    assert client.publish(parent=version + 1).version == version + 2
    assert not client.publish().is_new


def test_publishers_at_once_are_told_the_versions_that_they_made(
    client: CatalogueClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another is faster wherever the server looks again for what is the newest."""
    version, newest, rivals = client.status().version, releasing.newest, iter(["rival"])

    def late(folder: CatalogueFolder) -> list[Manifest]:
        for rival in rivals:
            client.apply(PutProduct(Product(rival)))
            client.publish()
        return newest(folder)

    monkeypatch.setattr(releasing, "newest", late)
    client.apply(PutProduct(Product("mine")))

    assert client.publish().version == version + 1
    assert not client.publish().is_new


def test_nobody_waits_for_the_comparisons_of_others(
    client: CatalogueClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, compare = threading.Event(), comparing.compare

    def long(*args: Any, **options: Any) -> comparing.Comparison:
        assert may_end.wait(60)
        return compare(*args, **options)

    monkeypatch.setattr(comparing, "compare", long)
    with ThreadPoolExecutor(8) as threads:
        found = [threads.submit(client.diff) for _ in range(8)]
        try:
            client.status()
            client.apply(PutProduct(Product("meanwhile")))
        finally:
            may_end.set()
        assert all(each.result().products.added for each in found)


def test_a_rollback_waits_to_be_published(shop: TileShop, client: CatalogueClient) -> None:
    client.apply(PutProduct(Product("rolled", stock=1)))
    version = client.publish().version
    client.apply(PatchProduct("rolled", stock=2))
    client.publish()

    assert client.roll_back(version) == 1
    client.publish()

    with shop.catalogue.reading() as tables:
        key = tables.history.known_key(1, "rolled") or 0
        now, then = (tables.history.value(OFFER, key, at) for at in (version + 2, version))
    assert now == then
    with pytest.raises(ServerError):
        client.roll_back(version + 100)


def test_a_full_feed_deletes_what_it_does_not_name(client: CatalogueClient) -> None:
    for name in ("kept", "gone"):
        client.apply(PutProduct(Product(name)))
    other = client.stream()
    with client.stream(is_full_feed=True) as feed:
        feed.send(PutProduct(Product("kept")))

    with pytest.raises(InvalidOperation, match="no full feed"):
        client.replace(other.job.number)
    other.close()
    with pytest.raises(InvalidOperation, match="would vanish"):
        client.replace(feed.job.number, lost_share=0)
    replaced = client.replace(feed.job.number, lost_share=1)

    assert replaced.products >= 1
    assert client.job(feed.job.number).has_ended
    assert client.replace(feed.job.number) == replaced  # as where the first answer was lost
    assert client.apply(PatchProduct("gone", stock=1)).result is Result.REFUSED
    assert client.apply(PatchProduct("kept", stock=1)).result is Result.APPLIED


def test_a_full_feed_spares_what_it_names_by_messages_that_are_refused(
    client: CatalogueClient, address: Address
) -> None:
    client.apply(PutProduct(Product("badly priced")))
    with client.stream(is_full_feed=True) as feed:
        for name in ("kept", "mug", "second", "third", "rolled", "shown"):
            feed.send(PutProduct(Product(name)))
    wrong = product("badly priced", price=nouns.Price(minor_units=1, currency="euros"))
    opened = messages.IngestRequest(catalogue="main", open=messages.OpenJob(job=feed.job.number))
    with grpc.insecure_channel(address.grpc) as channel:
        stub = stubs.CatalogServiceStub(channel)
        _, refused, *_ = stub.Ingest(iter([opened, wrong]), timeout=30)
    assert refused.outcome.result == messages.Outcome.REFUSED

    client.replace(feed.job.number, lost_share=1)

    assert client.job(feed.job.number).counters.refused == 1
    assert client.apply(PatchProduct("badly priced", stock=1)).result is Result.APPLIED


def test_a_picture_that_is_none_is_a_dead_letter_until_it_is_mended(
    client: CatalogueClient,
) -> None:
    client.apply(PutProduct(Product("broken")))
    with client.stream() as stream:
        stream.send(PutImage(Image("broken-1"), b"", ["broken"]), picture=b"no picture at all")
    job = client.wait(stream.job.number)

    (letter,) = [each for each in client.dead_letters() if each.image.id == "broken-1"]
    assert (job.counters.dead, letter.job) == (1, job.number)
    assert list(letter.product_ids) == ["broken"]
    assert letter.reason
    assert client.retry([letter.number]) == 1
    with client.stream() as stream:
        stream.send(PutImage(Image("broken-1"), b"", ["broken"]), picture=tile(77))
    client.wait(stream.job.number)

    assert not [each for each in client.dead_letters() if each.image.id == "broken-1"]
    assert client.apply(DeleteImage("broken-1")).result is Result.APPLIED


def test_a_cancelled_job_takes_no_more(client: CatalogueClient) -> None:
    stream = client.stream()
    stream.send(PutProduct(Product("before"))).result()

    cancelled = client.cancel(stream.job.number)
    late = stream.send(PutProduct(Product("after")), request_id="event 1")
    with pytest.raises(Conflict, match=r"is cancelled\. Open another"):
        late.result()
    with pytest.raises(Conflict):
        stream.close()

    assert (cancelled.state, cancelled.counters.applied) == (JobState.CANCELLED, 1)
    assert client.job(stream.job.number) == cancelled
    taken = client.apply(PutProduct(Product("after")), request_id="event 1")
    assert (taken.result, taken.is_repeated) == (Result.APPLIED, False)
    assert client.cancel(stream.job.number).state is JobState.CANCELLED
    with pytest.raises(Conflict):
        client.stream(job=stream.job.number)
    for number in (1 << 40, 2**64 - 1):
        with pytest.raises(NotFound):
            client.job(number)


def test_a_feed_whose_stream_is_silent_is_not_taken_for_abandoned(client: CatalogueClient) -> None:
    streams = [client.stream(is_full_feed=True) for _ in range(12)]  # without one, 10 stay open

    assert {client.job(each.job.number).state for each in streams} == {JobState.OPEN}
    for stream in streams:
        stream.abandon()


# --- messages that are wrong ----------------------------------------------------------------------


def test_pictures_come_whole_or_in_parts_or_are_refused_alone(address: Address) -> None:
    whole = tile(50)
    large = noise(600)
    parts = [large[at : at + 100_000] for at in range(0, len(large), 100_000)]

    outcomes = answered(
        address,
        product("shown"),
        shown("whole", whole),
        shown("said", whole, picture_sha256=bytes(32)),
        shown("none", b""),
        shown("parts", parts[0], picture_bytes=len(large)),
        *(messages.IngestRequest(picture_part=part) for part in parts[1:]),
        shown("half", parts[0], picture_bytes=len(large)),
        shown("more", whole, picture_bytes=3),
        shown("huge", parts[0], picture_bytes=1 << 40),
        *(messages.IngestRequest(picture_part=part) for part in parts[1:]),
        shown("known", b"", picture_sha256=hashlib.sha256(whole).digest()),
        shown("unknown", b"", picture_sha256=hashlib.sha256(b"?").digest()),
        shown("last half", parts[0], picture_bytes=len(large)),
    )

    results = {each.request_id: each.result for each in outcomes}
    refused, waiting = messages.Outcome.REFUSED, messages.Outcome.WAITING
    assert len(outcomes) == 11
    assert results["whole"] == results["parts"] == waiting
    assert results["known"] in (waiting, messages.Outcome.APPLIED)
    assert results["unknown"] == messages.Outcome.PICTURE_NEEDED
    for name in ("said", "none", "half", "more", "huge", "last half"):
        assert results[name] == refused, name
    assert all(each.reason for each in outcomes if each.result == refused)


def test_operations_that_cannot_be_are_refused_and_the_next_is_not(address: Address) -> None:
    wrong = [
        product("x" * 10_000),
        product(""),
        product("negative", price=nouns.Price(minor_units=-1, currency="EUR")),
        product("large", price=nouns.Price(minor_units=2**60, currency="EUR")),
        product("currency", price=nouns.Price(minor_units=1, currency="euros")),
        product("nowhere", price=nouns.Price(minor_units=1, currency="EUX")),
        product("stock", stock=-5),
        product("text", title="t" * 9000),
        product("attributes", attributes={str(n): "x" for n in range(101)}),
        messages.IngestRequest(operation=messages.Operation(request_id="nothing")),
        messages.IngestRequest(
            operation=messages.Operation(
                request_id="r" * 200, delete_product=messages.DeleteProduct(product_id="a")
            )
        ),
        messages.IngestRequest(
            operation=messages.Operation(delete_product=messages.DeleteProduct(product_id="a"))
        ),
        messages.IngestRequest(
            operation=messages.Operation(
                request_id="revision",
                revision=2**64 - 1,
                delete_product=messages.DeleteProduct(product_id="a"),
            )
        ),
    ]

    outcomes = answered(address, *wrong, product("right"))

    assert [each.result for each in outcomes[:-1]] == [messages.Outcome.REFUSED] * len(wrong)
    assert all(each.reason for each in outcomes[:-1])
    assert outcomes[-1].result == messages.Outcome.APPLIED


@pytest.mark.parametrize(
    ("requests", "code"),
    [
        ([], "INVALID_ARGUMENT"),
        ([messages.IngestRequest(catalogue="main")], "INVALID_ARGUMENT"),
        ([messages.IngestRequest(catalogue="none", open=messages.OpenJob())], "NOT_FOUND"),
        ([messages.IngestRequest(catalogue="main", open=messages.OpenJob(job=99))], "NOT_FOUND"),
        (
            [
                messages.IngestRequest(catalogue="main", open=messages.OpenJob()),
                messages.IngestRequest(picture_part=b"of none"),
            ],
            "INVALID_ARGUMENT",
        ),
        (
            [
                messages.IngestRequest(catalogue="main", open=messages.OpenJob()),
                messages.IngestRequest(catalogue="main", open=messages.OpenJob()),
            ],
            "INVALID_ARGUMENT",
        ),
    ],
)
def test_streams_that_are_none_are_refused(
    address: Address, requests: list[messages.IngestRequest], code: str
) -> None:
    with grpc.insecure_channel(address.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        list(stubs.CatalogServiceStub(channel).Ingest(iter(requests), timeout=30))

    assert caught.value.code().name == code


@pytest.mark.parametrize("behind", [0, 2])
def test_a_text_that_is_no_utf8_is_told_as_that(address: Address, behind: int) -> None:
    right = product("written before it")
    wrong = product("caf?").SerializeToString().replace(b"caf?", b"caf\xe9")
    sent = [messages.IngestRequest(catalogue="main", open=messages.OpenJob()), *[right] * behind]
    with grpc.insecure_channel(address.grpc) as channel:
        call = channel.stream_stream("/pocketlens.v1.CatalogService/Ingest")
        with pytest.raises(grpc.RpcError) as caught:
            list(call(iter([*(each.SerializeToString() for each in sent), wrong]), timeout=30))

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "texts in UTF-8" in caught.value.details()


def test_a_catalogue_that_is_not_there_has_nothing(address: Address) -> None:
    with CatalogueClient(address.grpc, "none") as nobody:
        for call in (nobody.status, nobody.jobs, nobody.publish, nobody.diff, nobody.stream):
            with pytest.raises(NotFound):
                call()


def test_limits_of_lists_are_refused_beyond_what_is_said(client: CatalogueClient) -> None:
    with pytest.raises(InvalidOperation):
        client.jobs(limit=1001)
    with pytest.raises(InvalidOperation, match="gates"):
        client.publish(allowed_gates=["no gate"])
    with pytest.raises(PocketLensError):
        client.publish(rollout=2)


def test_deleting_what_is_not_there_is_no_error(client: CatalogueClient) -> None:
    assert client.apply(DeleteProduct("never")).result is Result.UNCHANGED
    assert client.apply(DeleteImage("never")).result is Result.UNCHANGED


def noise(side: int) -> bytes:
    """A picture that does not compress, PNG."""
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
