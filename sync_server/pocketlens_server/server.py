"""The server: built, started, kept fresh, stopped.

await serve(ServerFolder(path), Settings(), started=print)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc.aio

from pocketlens.errors import PocketLensError, ServerError
from pocketlens_protos.v1 import sync_service_pb2_grpc as stubs
from pocketlens_server.folders import ServerFolder
from pocketlens_server.publishing import releasing
from pocketlens_server.services.sync import SyncService

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
GRACE_SECONDS = 5  # that calls have to end when the server stops
REFRESH_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a server listens.

    Attributes:
        host, port: Port 0 takes a free one.
        certificate, key: PEM, for TLS; without, only the loopback is served.
        max_connection_age_seconds: Devices connect again after that, to another server maybe.
    """

    host: str = "127.0.0.1"
    port: int = 8443
    certificate: bytes = b""
    key: bytes = b""
    max_connection_age_seconds: int = 3600


async def serve(
    folder: ServerFolder,
    settings: Settings,
    *,
    started: Callable[[int], None] = lambda port: None,
    until: asyncio.Event | None = None,
) -> None:
    """Serves until it is cancelled, or `until` is set; calls that run may end.

    Args:
        folder: Of the server.
        settings: Where it listens.
        started: Called with the port once devices may ask.
        until: Ends it.

    Raises:
        ServerError: It would be open to a network without TLS, or the port is taken.
    """
    if not settings.certificate and settings.host not in LOOPBACK:
        raise ServerError(
            f"Expected TLS to listen on {settings.host}: without it only the loopback is served. "
            "Give --tls-cert and --tls-key."
        )
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", 64 << 10),
            ("grpc.max_connection_age_ms", settings.max_connection_age_seconds * 1000),
            ("grpc.so_reuseport", 0),
        ]
    )
    stubs.add_SyncServiceServicer_to_server(SyncService(folder), server)
    address = f"{settings.host}:{settings.port}"
    try:
        if settings.certificate:
            pair = [(settings.key, settings.certificate)]
            port = server.add_secure_port(address, grpc.ssl_server_credentials(pair))
        else:
            port = server.add_insecure_port(address)
    except RuntimeError as exc:
        raise ServerError(f"Cannot listen on {address}: {exc}.") from exc
    await server.start()
    started(port)
    fresh = asyncio.create_task(_keep_fresh(folder))
    try:
        await (until or asyncio.Event()).wait()
    finally:
        fresh.cancel()
        await server.stop(GRACE_SECONDS)


async def _keep_fresh(folder: ServerFolder) -> None:
    """Signs timestamps again before they are old; a catalogue that fails does not stop others."""
    while True:
        for name in folder.catalogues():
            try:
                catalogue = folder.catalogue(name)
                await asyncio.to_thread(releasing.refresh, catalogue, now=datetime.now(UTC))
            except PocketLensError as exc:
                logger.warning("server.refresh.failed catalogue=%s error=%s", name, exc)
        await asyncio.sleep(REFRESH_SECONDS)
