"""Backends that send to a server, each in a process of its own, and what they find.

    clients = [Client("patching", address, seed, products) for seed in range(4)]
    for each in clients: each.begin()
    time.sleep(10)
    answers = [each.stop() for each in clients]

Each says when it is warm, works until it is told to stop, and then says what it did. Those that
load a server are nice to it, as if they ran on machines of their own.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter, process_time, time_ns
from typing import Any

import grpc
import ingest_catalogue

from pocketlens.products import Image, Price
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_protos.v1 import catalog_service_pb2_grpc as stubs
from pocketlens_protos.v1 import sync_service_pb2 as sync_messages
from pocketlens_protos.v1 import sync_service_pb2_grpc as sync_stubs
from pocketlens_server.client import CatalogueClient, PatchProduct, PutImage
from pocketlens_server.client.sent import PART_BYTES
from pocketlens_server.client.streams import TOGETHER
from pocketlens_server.services.catalog_messages import operation_message

IN_CHILD = """
import json, sys
sys.path.insert(0, sys.argv[1])
import ingest_clients
print(json.dumps(getattr(ingest_clients, sys.argv[2])(*sys.argv[3:])))
"""
HERE = Path(__file__).resolve().parent
STRIPES = 16  # each client has the prices of every so many products to itself
LOOKER = STRIPES - 1
LOOK_SECONDS = 0.02  # from one small request to the next of its kind
QUEUING = 40  # streams whose operations wait; each may have 256 that do
PICTURE_BYTES = 1 << 20  # of one in a flood
_NICE = 5


class Client:
    """A function of this module in a process of its own; it is given text."""

    def __init__(self, name: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", IN_CHILD, str(HERE), name, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if "warm" not in self._process.stdout.readline():
            raise SystemExit(f"the client {name} does not start")

    def begin(self) -> None:
        """Lets it work."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def run(self) -> dict[str, Any]:
        """Lets it work until it comes to its end by itself, or does what it does at the least."""
        self.begin()
        return self.stop()

    def stop(self) -> dict[str, Any]:
        """What it says, once it has come to its end."""
        told, _ = self._process.communicate("\n")
        found: dict[str, Any] = json.loads(told)
        return found


# --- what they do --------------------------------------------------------------------------------


def patching(address: str, seed: str, products: str) -> dict[str, Any]:
    """Prices, sent on one stream as fast as they are answered."""
    os.nice(_NICE)
    results: Counter[str] = Counter()
    with CatalogueClient(address) as shop, shop.stream() as stream:
        stopped, spent = _warm()
        for operation, revision, request in _prices(int(seed), int(products)):
            if stopped.is_set():
                break
            future = stream.send(operation, revision=revision, request_id=request)
            future.add_done_callback(lambda done: results.update([done.result().result.value]))
        return {"operations": results.total(), "results": results, **spent()}


def asking(address: str, seed: str, products: str) -> dict[str, Any]:
    """Prices, each sent on one stream when the one before is answered."""
    with CatalogueClient(address) as shop, shop.stream() as stream:

        def ask(operation: PatchProduct, revision: int, request: str) -> object:
            return stream.send(operation, revision=revision, request_id=request).result()

        return _one_by_one(ask, _prices(int(seed), int(products)))


def calling(address: str, seed: str, products: str) -> dict[str, Any]:
    """Prices, each in a call of its own when the one before is answered."""
    with CatalogueClient(address) as shop:

        def call(operation: PatchProduct, revision: int, request: str) -> object:
            return shop.apply(operation, revision=revision, request_id=request)

        return _one_by_one(call, _prices(int(seed), int(products)))


def putting(address: str, how: str, name: str, word: str, count: str) -> dict[str, Any]:
    """Images, until all of them hold.

    Args:
        address: Of the server.
        how: Their pictures are sent: "bytes", or "hash" where the server has them.
        name: Of the images.
        word: Of the pictures; those of another are new.
        count: How many, each of a product of its own.
    """
    os.nice(_NICE)
    data = _pictures(word, int(count))
    puts = _puts(name, data)
    with CatalogueClient(address) as shop:
        with shop.stream() as stream:
            _, spent = _warm()
            sent = [
                stream.send(put, picture=None if how == "hash" else each)
                for put, each in zip(puts, data, strict=True)
            ]
            results = Counter(each.result().result.value for each in sent)
            answered = spent()
        shop.wait(stream.job.number)
    told = {"operations": len(data), "results": results, "bytes": sum(map(len, data))}
    return {**told, "answered_s": answered["s"], **spent()}


