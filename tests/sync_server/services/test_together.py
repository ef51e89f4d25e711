"""Operations that come in one message: as if one by one, and answered together."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from tests.making.serving import Address, serving

from pocketlens.products import Price, Product
from pocketlens_protos.v1 import catalog_pb2 as nouns
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_protos.v1 import catalog_service_pb2_grpc as stubs
from pocketlens_server.client import CatalogueClient, PatchProduct, PutProduct, Result
from pocketlens_server.folders import ServerFolder
from pocketlens_server.services.ingesting import MAX_TOGETHER

Named = messages.Outcome.Result.Name


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    folder: Path = tmp_path_factory.mktemp("together")
    server = ServerFolder.create(
        folder / "server", offline_keys=folder / "keys", now=datetime.now(UTC)
    )
    with serving(server.path) as found:
        yield found


def answers(address: Address, *requests: messages.IngestRequest) -> list[messages.IngestResponse]:
    """What a stream of messages is answered, between the two words of its job."""
    opened = messages.IngestRequest(catalogue="main", open=messages.OpenJob())
    with grpc.insecure_channel(address.grpc) as channel:
        call = stubs.CatalogServiceStub(channel).Ingest(iter([opened, *requests]), timeout=30)
        return [each for each in call if not each.HasField("opened")]


def together(*operations: messages.Operation) -> messages.IngestRequest:
    return messages.IngestRequest(operations=messages.Operations(operations=operations))


def stock(request_id: str, product: str, pieces: int) -> messages.Operation:
    patch = messages.PatchProduct(product_id=product, stock=pieces)
    return messages.Operation(request_id=request_id, patch_product=patch)


def product(id_: str) -> messages.Operation:
    put = messages.PutProduct(product=nouns.Product(id=id_))
    return messages.Operation(request_id=f"put {id_}", put_product=put)


def results(response: messages.IngestResponse) -> list[str]:
    return [Named(each.result) for each in response.outcomes.outcomes]


def test_each_is_applied_in_its_place_and_refused_alone(address: Address) -> None:
    (response,) = answers(
        address,
        together(
            stock("early", "mug", 1),
            product("mug"),
            stock("late", "mug", 2),
            messages.Operation(request_id="nothing"),
            stock("late", "mug", 2),
            stock("late", "mug", 3),
        ),
    )

    assert results(response) == ["REFUSED", "APPLIED", "APPLIED", "REFUSED", "APPLIED", "REFUSED"]
    ids = [each.request_id for each in response.outcomes.outcomes]
    assert ids == ["early", "put mug", "late", "nothing", "late", "late"]
    assert [each.is_repeated for each in response.outcomes.outcomes][4]


def test_the_same_alone_is_the_same_request(address: Address) -> None:
    alone = messages.IngestRequest(operation=product("cup"))
    first, second = answers(address, alone, together(product("cup"), product("jug")))

    assert Named(first.outcome.result) == "APPLIED"
    assert [each.is_repeated for each in second.outcomes.outcomes] == [True, False]


def test_a_picture_comes_alone(address: Address) -> None:
    """What came with one is refused and names its request; the others go on."""
    picture = b"a picture"
    put = messages.PutImage(image=nouns.Image(id="bowl-1"), product_ids=["bowl"])
    whole, half, known = (messages.PutImage.FromString(put.SerializeToString()) for _ in range(3))
    whole.picture = picture
    half.picture_bytes = 100
    known.picture_sha256 = hashlib.sha256(picture).digest()
    images = [
        messages.Operation(request_id=name, put_image=each)
        for name, each in {"whole": whole, "half": half, "known": known}.items()
    ]
    (response,) = answers(address, together(product("bowl"), *images))

    assert results(response) == ["APPLIED", "REFUSED", "REFUSED", "PICTURE_NEEDED"]
    assert "alone" in response.outcomes.outcomes[1].reason


def test_half_a_picture_before_them_is_refused(address: Address) -> None:
    put = messages.PutImage(
        image=nouns.Image(id="pot-1"), product_ids=["pot"], picture=b"half", picture_bytes=8
    )
    announced = messages.IngestRequest(
        operation=messages.Operation(request_id="half", put_image=put)
    )
    first, second = answers(address, announced, together(product("pot")))

    assert Named(first.outcome.result) == "REFUSED"
    assert results(second) == ["APPLIED"]


@pytest.mark.parametrize("count", [0, MAX_TOGETHER + 1])
def test_too_many_or_none_end_the_stream(address: Address, count: int) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        answers(address, together(*(product(f"p{number}") for number in range(count))))

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(count) in caught.value.details()


def test_as_many_as_may_are_taken_again_and_again(address: Address) -> None:
    """More than a window of operations waits for its answers at once."""
    several = [
        together(*(product(f"r{group}-{number}") for number in range(MAX_TOGETHER)))
        for group in range(8)
    ]
    found = answers(address, *several)

    assert [results(each) for each in found] == [["APPLIED"] * MAX_TOGETHER] * 8


def test_a_client_packs_what_waits_and_gives_each_its_own_outcome(address: Address) -> None:
    with CatalogueClient(address.grpc) as client, client.stream() as stream:
        puts = [stream.send(PutProduct(Product(f"c{number}"))) for number in range(300)]
        prices = [
            stream.send(
                PatchProduct(f"c{number}", price=Price(number, "EUR")), request_id=f"c{number}"
            )
            for number in range(310)
        ]

    assert {each.result().result for each in puts} == {Result.APPLIED}
    assert [each.result().request_id for each in prices] == [f"c{number}" for number in range(310)]
    assert [each.result().result for each in prices[299:301]] == [Result.APPLIED, Result.REFUSED]
