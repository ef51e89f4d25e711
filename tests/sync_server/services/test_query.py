"""QueryService over gRPC: a photo, a vector or a product to products, and no photo is kept."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
import numpy.typing as npt
import pytest
from google.protobuf.message import Message
from PIL import Image as Pillow
from tests.making import pictures as making
from tests.making.colour_bundle import colour_bundle
from tests.making.hostile_messages import ANSWERS, mutants
from tests.making.hostile_requests import extremes
from tests.making.serving import ONE_CLIENT, Address, serving
from tests.making.tiles import TileShop, tile

from pocketlens import Lens
from pocketlens.fallback import messages as codec
from pocketlens.products import Image, Price, Product
from pocketlens.query.embedder import Embedder
from pocketlens.results import SearchResult, Verdict
from pocketlens_protos.v1 import query_service_pb2 as messages
from pocketlens_protos.v1 import query_service_pb2_grpc as stubs
from pocketlens_server.client import (
    CatalogueClient,
    DeleteProduct,
    PatchProduct,
    PutImage,
    PutProduct,
)
from pocketlens_server.config import ServerConfig
from pocketlens_server.query.settings import QuerySettings

TILES = range(12)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TileShop:
    made = TileShop(tmp_path_factory.mktemp("shop"), dict.fromkeys(TILES, 1), now=datetime.now(UTC))
    made.publish()
    made.sync("device")
    return made


@pytest.fixture(scope="module")
def address(shop: TileShop) -> Iterator[Address]:
    with serving(shop.folder / "server") as found:
        yield found


@pytest.fixture(scope="module")
def stub(address: Address) -> Iterator[stubs.QueryServiceStub]:
    with grpc.insecure_channel(address.grpc) as channel:
        yield stubs.QueryServiceStub(channel)


@pytest.fixture(scope="module")
def embedder() -> Iterator[Embedder]:
    with Embedder.open(colour_bundle(name="first")) as made:
        yield made


@contextmanager
def asking(folder: Path, config: ServerConfig | None = None) -> Iterator[stubs.QueryServiceStub]:
    """A server of its own, and who asks it."""
    with serving(folder, config) as address, grpc.insecure_channel(address.grpc) as channel:
        yield stubs.QueryServiceStub(channel)


def photo_of(number: int) -> bytes:
    """A photo of a tile: larger, and as a camera saves it."""
    file = io.BytesIO()
    with Pillow.open(io.BytesIO(tile(number))) as picture:
        picture.convert("RGB").resize((300, 300)).save(file, "JPEG", quality=85)
    return file.getvalue()


def searched(stub: stubs.QueryServiceStub, **fields: object) -> SearchResult:
    request = messages.SearchRequest(**({"catalogue": "main"} | fields))  # type: ignore[arg-type]
    return codec.result_of(stub.Search(request, timeout=30))


def refusal(call: object, request: object) -> tuple[str, str]:
    """The code and the text of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)  # type: ignore[operator]
    return caught.value.code().name, caught.value.details()  # type: ignore[attr-defined]


def ids(found: SearchResult) -> list[str]:
    return [match.product.id for match in found.matches]


def vector(values: npt.ArrayLike, generation: bytes = b"") -> messages.Embedding:
    data = np.asarray(values, "<f4").tobytes()
    return messages.Embedding(generation=generation, values=data)


@pytest.mark.parametrize("number", TILES)
def test_a_photo_finds_its_product(stub: stubs.QueryServiceStub, number: int) -> None:
    found = searched(stub, photo=photo_of(number), k=3)

    assert ids(found)[0] == f"sku-{number}"
    assert len(found.matches) == 3
    assert (found.answered_by, found.accelerator) == ("embedding", "cpu")
    assert found.gallery_size == found.matches_in_filter
    assert found.best == found.matches[0]
    assert min(found.timings.decode_ms, found.timings.embed_ms, found.timings.search_ms) > 0