def putting_on(address: str, how: str, word: str, count: str) -> dict[str, Any]:
    """Images in rounds, of which each begins when those of the one before hold.

    Args:
        address: Of the server.
        how: Their pictures are: "new" in each round, or the same, by their "bytes" or "hash".
        word: Of the pictures.
        count: Of a round, each of a product of its own.
    """
    os.nice(_NICE)
    done, same = 0, _pictures(word, int(count))
    with CatalogueClient(address) as shop:
        if how != "new":
            _put(shop, _puts(f"{word}-{os.getpid()}", same), same)  # now the server has them
        stopped, spent = _warm()
        for part in itertools.count():
            if stopped.is_set():
                break
            data = same
            if how == "new":
                data = _pictures(f"{word}-{os.getpid()}-{part}", int(count))
            puts = _puts(f"{word}-{os.getpid()}-{part}", data)
            done += _put(shop, puts, None if how == "hash" else data, until=stopped)
        return {"operations": done, **spent()}


def _pictures(word: str, count: int) -> list[bytes]:
    pictures = ingest_catalogue.Pictures(word)
    return [pictures.file(number) for number in range(count)]


def _puts(name: str, data: Sequence[bytes]) -> list[PutImage]:
    """An image of each picture, of a product of its own."""
    return [
        PutImage(Image(f"{name}-{number}"), hashlib.sha256(each).digest(), [f"p{number + 1}"])
        for number, each in enumerate(data)
    ]


def _put(
    shop: CatalogueClient,
    puts: Sequence[PutImage],
    data: Sequence[bytes] | None,
    *,
    until: threading.Event | None = None,
) -> int:
    """Sends images, and waits until they hold; how many were sent until it was to stop."""
    sent = 0
    with shop.stream() as stream:
        for put, picture in zip(puts, data or itertools.repeat(None, len(puts)), strict=True):
            if until is not None and until.is_set():
                break
            stream.send(put, picture=picture)
            sent += 1
    shop.wait(stream.job.number)
    return sent


def looking(address: str, products: str) -> dict[str, list[float]]:
    """A price, and a device's poll, by turns: milliseconds of each from when it was due.

    Each kind is due every 20 ms, whether those before are answered or not. Who waited for an answer
    before they ask again would not meet what goes on meanwhile.
    """
    found: dict[str, list[float]] = {"patch": [], "poll": []}
    device = sync_stubs.SyncServiceStub(grpc.insecure_channel(address))
    request = sync_messages.PollRequest(catalogue="main")
    with CatalogueClient(address) as shop, shop.stream() as stream:
        prices = _prices(LOOKER, int(products))

        def patch() -> Any:
            operation, revision, request_id = next(prices)
            return stream.send(operation, revision=revision, request_id=request_id)

        def answered(name: str, due: float, _: object) -> None:
            found[name].append((perf_counter() - due) * 1e3)

        calls = {"patch": patch, "poll": lambda: device.Poll.future(request, timeout=60)}
        for call in calls.values():
            call().result()
        stopped, _ = _warm()
        began, asked = perf_counter(), []
        for number, name in enumerate(itertools.cycle(calls)):
            due = began + number * LOOK_SECONDS / len(calls)
            if stopped.wait(max(0, due - perf_counter())):
                break
            future = calls[name]()
            future.add_done_callback(functools.partial(answered, name, due))
            asked.append(future)
        for each in asked:
            each.result()
    return found


