"""What a server shows of itself while it runs and ends: metrics, health, its own methods."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.making.tiles import TileShop

from pocketlens.products import Product
from pocketlens_server.client import CatalogueClient, PutProduct
from pocketlens_server.config import Listen, ServerConfig
from pocketlens_server.folders import ServerFolder
from pocketlens_server.server import Started, serve

SERVING, NOT_SERVING = 1, 2


@dataclass
class Running:
    """A server in a thread.

    Attributes:
        port, metrics_port: On the loopback.
        stop: Begins to drain it.
    """

    port: int
    metrics_port: int
    stop: threading.Event

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TileShop:
    made = TileShop(
        tmp_path_factory.mktemp("shop"), dict.fromkeys(range(8), 1), now=datetime.now(UTC)
    )
    made.publish()
    return made


@contextmanager
def running(shop: TileShop, *, reflection: bool = False) -> Iterator[Running]:
    listen = Listen(port=0, metrics_port=0, reflection=reflection)
    config = replace(ServerConfig(), listen=listen)
    ports: dict[str, int] = {}
    ready, stop = threading.Event(), threading.Event()

    def started(port: int) -> None:
        ports["port"] = port
        ready.set()

    async def run() -> None:
        until = asyncio.Event()
        told = Started(started, metrics=lambda port: ports.update(metrics_port=port))
        folder = ServerFolder(shop.folder / "server")
        task = asyncio.create_task(serve(folder, config, insecure=True, started=told, until=until))
        await asyncio.to_thread(stop.wait)
        until.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(20)
    try:
        yield Running(**ports, stop=stop)
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def page(server: Running, path: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.metrics_port, timeout=5)) as asked:
        asked.request("GET", path)
        answer = asked.getresponse()
        return answer.status, answer.read().decode()


def test_metrics_tell_of_calls_catalogues_and_what_is_signed(shop: TileShop) -> None:
    with running(shop) as server:
        with CatalogueClient(server.address) as client:
            client.apply(PutProduct(Product("mug")))
        status, text = page(server, "/metrics")

    assert status == 200
    for line in (
        'pocketlens_operations_total{catalogue="main",outcome="applied"} 1.0',
        'pocketlens_operations_waiting{catalogue="main"} 0.0',
        'pocketlens_published_version{catalogue="main"} 1.0',
        'pocketlens_expiring_roles{catalogue="main"} 0.0',
        'pocketlens_calls_total{code="OK",method="pocketlens.v1.CatalogService/Ingest"} 1.0',
    ):
        assert line in text
    assert 'pocketlens_expires_timestamp_seconds{catalogue="main",role="root"}' in text
    assert "process_resident_memory_bytes" in text


def test_a_server_that_ends_says_so_before_it_is_gone(shop: TileShop) -> None:
    with running(shop) as server, grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest(service="pocketlens.v1.CatalogService")
        watched = stub.Watch(asked, timeout=20)
        assert next(watched).status == SERVING
        assert page(server, "/healthz") == (200, "serving\n")
        held = CatalogueClient(server.address).stream()  # a call that runs, so that it drains
        held.send(PutProduct(Product("held"))).result()

        server.stop.set()

        assert next(watched).status == NOT_SERVING
        assert page(server, "/healthz")[0] == 503
        held.close()


@pytest.mark.parametrize("is_on", [True, False])
def test_methods_are_told_only_where_that_is_set(shop: TileShop, is_on: bool) -> None:
    with (
        running(shop, reflection=is_on) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = stub.ServerReflectionInfo(iter([asked]), timeout=20)
        if not is_on:
            with pytest.raises(grpc.RpcError) as caught:
                next(answers)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            return
        names = {each.name for each in next(answers).list_services_response.service}

    assert {"pocketlens.v1.SyncService", "pocketlens.v1.CatalogService"} <= names
