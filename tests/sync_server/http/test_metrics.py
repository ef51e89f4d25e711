"""What monitoring reads, over the same bounded HTTP that serves files."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pocketlens_server.http.connections import listening_on
from pocketlens_server.http.metrics import LIMITS, Pages
from pocketlens_server.http.server import HttpServer
from pocketlens_server.services.health import Health
from pocketlens_server.telemetry import Telemetry


class Monitored:
    """A server of the pages, in a thread.

    Attributes:
        port: On 127.0.0.1.
    """

    def __init__(self) -> None:
        self.telemetry, self.health = Telemetry(), Health([])
        self._loop, listening = asyncio.new_event_loop(), listening_on("127.0.0.1", 0)
        self.port: int = listening.getsockname()[1]
        pages = Pages(self.telemetry, self.health)
        server = HttpServer(pages, listening, tls=None, limits=LIMITS)
        self._running = self._loop.create_task(server.run(grace_seconds=1))
        run = self._loop.run_until_complete
        self._thread = threading.Thread(target=lambda: run(asyncio.wait([self._running])))
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._running.cancel)
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._loop.close()

    def get(self, path: str, **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        found = answer.status, answer.read().decode(), answer.headers
        connection.close()
        return found


@pytest.fixture
def monitored() -> Iterator[Monitored]:
    server = Monitored()
    yield server
    server.close()


def test_metrics_are_read_as_they_are_now(monitored: Monitored) -> None:
    monitored.telemetry.dead_letters.labels(catalogue="main").set(3)
    status, text, headers = monitored.get("/metrics")
    monitored.telemetry.dead_letters.labels(catalogue="main").set(4)
    _, again, _ = monitored.get("/metrics", **{"If-None-Match": headers["ETag"]})

    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert headers["Cache-Control"] == "no-cache"
    assert 'pocketlens_dead_letters{catalogue="main"} 3.0\n' in text
    assert 'pocketlens_dead_letters{catalogue="main"} 4.0\n' in again
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"pocketlens_calls", "process_resident_memory_bytes", "process_open_fds"} <= names


def test_a_server_that_drains_says_so_and_its_metrics_stay(monitored: Monitored) -> None:
    assert monitored.get("/healthz")[:2] == (200, "serving\n")
    monitored.health.drain()

    assert monitored.get("/healthz")[:2] == (503, "")
    assert monitored.get("/metrics")[0] == 200


def test_connections_that_ask_nothing_hold_nobody_up(monitored: Monitored) -> None:
    with ExitStack() as stack:
        for _ in range(2 * LIMITS.connections):
            silent = socket.create_connection(("127.0.0.1", monitored.port), timeout=10)
            stack.enter_context(silent)
        began = monotonic()
        answers = [monitored.get("/healthz")[0] for _ in range(3)]

    assert answers == [200] * 3
    assert monotonic() - began < LIMITS.head_seconds / 2


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metrics/x", "/main/metadata/timestamp.json"])
def test_nothing_else_is_there(monitored: Monitored, path: str) -> None:
    assert monitored.get(path)[0] == 404
