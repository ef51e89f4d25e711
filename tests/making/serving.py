"""A catalogue of tests, served on the loopback by the real server, in a thread of this process."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pocketlens_server.config import ServerConfig
from pocketlens_server.folders import ServerFolder
from pocketlens_server.limits import Limits
from pocketlens_server.server import Started, serve
from tests.making.servers import Server

# A test asks as one client what many would.
ONE_CLIENT = Limits(client_calls=100, client_rate=100_000, client_burst=100_000)


@dataclass(frozen=True)
class Address:
    """Where devices ask.

    Attributes:
        port, http_port: On 127.0.0.1.
        web_port, metrics_port: Of questions over HTTP, of metrics; 0 where there are none.
        scheme: Of HTTP.
    """

    port: int
    http_port: int
    web_port: int = 0
    metrics_port: int = 0
    scheme: str = "http"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.http_port}/main"


def on_disk(server: Server, folder: Path) -> Path:
    """The folder of a server whose catalogue `main` has the public files of `server`."""
    (folder / "catalogues" / "main").mkdir(parents=True)
    (folder / "public").mkdir()
    (folder / "public" / "main").symlink_to(server.public)
    (folder / "server.json").write_text(json.dumps({"format": 1, "offline_keys": "/nowhere"}))
    return folder


@contextmanager
def serving(
    folder: Path, config: ServerConfig | None = None, *, asks_tokens: bool = False
) -> Iterator[Address]:
    """Serves the folder of a server on free ports, gRPC and HTTP, until the context is left.

    A port of questions over HTTP or of metrics that the settings have is to be a free one: 0.
    """
    wanted = config or ServerConfig(limits=ONE_CLIENT)
    wanted = replace(wanted, listen=replace(wanted.listen, port=0, http_port=0))
    ports: dict[str, int] = {}
    ready, loop, until = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    def started(port: int) -> None:
        ports["port"] = port
        ready.set()

    def run() -> None:
        loop.run_until_complete(
            serve(
                ServerFolder(folder),
                wanted,
                insecure=not asks_tokens,
                started=Started(
                    started,
                    lambda port: ports.update(http_port=port),
                    metrics=lambda port: ports.update(metrics_port=port),
                    web=lambda port: ports.update(web_port=port),
                ),
                until=until,
            )
        )

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(20)
    try:
        yield Address(**ports, scheme="https" if wanted.tls.certificate else "http")
    finally:
        loop.call_soon_threadsafe(until.set)
        thread.join(20)
        assert not thread.is_alive()
        loop.close()