def queuing(address: str, count: str, products: str) -> dict[str, Any]:
    """Prices that are sent at once on some streams, and answered when the server can."""
    os.nice(_NICE)
    streams = [_Queue(address, number, int(products)) for number in range(QUEUING)]
    stopped, _ = _warm()
    for each in streams:
        each.send(int(count) // QUEUING)
    stopped.wait()
    return {"answered": sum(each.answered() for each in streams)}


class _Queue:
    """A stream that sends some prices, and then reads their outcomes."""

    def __init__(self, address: str, number: int, products: int) -> None:
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self._count, self._may_send = 0, threading.Event()
        self._prices = _prices(number, products)
        self._call = stubs.CatalogServiceStub(self._channel).Ingest(self._requests(), timeout=600)
        next(self._call)  # its job is open

    def send(self, count: int) -> None:
        self._count = count
        self._may_send.set()

    def answered(self) -> int:
        """How many were, once all are."""
        return sum(len(response.outcomes.outcomes) for response in self._call)

    def _requests(self) -> Iterator[messages.IngestRequest]:
        yield messages.IngestRequest(catalogue="main", open=messages.OpenJob())
        self._may_send.wait()
        for start in range(0, self._count, TOGETHER):
            yield _together(self._prices, min(TOGETHER, self._count - start))


def flooding(address: str, what: str, streams: str, products: str) -> dict[str, Any]:
    """Streams that send as fast as they can and read no answer: operations that were taken.

    Args:
        address: Of the server.
        what: They send: "pictures" of 1 MB, in parts, or "prices", many in a message.
        streams: How many.
        products: Of the catalogue.
    """
    os.nice(_NICE)
    picture = ingest_catalogue.large(PICTURE_BYTES)
    floods = [
        _Flood(address, what, number, int(products), picture) for number in range(int(streams))
    ]
    stopped, _ = _warm()
    for each in floods:
        each.may_send.set()
    stopped.wait()
    with CatalogueClient(address) as shop:
        received = sum(shop.job(each.job).counters.received for each in floods)
    for each in floods:
        each.call.cancel()
    return {"received": received}


class _Flood:
    """A stream of which nothing but the number of its job is read."""

    def __init__(self, address: str, what: str, number: int, products: int, picture: bytes) -> None:
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self._number, self._products, self._picture = number, products, picture
        self.may_send = threading.Event()
        requests = {"pictures": self._pictures, "prices": self._prices}[what]
        self.call = stubs.CatalogServiceStub(self._channel).Ingest(requests(), timeout=600)
        self.job = next(self.call).opened.number

    def _opened(self) -> messages.IngestRequest:
        return messages.IngestRequest(catalogue="main", open=messages.OpenJob())

    def _prices(self) -> Iterator[messages.IngestRequest]:
        yield self._opened()
        self.may_send.wait()
        prices = _prices(self._number, self._products)
        while True:
            yield _together(prices, TOGETHER)

    def _pictures(self) -> Iterator[messages.IngestRequest]:
        yield self._opened()
        self.may_send.wait()
        for number in itertools.count():
            id_ = f"flood-{os.getpid()}-{self._number}-{number}"
            data = self._picture + id_.encode()
            message = operation_message(PutImage(Image(id_), hashlib.sha256(data).digest(), ["p1"]))
            message.request_id = id_
            message.put_image.picture_bytes = len(data)
            message.put_image.picture = data[:PART_BYTES]
            yield messages.IngestRequest(operation=message)
            for start in range(PART_BYTES, len(data), PART_BYTES):
                yield messages.IngestRequest(picture_part=data[start : start + PART_BYTES])


def _together(
    prices: Iterator[tuple[PatchProduct, int, str]], count: int
) -> messages.IngestRequest:
    """So many in one message."""
    together = messages.Operations()
    for operation, revision, request in itertools.islice(prices, count):
        message = operation_message(operation)
        message.revision, message.request_id = revision, request
        together.operations.append(message)
    return messages.IngestRequest(operations=together)


# --- between the two processes -------------------------------------------------------------------


def _warm() -> tuple[threading.Event, Callable[[], dict[str, float]]]:
    """Says so and waits for the word; gives what is set at the next, and what has been spent."""
    print("warm", flush=True)
    sys.stdin.readline()
    stopped = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stopped.set()), daemon=True).start()
    began, cores = perf_counter(), process_time()
    return stopped, lambda: {"s": perf_counter() - began, "cores_s": process_time() - cores}


def _one_by_one(
    ask: Callable[[PatchProduct, int, str], object], prices: Iterator[tuple[PatchProduct, int, str]]
) -> dict[str, Any]:
    ask(*next(prices))
    stopped, spent = _warm()
    done = 0
    for each in prices:
        if stopped.is_set():
            break
        ask(*each)
        done += 1
    return {"operations": done, **spent()}


def _prices(stripe: int, products: int) -> Iterator[tuple[PatchProduct, int, str]]:
    """Patches for ever, with revisions that grow and request ids."""
    rng = random.Random(f"{stripe} {os.getpid()}")  # noqa: S311 # for prices
    revision = time_ns() // 1000
    while True:
        revision += 1
        number = rng.randrange(1 + stripe % STRIPES, products + 1, STRIPES)
        price = Price(rng.randrange(99, 50_000), "EUR")
        yield PatchProduct(f"p{number}", price=price), revision, f"{rng.getrandbits(128):032x}"
