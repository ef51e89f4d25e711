"""The server: built, started, kept fresh, stopped.

await serve(ServerFolder(path), Settings(), started=print)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc.aio

from pocketlens.errors import PocketLensError, ServerError
from pocketlens.sync.credentials import is_loopback
from pocketlens_protos.v1 import sync_service_pb2_grpc as stubs
from pocketlens_server.folders import ServerFolder
from pocketlens_server.http.files import PublicFiles
from pocketlens_server.http.server import HttpServer, listening_on
from pocketlens_server.publishing import releasing
from pocketlens_server.services.malformed import RefusesMalformed
from pocketlens_server.services.sync import SyncService

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5  # that calls have to end when the server stops
REFRESH_SECONDS = 600
MOST_CALLS, MOST_STREAMS = 1024, 32  # of all connections, of one


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a server listens.

    Attributes:
        host, port: Of gRPC; port 0 takes a free one.
        http_port: Of the public files over HTTP, on the same host; None for not at all.
        certificate, key: Files in PEM, for TLS on both; without, only the loopback is served.
        handshake_seconds: That a gRPC connection has to become one.
        idle_seconds: After which a gRPC connection without a call is closed.
        max_connection_age_seconds: Devices connect again after that, to another server maybe; a
            call that runs has `call_seconds` more.
        call_seconds: That the calls of a connection have after that.
    """

    host: str = "127.0.0.1"
    port: int = 8443
    http_port: int | None = None
    certificate: Path | None = None
    key: Path | None = None
    handshake_seconds: float = 4
    idle_seconds: float = 60
    max_connection_age_seconds: int = 3600
    call_seconds: int = 300


async def serve(
    folder: ServerFolder,
    settings: Settings,
    *,
    started: Callable[[int], None] = lambda port: None,
    http_started: Callable[[int], None] = lambda port: None,
    until: asyncio.Event | None = None,
) -> None:
    """Serves until it is cancelled, or `until` is set; calls that run may end.

    Args:
        folder: Of the server.
        settings: Where it listens.
        started: Called with the port of gRPC once devices may ask.
        http_started: Called with the port of HTTP, before `started`.
        until: Ends it.

    Raises:
        ServerError: It would be open to a network without TLS, a port is taken, or the certificate
            cannot be used.
    """
    if settings.certificate is None and not is_loopback(settings.host):
        raise ServerError(
            f"Expected TLS to listen on {settings.host}: without it only the loopback is served. "
            "Give --tls-cert and --tls-key."
        )
    tls = _tls(settings)
    tasks = [asyncio.create_task(_keep_fresh(folder))]
    server = _grpc_server(settings)
    stubs.add_SyncServiceServicer_to_server(SyncService(folder), server)
    try:
        port = _bound(server, settings)
        if settings.http_port is not None:
            listening = listening_on(settings.host, settings.http_port)
            http = HttpServer(PublicFiles(folder.path / "public"), listening, tls=tls)
            tasks.append(asyncio.create_task(http.run(grace_seconds=GRACE_SECONDS)))
            http_started(listening.getsockname()[1])
        await server.start()
        started(port)
        await (until or asyncio.Event()).wait()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(server.stop(GRACE_SECONDS), *tasks, return_exceptions=True)


def _grpc_server(settings: Settings) -> grpc.aio.Server:
    return grpc.aio.server(
        interceptors=[RefusesMalformed()],
        maximum_concurrent_rpcs=MOST_CALLS,
        options=[
            ("grpc.max_concurrent_streams", MOST_STREAMS),
            ("grpc.max_connection_idle_ms", int(settings.idle_seconds * 1000)),
            ("grpc.max_connection_age_grace_ms", settings.call_seconds * 1000),
            ("grpc.max_receive_message_length", 64 << 10),
            ("grpc.server_handshake_timeout_ms", int(settings.handshake_seconds * 1000)),
            ("grpc.max_connection_age_ms", settings.max_connection_age_seconds * 1000),
            ("grpc.so_reuseport", 0),
        ],
    )


def _bound(server: grpc.aio.Server, settings: Settings) -> int:
    """The port that gRPC listens on."""
    address = f"{settings.host}:{settings.port}"
    try:
        if settings.certificate is None or settings.key is None:
            port: int = server.add_insecure_port(address)
            return port
        pair = (settings.key.read_bytes(), settings.certificate.read_bytes())
        port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    except RuntimeError as exc:
        raise ServerError(f"Cannot listen on {address}: {exc}.") from exc
    return port


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """For HTTP; made for gRPC alone too, which says nothing of a key that is another's."""
    if settings.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except OSError as exc:  # ssl.SSLError is one
        raise ServerError(
            f"The certificate {settings.certificate} and its key cannot be used: {exc}."
        ) from exc
    return context


async def _keep_fresh(folder: ServerFolder) -> None:
    """Signs timestamps again before they are old; a catalogue that fails does not stop others."""
    while True:
        try:
            names = folder.catalogues()
        except OSError as exc:
            logger.warning("server.refresh.failed error=%s", exc)
            names = []
        for name in names:
            try:
                catalogue = folder.catalogue(name)
                await asyncio.to_thread(releasing.refresh, catalogue, now=datetime.now(UTC))
            except PocketLensError as exc:
                logger.warning("server.refresh.failed catalogue=%s error=%s", name, exc)
            except Exception:  # a bug, or a system out of files: the next round may do better
                logger.exception("server.refresh.failed catalogue=%s", name)
        await asyncio.sleep(REFRESH_SECONDS)