def test_a_vector_is_answered_as_the_device_answers_up_to_its_codes(
    shop: TileShop, stub: stubs.QueryServiceStub, embedder: Embedder
) -> None:
    with Lens.open(shop.folder / "device") as lens:
        for number in TILES:
            embedding = embedder.embed(photo_of(number))
            here = lens.search_vector(embedding, 5)
            generation = bytes.fromhex(here.generation)
            there = searched(stub, embedding=vector(embedding, generation), k=5)

            assert ids(there)[0] == ids(here)[0]
            assert (there.generation, there.accelerator) == (here.generation, "")
            close = {match.product.id: match.similarity for match in there.matches}
            for match in here.matches:
                if match.product.id in close:
                    assert match.similarity == pytest.approx(close[match.product.id], abs=0.02)


def test_similarities_are_those_of_double_precision(
    stub: stubs.QueryServiceStub, embedder: Embedder
) -> None:
    embeddings = {f"sku-{each}": embedder.embed(tile(each)) for each in TILES}
    query = embedder.embed(photo_of(5))
    exact = {
        id_: float(embedding.astype(np.float64) @ query.astype(np.float64))
        for id_, embedding in embeddings.items()
    }

    found = searched(stub, embedding=vector(query), k=100)

    for match in found.matches:
        if match.product.id in exact:
            assert match.similarity == pytest.approx(exact[match.product.id], abs=2e-6)
    assert ids(found)[0] == max(exact, key=exact.__getitem__)


def test_filters_and_boxes_hold_before_the_cut(stub: stubs.QueryServiceStub) -> None:
    sheet = Pillow.new("RGB", (600, 300))
    for place, number in enumerate((3, 7)):
        with Pillow.open(io.BytesIO(photo_of(number))) as picture:
            sheet.paste(picture, (300 * place, 0))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=90)

    for number, box in ((3, (0, 0, 300, 300)), (7, (300, 0, 600, 300))):
        sides = dict(zip(("left", "top", "right", "bottom"), box, strict=True))
        found = searched(stub, photo=file.getvalue(), box=messages.Box(**sides))
        assert ids(found)[0] == f"sku-{number}"
    nothing = searched(stub, photo=photo_of(1), filter=messages.Filter(category="of nothing"))
    assert (nothing.matches, nothing.matches_in_filter) == ((), 0)
    assert nothing.best is not None
    assert not nothing.best_is_in_filter


def test_a_shop_without_prices_tells_none(stub: stubs.QueryServiceStub) -> None:
    request = messages.EstimatePriceRequest(catalogue="main", photo=photo_of(3))

    found = stub.EstimatePrice(request, timeout=30)

    assert (found.currency, found.HasField("band"), len(found.items)) == ("", False, 0)
    assert (found.version, found.answered_by, len(found.generation)) == (1, "embedding", 32)
    request.filter.currency = "euro"
    assert refusal(stub.EstimatePrice, request)[0] == "INVALID_ARGUMENT"
    assert refusal(stub.EstimatePrice, messages.EstimatePriceRequest(catalogue="main"))[0] == (
        "INVALID_ARGUMENT"
    )


def test_a_shop_without_categories_tells_none(stub: stubs.QueryServiceStub) -> None:
    plain = searched(stub, photo=photo_of(3))
    for auto_category in (messages.SearchRequest.SEARCH, messages.SearchRequest.TELL):
        found = searched(stub, photo=photo_of(3), auto_category=auto_category)

        assert (found.categories, found.searched) == ((), ())
        assert ids(found) == ids(plain)


def test_what_is_similar_is_another_product(stub: stubs.QueryServiceStub) -> None:
    request = messages.SimilarRequest(catalogue="main", product="sku-4", k=3)
    found = codec.result_of(stub.Similar(request, timeout=30))
    with_itself = searched(stub, photo=tile(4), k=4)

    assert ids(found) == ids(with_itself)[1:]
    assert found.verdict is Verdict.UNSURE
    assert found.confidence is None


