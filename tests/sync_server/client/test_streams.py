"""Streams of operations over connections that break, to servers that come and go."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import grpc
import pytest
from tests.making.fault_proxy import Ending, FaultProxy, Toxic
from tests.making.serving import Address, serving

from pocketlens.errors import InvalidOperation, NotFound, ServerUnavailable
from pocketlens.products import Image, Product
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_protos.v1 import catalog_service_pb2_grpc as stubs
from pocketlens_server.client import (
    CatalogueClient,
    OperationStream,
    Outcome,
    PatchProduct,
    PutImage,
    PutProduct,
    Result,
)
from pocketlens_server.client.connections import Patience
from pocketlens_server.client.streams import HELD_BYTES, WINDOW
from pocketlens_server.config import ServerConfig
from pocketlens_server.folders import MAIN, ServerFolder
from pocketlens_server.limits import Limits
from pocketlens_server.storage.jobs import JobState

SOON = Patience(seconds=20, first_seconds=0.05, longest_seconds=0.2)
PING = b"\0\0\x08\x06\0\0\0\0\0"  # a frame of HTTP/2 that asks (RFC 9113, 6.7), but for its bytes
AT_ONCE = ServerConfig(limits=Limits(drain_seconds=0.1))


@pytest.mark.parametrize("ending", [Ending.CLOSE, Ending.RESET], ids=lambda each: each.name)
@pytest.mark.parametrize("cut_after", [0, 90, 400, 3000])
def test_a_stream_that_is_cut_goes_on_with_its_job_and_applies_nothing_twice(
    address: Address, cut_after: int, ending: Ending
) -> None:
    toxic = Toxic(cut_after=cut_after, ending=ending)
    with FaultProxy(address.port, toxic) as proxy, through(proxy) as client:
        with client.stream() as stream:
            futures = [stream.send(product(number)) for number in range(200)]
        job = client.job(stream.job.number)

        assert proxy.connections == 2
        assert {each.result().result for each in futures} == {Result.APPLIED}
        assert (job.state, job.counters.applied) == (JobState.DONE, 200)
        assert job.counters.received == 200 + job.counters.repeated
        assert client.status().waiting_products == 200
        assert cut_after < 400 or len(client.jobs()) == 1  # it was opened before


def test_a_job_ends_although_the_word_of_its_end_is_lost(address: Address) -> None:
    products = [product(number) for number in range(20)]
    with FaultProxy(address.port) as proxy, through(proxy) as client:
        put(client, products)
        whole = proxy.sent

    for cut_after in range(whole - 60, whole, 6):
        toxic = Toxic(cut_after=cut_after)
        with FaultProxy(address.port, toxic) as proxy, through(proxy) as client:
            number = put(client, products)
            assert client.job(number).state is JobState.DONE


def test_what_is_cut_while_nothing_is_sent_may_be_gone_on_with(
    address: Address, client: CatalogueClient
) -> None:
    for _ in range(40):  # to gRPC a cut looks like an end, one time in twenty
        proxy = FaultProxy(address.port)
        with through(proxy) as cut:
            with proxy:
                stream = cut.stream()
            stream.abandon()

    assert {each.state for each in client.jobs()} == {JobState.OPEN}
    client.stream(job=stream.job.number).close()


def test_a_stream_outlives_its_server(server: ServerFolder) -> None:
    with FaultProxy(1) as proxy, through(proxy) as client:
        with serving(server.path, AT_ONCE) as first:
            proxy.target = first.port
            stream = client.stream()
            assert stream.send(product(1)).result().result is Result.APPLIED
        later = stream.send(product(2))
        with serving(server.path, AT_ONCE) as second:
            proxy.target = second.port
            assert later.result(20).result is Result.APPLIED
            stream.close()

            job = client.job(stream.job.number)
            assert (job.state, job.counters.applied) == (JobState.DONE, 2)


def test_a_server_that_takes_long_to_open_a_job_is_waited_for(server: ServerFolder) -> None:
    patience = Patience(seconds=0.1, silence_seconds=0.5)
    with (
        serving(server.path) as address,
        FaultProxy(address.port) as proxy,
        through(proxy, patience) as client,
        ThreadPoolExecutor(1) as thread,
    ):
        with server.catalogue(MAIN).changing():  # as a publish does
            opening = thread.submit(client.stream)
            waited_for(lambda: proxy.asked.count(PING) > 1)
            assert not opening.done()
        opening.result(20).close()

        assert proxy.connections == 1
        assert len(client.jobs()) == 1


def test_a_server_that_is_reached_and_says_nothing_is_asked_again(address: Address) -> None:
    patience = Patience(seconds=20, first_seconds=0.05, silence_seconds=0.3)
    toxic = Toxic(cut_after=40, ending=Ending.SILENCE)
    with (
        FaultProxy(address.port, toxic) as proxy,
        through(proxy, patience) as client,
        ThreadPoolExecutor(1) as thread,
    ):
        thread.submit(client.stream).result(20).close()

        assert proxy.connections == 2


def test_patience_ends(server: ServerFolder) -> None:
    little = Patience(seconds=0.3, first_seconds=0.05, longest_seconds=0.1)
    with FaultProxy(1) as proxy, through(proxy, little) as client:
        with pytest.raises(ServerUnavailable, match=f"127.0.0.1:{proxy.port} does not answer"):
            client.stream()

        with serving(server.path, AT_ONCE) as found:
            proxy.target = found.port
            stream = client.stream()
        with pytest.raises(ServerUnavailable):
            stream.send(product(1)).result(20)
        for late in (lambda: stream.send(product(2)), stream.close):
            with pytest.raises(ServerUnavailable):
                late()


class Failing(stubs.CatalogServiceServicer):
    """Opens each stream, and ends it without an outcome, such as for a full disk."""

    def __init__(self, lasting_seconds: float = 0, *, times: int = 1_000_000) -> None:
        self.opened, self._lasting_seconds, self._times = 0, lasting_seconds, times

    def Ingest(self, requests: Any, context: Any) -> Iterator[messages.IngestResponse]:  # noqa: N802
        self.opened += 1
        yield messages.IngestResponse(opened=messages.Job(number=1, kind=1, state=1))
        if self.opened > self._times:
            next(requests)
            next(requests)
            yield messages.IngestResponse(outcome=messages.Outcome(result=1))
        else:
            threading.Event().wait(self._lasting_seconds)
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "The disk has no room.")


@contextmanager
def failing(server: Failing, patience: Patience) -> Iterator[CatalogueClient]:
    with ThreadPoolExecutor(4) as threads:
        served = grpc.server(threads)
        stubs.add_CatalogServiceServicer_to_server(server, served)
        port = served.add_insecure_port("127.0.0.1:0")
        served.start()
        try:
            with CatalogueClient(f"127.0.0.1:{port}", patience=patience) as client:
                yield client
        finally:
            served.stop(None).wait()


def test_patience_ends_with_a_server_that_opens_streams_and_answers_nothing() -> None:
    server = Failing()
    patience = Patience(seconds=1, first_seconds=0.05, longest_seconds=0.2)
    with failing(server, patience) as client:
        stream = client.stream()
        with pytest.raises(ServerUnavailable, match="no room"):
            stream.send(product(1)).result(20)

    assert server.opened < 60  # and is spared


def test_a_stream_that_lasted_was_of_use_without_an_outcome() -> None:
    server = Failing(0.5, times=2)
    patience = Patience(seconds=0.05, first_seconds=0.01, longest_seconds=0.01)
    with failing(server, patience) as client:
        stream = client.stream()
        assert stream.send(product(1)).result(20).result is Result.APPLIED
        stream.abandon()

    assert server.opened == 3


def test_no_more_is_sent_than_may_wait(server: ServerFolder, client: CatalogueClient) -> None:
    with silent(server, client) as stream:
        sent = blocked(stream, lambda: stream.send(product(1)), after=WINDOW)
        stream.abandon()

    with pytest.raises(ServerUnavailable):
        sent[-1].result(0)


def test_who_gives_up_on_an_outcome_hinders_no_other(
    server: ServerFolder, client: CatalogueClient
) -> None:
    async def given_up(sent: Future[Outcome]) -> None:
        await asyncio.wait_for(asyncio.wrap_future(sent), 0.01)

    with silent(server, client) as stream:
        sent = [stream.send(product(number)) for number in range(3)]
        assert not sent[0].cancel()
        with pytest.raises(TimeoutError):
            asyncio.run(given_up(sent[1]))
    stream.close()

    assert {each.result(0).result for each in sent} == {Result.APPLIED}


def test_pictures_that_wait_do_not_fill_the_memory(
    server: ServerFolder, client: CatalogueClient
) -> None:
    picture = bytes(HELD_BYTES * 2 // 5)
    with silent(server, client) as stream:
        blocked(stream, lambda: stream.send(shown("mug"), picture=picture), after=2)
        stream.abandon()


def test_a_picture_that_is_larger_than_may_wait_is_sent_alone(client: CatalogueClient) -> None:
    with client.stream() as stream:
        large = stream.send(shown("mug"), picture=bytes(HELD_BYTES + 1))
        other = stream.send(product(1))

    assert large.result().result is Result.REFUSED
    assert "67,108,865" in large.result().reason
    assert other.result().result is Result.APPLIED


def test_a_stream_that_is_abandoned_leaves_its_job_open(client: CatalogueClient) -> None:
    for _ in range(10):
        stream = client.stream()
        answered = stream.send(product(1), request_id="one")
        answered.result()
        stream.send(product(2), request_id="two")
        stream.abandon()
        job = client.job(stream.job.number)
        assert job.state is JobState.OPEN

    with client.stream(job=job.number) as again:
        repeated = [again.send(product(n), request_id=id_) for n, id_ in ((1, "one"), (2, "two"))]
    assert repeated[0].result().is_repeated
    assert [each.result().result for each in repeated] == [Result.APPLIED] * 2
    assert client.job(job.number).state is JobState.DONE


def test_an_error_of_the_caller_leaves_the_job_open(client: CatalogueClient) -> None:
    with pytest.raises(KeyError), client.stream() as stream:
        raise KeyError("the caller's")

    assert client.job(stream.job.number).state is JobState.OPEN
    with pytest.raises(ServerUnavailable, match="abandoned"):
        stream.send(product(1))


def test_a_stream_is_closed_once_and_takes_nothing_then(client: CatalogueClient) -> None:
    stream = client.stream()
    future = stream.send(product(1))
    stream.close()
    stream.close()

    assert future.done()
    with pytest.raises(InvalidOperation, match="This one was closed"):
        stream.send(product(2))


def test_a_job_that_is_not_there_is_not_gone_on_with(client: CatalogueClient) -> None:
    with pytest.raises(NotFound, match="There is no job 7"):
        client.stream(job=7)


UNSENDABLE: dict[str, Callable[[OperationStream], Future[Outcome]]] = {
    "half a character": lambda stream: stream.send(PutProduct(Product("x", title="\ud83d"))),
    "stock beyond 64 bits": lambda stream: stream.send(PatchProduct("x", stock=2**64)),
    "revision below 0": lambda stream: stream.send(product(1), revision=-1),
    "text of two MB": lambda stream: stream.send(PutProduct(Product("x", title="x" * 2_000_000))),
}


@pytest.mark.parametrize("name", UNSENDABLE)
def test_what_cannot_be_sent_is_refused_and_hinders_nothing(
    client: CatalogueClient, name: str
) -> None:
    with client.stream() as stream:
        refused = UNSENDABLE[name](stream)
        other = stream.send(product(2))

    assert refused.result().result is Result.REFUSED
    assert refused.result().reason
    assert other.result().result is Result.APPLIED


def test_what_is_large_is_sent_in_several_messages(client: CatalogueClient) -> None:
    attributes = {f"attribute {number}": "x" * 8_000 for number in range(40)}
    with client.stream() as stream:
        futures = [
            stream.send(PutProduct(Product(f"sku-{number}", attributes=attributes)))
            for number in range(20)
        ]

    assert {each.result().result for each in futures} == {Result.APPLIED}


def test_a_picture_comes_whole_in_many_parts(
    server: ServerFolder, client: CatalogueClient, tmp_path: Path
) -> None:
    picture = hashlib.shake_128(b"5 MB").digest(5_000_001)
    (tmp_path / "picture").write_bytes(picture)
    sha256 = hashlib.sha256(picture).digest()

    with client.stream() as stream:
        stream.send(PutProduct(Product("mug")))
        of_a_file = stream.send(shown("mug-1"), picture=tmp_path / "picture")
        of_bytes = stream.send(shown("mug-2"), picture=picture)
        after = stream.send(product(1))

    assert [each.result().result for each in (of_a_file, of_bytes, after)] == [
        Result.WAITING,
        Result.WAITING,
        Result.APPLIED,
    ]
    assert server.catalogue(MAIN).picture(sha256).read_bytes() == picture


def test_a_picture_whose_file_is_gone_is_refused_alone(
    server: ServerFolder, client: CatalogueClient, tmp_path: Path
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(b"a picture")
    with client.stream() as stream:
        stream.send(PutProduct(Product("mug"))).result()
        with server.catalogue(MAIN).changing():  # so that it is not asked for yet
            gone = stream.send(shown("mug-1"), picture=path, hash_first=True)
            path.unlink()
        after = stream.send(product(1))

    assert gone.result().result is Result.REFUSED
    assert f"{path} cannot be read any more: No such file" in gone.result().reason
    assert after.result().result is Result.APPLIED


def test_a_picture_is_sent_only_where_it_is_needed(address: Address) -> None:
    picture = hashlib.shake_128(b"200 kB").digest(200_000)
    with FaultProxy(address.port) as proxy, through(proxy) as client:
        bytes_asked = []
        for id_ in ("mug-1", "mug-2"):
            with client.stream() as stream:
                stream.send(PutProduct(Product("mug")))
                future = stream.send(shown(id_), picture=picture, hash_first=True)
            assert future.result().result is Result.WAITING
            bytes_asked.append(len(proxy.asked))
        with client.stream() as stream:
            without = stream.send(PutImage(Image("mug-3"), bytes(32), ["mug"]))

    assert bytes_asked[0] > len(picture)
    assert bytes_asked[1] - bytes_asked[0] < 5_000
    assert without.result().result is Result.PICTURE_NEEDED


def product(number: int) -> PutProduct:
    return PutProduct(Product(f"sku-{number}", title=f"Thing {number}"))


def shown(id_: str) -> PutImage:
    return PutImage(Image(id_), b"", ["mug"])


def put(client: CatalogueClient, products: Sequence[PutProduct]) -> int:
    """Sends products in a job of their own, whose number it returns."""
    with client.stream() as stream:
        for each in products:
            stream.send(each)
    return stream.job.number


@contextmanager
def through(proxy: FaultProxy, patience: Patience = SOON) -> Iterator[CatalogueClient]:
    with CatalogueClient(f"127.0.0.1:{proxy.port}", patience=patience) as client:
        yield client


@contextmanager
def silent(server: ServerFolder, client: CatalogueClient) -> Iterator[OperationStream]:
    """A stream that was opened and gets no outcome: another process is writing to the catalogue."""
    stream = client.stream()
    with server.catalogue(MAIN).changing():
        yield stream


def blocked(
    stream: OperationStream, send: Callable[[], Future[Outcome]], *, after: int
) -> list[Future[Outcome]]:
    """What was sent, by a thread that sends on and on, once it goes no further."""
    sent: list[Future[Outcome]] = []

    def send_on() -> None:
        try:
            while True:
                sent.append(send())
        except ServerUnavailable:  # it was abandoned
            pass

    thread = threading.Thread(target=send_on, daemon=True)
    thread.start()
    waited_for(lambda: len(sent) >= after)
    thread.join(0.2)
    assert len(sent) == after
    return sent


def waited_for(has_come: Callable[[], bool]) -> None:
    until = monotonic() + 20
    while not has_come():
        assert monotonic() < until
        sleep(0.01)