def test_what_is_similar_may_be_varied(stub: stubs.QueryServiceStub) -> None:
    request = messages.SimilarRequest(catalogue="main", product="sku-4", k=4)
    nearest = codec.result_of(stub.Similar(request, timeout=30))
    request.variety = 0.9
    varied = codec.result_of(stub.Similar(request, timeout=30))

    assert ids(varied)[0] == ids(nearest)[0]
    assert ids(varied) != ids(nearest)
    for variety in (2, float("nan")):
        request.variety = variety
        assert refusal(stub.Similar, request)[0] == "INVALID_ARGUMENT"


def test_an_embedding_is_what_a_device_makes(
    stub: stubs.QueryServiceStub, embedder: Embedder
) -> None:
    request = messages.EmbedRequest(catalogue="main", photo=photo_of(2))
    for model in (messages.EmbedRequest.BEST, messages.EmbedRequest.BUNDLE):
        request.model = model
        found = stub.Embed(request, timeout=30)

        values = np.frombuffer(found.values, "<f4")
        np.testing.assert_allclose(values, embedder.embed(photo_of(2)), atol=1e-6)
        assert (found.pipeline, len(found.generation)) == ("embedding", 32)


def test_answers_follow_versions_and_show_nothing_before_it_is_published(
    shop: TileShop, address: Address, stub: stubs.QueryServiceStub
) -> None:
    before = searched(stub, photo=photo_of(77), k=1)
    with CatalogueClient(address.grpc) as client:
        with client.stream() as stream:
            stream.send(PutProduct(Product("new", title="New", price=Price(1250, "EUR"))))
            stream.send(
                PutImage(Image("new-1", "https://shop/new.jpg"), b"", ["new"]), picture=tile(77)
            )
        client.wait(stream.job.number)
        assert ids(searched(stub, photo=photo_of(77), k=1)) == ids(before)

        published = client.publish()
        after = waited(lambda: searched(stub, photo=photo_of(77), k=1), published.version)
        assert after.matches[0].product == Product("new", title="New", price=Price(1250, "EUR"))
        assert after.matches[0].image == Image("new-1", "https://shop/new.jpg")

        with client.stream() as stream:
            stream.send(PatchProduct("new", price=Price(990, "EUR"), stock=4))
            stream.send(DeleteProduct("sku-11"))
        published = client.publish()
        after = waited(lambda: searched(stub, photo=photo_of(77), k=100), published.version)
    assert after.matches[0].product.price == Price(990, "EUR")
    assert "sku-11" not in ids(after)
    cheap = messages.Filter(max_price="9.90", in_stock=True)
    assert ids(searched(stub, photo=photo_of(77), filter=cheap)) == ["new"]


def waited(look: object, version: int) -> SearchResult:
    """The answer of a version, which comes within a second or two of its publish."""
    until = time.monotonic() + 20
    while (found := look()).version < version:  # type: ignore[operator]
        assert time.monotonic() < until
        threading.Event().wait(0.05)
    assert found.version == version
    return found


@pytest.mark.parametrize(
    ("fields", "code", "told"),
    [
        ({}, "INVALID_ARGUMENT", "a photo or an embedding"),
        ({"photo": b""}, "INVALID_ARGUMENT", "photo"),
        ({"photo": b"text"}, "INVALID_ARGUMENT", "picture"),
        ({"photo": making.encoded(making.drawn(96, 72))[:400]}, "INVALID_ARGUMENT", ""),
        ({"photo": photo_of(1), "k": 10_000}, "INVALID_ARGUMENT", "k of 1 to 100"),
        ({"photo": photo_of(1), "box": {"right": 301, "bottom": 9}}, "INVALID_ARGUMENT", "box"),
        ({"photo": photo_of(1), "box": {"right": float("nan")}}, "INVALID_ARGUMENT", "box"),
        ({"photo": photo_of(1), "filter": {"max_price": "NaN"}}, "INVALID_ARGUMENT", "max_price"),
        ({"photo": photo_of(1), "filter": {"currency": "euro"}}, "INVALID_ARGUMENT", "currency"),
        ({"photo": photo_of(1), "auto_category": 7}, "INVALID_ARGUMENT", "0 to 2"),
        (
            {"photo": photo_of(1), "auto_category": 1, "filter": {"category": "c"}},
            "INVALID_ARGUMENT",
            "Received both: 'c'",
        ),
        ({"photo": photo_of(1), "catalogue": "other"}, "NOT_FOUND", "other"),
        ({"embedding": vector(np.ones(3))}, "INVALID_ARGUMENT", "float32"),
        ({"embedding": vector(np.ones(5))}, "INVALID_ARGUMENT", "float32"),
        ({"embedding": vector([np.nan] * 4)}, "INVALID_ARGUMENT", ""),
        ({"embedding": vector([1], b"x")}, "INVALID_ARGUMENT", "generation"),
        ({"embedding": vector([1], bytes(32))}, "NOT_FOUND", "generation"),
        ({"embedding": vector([1]), "box": {"right": 9}}, "INVALID_ARGUMENT", "no box"),
    ],
)
def test_what_cannot_be_asked_is_told(
    stub: stubs.QueryServiceStub, fields: dict[str, object], code: str, told: str
) -> None:
    request = messages.SearchRequest(**({"catalogue": "main"} | fields))  # type: ignore[arg-type]

    found, text = refusal(stub.Search, request)

    assert found == code
    assert told in text


@pytest.mark.parametrize("length", [0.5, 2, np.nan, np.inf])
def test_an_embedding_that_is_no_unit_vector_is_told(
    stub: stubs.QueryServiceStub, embedder: Embedder, length: float
) -> None:
    values = embedder.embed(photo_of(1)) * length

    request = messages.SearchRequest(catalogue="main", embedding=vector(values))

    assert refusal(stub.Search, request)[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("to", [{}, {"product": "nothing"}, {"image": "nothing"}, {"product": ""}])
def test_what_is_similar_to_nothing_is_told(
    stub: stubs.QueryServiceStub, to: dict[str, str]
) -> None:
    request = messages.SimilarRequest(catalogue="main", **to)

    assert refusal(stub.Similar, request)[0] in ("NOT_FOUND", "INVALID_ARGUMENT")


def requests_that_are_right(embedder: Embedder) -> dict[str, list[Message]]:
    """By the method."""
    box = messages.Box(left=1, top=2, right=90, bottom=80)
    wanted = messages.Filter(
        category="c", min_price="1.50", max_price="9", currency="EUR", attributes={"size": "9"}
    )
    main, photo = {"catalogue": "main"}, photo_of(1)
    embedding = vector(embedder.embed(photo))
    return {
        "Search": [
            messages.SearchRequest(**main, photo=photo, k=3, filter=wanted, box=box),
            messages.SearchRequest(**main, embedding=embedding, k=3, auto_category=2),
        ],
        "Similar": [
            messages.SimilarRequest(**main, product="sku-1", k=3, filter=wanted),
            messages.SimilarRequest(**main, image="1.png", k=3, variety=0.5),
        ],
        "EstimatePrice": [
            messages.EstimatePriceRequest(**main, photo=photo, filter=wanted, box=box),
            messages.EstimatePriceRequest(**main, embedding=embedding),
        ],
        "Embed": [messages.EmbedRequest(**main, photo=photo, box=box, model=1)],
    }


@pytest.mark.parametrize("method", ["Search", "Similar", "EstimatePrice", "Embed"])
def test_requests_that_lie_are_refused_by_their_fault(
    address: Address, stub: stubs.QueryServiceStub, embedder: Embedder, method: str
) -> None:
    seeds = requests_that_are_right(embedder)[method]
    right = [each.SerializeToString() for each in seeds]
    lying = [*mutants(right, 120, random.Random(37)), *extremes(seeds)]
    with grpc.insecure_channel(address.grpc) as channel:
        ask = channel.unary_unary(f"/pocketlens.v1.QueryService/{method}")
        for data in right:
            ask(data, timeout=30)
        for data in lying:
            call = ask.future(data, timeout=30)
            assert call.code().name in ANSWERS, (data, call.details())

    assert ids(searched(stub, photo=photo_of(1), k=1)) == ["sku-1"]


def test_a_photo_that_no_message_holds_is_told_how_large_it_may_be(
    stub: stubs.QueryServiceStub,
) -> None:
    request = messages.SearchRequest(catalogue="main", photo=bytes(1 << 20))

    code, told = refusal(stub.Search, request)

    assert code == "RESOURCE_EXHAUSTED"
    assert "1048576" in told


def test_a_bomb_harms_nobody_else(stub: stubs.QueryServiceStub) -> None:
    bomb = making.flat_jpeg(30_000, 29_000, progressive=True)
    request = messages.SearchRequest(catalogue="main", photo=bomb)

    assert refusal(stub.Search, request)[0] == "INVALID_ARGUMENT"
    assert ids(searched(stub, photo=photo_of(1), k=1)) == ["sku-1"]


def test_nothing_of_a_photo_is_kept_or_logged(
    shop: TileShop, stub: stubs.QueryServiceStub, caplog: pytest.LogCaptureFixture
) -> None:
    marked = making.with_exif(photo_of(6), making.exif(1))
    with caplog.at_level(logging.DEBUG):
        searched(stub, photo=marked)
        refusal(stub.Search, messages.SearchRequest(catalogue="main", photo=marked[:2000]))

    parts = [marked[at : at + 24] for at in range(200, len(marked) - 24, 500)]
    for path in (shop.folder / "server").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(part in data for part in parts), path
    assert not any(repr(part)[2:-1] in caplog.text for part in parts)


def test_too_many_are_refused_at_once_and_told_when_to_come_again(shop: TileShop) -> None:
    config = ServerConfig(limits=ONE_CLIENT, query=QuerySettings(waiting=1, batch=1, decoders=1))
    with asking(shop.folder / "server", config) as stub:
        searched(stub, photo=photo_of(1))
        large = making.encoded(making.drawn(3000, 2000), quality=40)
        request = messages.SearchRequest(catalogue="main", photo=large[: 1 << 20])
        calls = [stub.Search.future(request, timeout=30) for _ in range(24)]
        codes = {each.code() for each in calls}

    refused = [each for each in calls if each.code() is grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    for each in refused:
        assert "Try again in" in each.details()
        assert int(dict(each.trailing_metadata())["grpc-retry-pushback-ms"]) > 0


def test_a_server_may_leave_questions_out(shop: TileShop) -> None:
    config = ServerConfig(limits=ONE_CLIENT, query=QuerySettings(enabled=False))
    with asking(shop.folder / "server", config) as stub:
        request = messages.SearchRequest(catalogue="main", photo=photo_of(1))
        assert refusal(stub.Search, request)[0] == "UNIMPLEMENTED"


def test_a_catalogue_without_a_version_is_told(tmp_path: Path) -> None:
    shop = TileShop(tmp_path / "shop", {0: 1}, now=datetime.now(UTC))
    with asking(shop.folder / "server") as stub:
        request = messages.SearchRequest(catalogue="main", photo=photo_of(0))
        assert refusal(stub.Search, request) == (
            "NOT_FOUND",
            "The catalogue 'main' has no version yet.",
        )
        shop.publish()
        assert ids(searched(stub, photo=photo_of(0))) == ["sku-0"]


def test_a_new_model_answers_and_the_old_ones_vectors_too(tmp_path: Path) -> None:
    shop = TileShop(tmp_path / "shop", {0: 1, 1: 1}, now=datetime.now(UTC))
    shop.publish()
    first = shop.sync("device")
    with asking(shop.folder / "server") as stub:
        before = searched(stub, photo=photo_of(1))
        shop.add_model("second")
        shop.publish()
        after = waited(lambda: searched(stub, photo=photo_of(1)), first.version + 1)

        assert after.generation != before.generation
        with Embedder.open(colour_bundle(name="first")) as embedder:
            embedding = vector(embedder.embed(photo_of(1)), bytes.fromhex(before.generation))
        old = searched(stub, embedding=embedding)
    assert (old.generation, old.version) == (before.generation, after.version)
    assert ids(old)[0] == ids(after)[0] == "sku-1"
