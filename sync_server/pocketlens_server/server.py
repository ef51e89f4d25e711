"""The server: built, started, kept fresh, stopped.

await serve(ServerFolder(path), ServerConfig(), started=print)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc.aio

from pocketlens.errors import ClockSuspect, PocketLensError, ServerError
from pocketlens.sync.credentials import is_loopback
from pocketlens_protos.v1 import catalog_service_pb2 as catalog_messages
from pocketlens_protos.v1 import catalog_service_pb2_grpc as catalog_stubs
from pocketlens_protos.v1 import query_service_pb2 as query_messages
from pocketlens_protos.v1 import query_service_pb2_grpc as query_stubs
from pocketlens_protos.v1 import sync_service_pb2 as sync_messages
from pocketlens_protos.v1 import sync_service_pb2_grpc as sync_stubs
from pocketlens_server import allocation, measuring, settings
from pocketlens_server.auth import State
from pocketlens_server.callers import Scope
from pocketlens_server.catalogue.live_catalogue import LiveCatalogue
from pocketlens_server.catalogue.live_catalogues import LiveCatalogues
from pocketlens_server.certificates import ServedCertificates
from pocketlens_server.clocks import SteadyClock, elapsed_seconds
from pocketlens_server.config import Listen, ServerConfig, address
from pocketlens_server.folders import ServerFolder
from pocketlens_server.http.connections import listening_on
from pocketlens_server.http.files import PublicFiles
from pocketlens_server.http.metrics import LIMITS as METRICS_LIMITS
from pocketlens_server.http.metrics import Pages
from pocketlens_server.http.server import HttpServer
from pocketlens_server.limits import Limits
from pocketlens_server.publishing import releasing
from pocketlens_server.publishing.ahead import Sightings
from pocketlens_server.publishing.scheduling import publish_when_due
from pocketlens_server.query.queries import Queries
from pocketlens_server.services.catalog import CatalogService
from pocketlens_server.services.guarding import Guards
from pocketlens_server.services.health import Health, add_reflection
from pocketlens_server.services.limiting import Admitting, Limiting
from pocketlens_server.services.malformed import RefusesMalformed
from pocketlens_server.services.observing import Observes
from pocketlens_server.services.query import QueryService
from pocketlens_server.services.recognising import Recognises
from pocketlens_server.services.sync import SyncService
from pocketlens_server.telemetry import Telemetry
from pocketlens_server.tokens import Tokens
from pocketlens_server.web.connecting import ServedApplication
from pocketlens_server.web.limits import WebLimits
from pocketlens_server.web.serving import WebSettings, web_application

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 600
MEASURE_SECONDS = 30
GIVE_BACK_SECONDS = 60
SERVICES = (
    sync_messages.DESCRIPTOR.services_by_name["SyncService"].full_name,
    catalog_messages.DESCRIPTOR.services_by_name["CatalogService"].full_name,
    query_messages.DESCRIPTOR.services_by_name["QueryService"].full_name,
)


@dataclass(frozen=True, slots=True)
class Started:
    """Who is told once a server takes calls; each is called with a port, gRPC's last.

    Attributes:
        grpc, http, metrics, web: Of what.
    """

    grpc: Callable[[int], None] = lambda port: None
    http: Callable[[int], None] = lambda port: None
    metrics: Callable[[int], None] = lambda port: None
    web: Callable[[int], None] = lambda port: None


async def serve(
    folder: ServerFolder,
    config: ServerConfig,
    *,
    insecure: bool = False,
    started: Started | None = None,
    until: asyncio.Event | None = None,
) -> None:
    """Serves until it is cancelled, or `until` is set; calls that run may end.

    Args:
        folder: Of the server.
        config: Where it listens, and what it gives.
        insecure: Whether everybody may do everything over gRPC, without a token: on the loopback
            only.
        started: Who is told which ports are served.
        until: Ends it.

    Raises:
        ServerError: It would be open to a network without TLS or without tokens, a port is taken,
            the certificate cannot be used, or a catalogue is set to what cannot be.
    """
    _check_closed(config, insecure=insecure)
    for name in folder.catalogues():
        settings.read(folder.catalogue(name).folder)
    web = _web_settings(folder, config)
    started = started or Started()
    certificates = ServedCertificates.of(config.tls)
    services = SERVICES if config.query.enabled else SERVICES[:-1]
    telemetry, health = Telemetry(), Health(services)
    lives = LiveCatalogues(folder, clock=_now, telemetry=telemetry)
    clock = SteadyClock(wall=_now, elapsed=elapsed_seconds)
    with ExitStack() as stack:
        tokens = None if insecure else stack.enter_context(Tokens(folder))
        server = _grpc_server(config.limits, tokens, telemetry)
        sync = SyncService(folder, Sightings(_now), counted=telemetry.count_ahead)
        queries = Queries(folder, config.query, telemetry=telemetry)
        _add_services(server, sync, lives, health)
        if config.query.enabled:
            query_stubs.add_QueryServiceServicer_to_server(QueryService(queries), server)
        if config.listen.reflection:
            add_reflection(server, services)
        tasks: list[asyncio.Task[None]] = []
        watched: list[asyncio.Task[None]] = []
        try:
            port = _bound(server, config.listen, certificates)
            tls = None if certificates is None else certificates.for_http
            if config.listen.http_port is not None:
                listening = listening_on(config.listen.host, config.listen.http_port)
                public = HttpServer(PublicFiles(folder.path / "public"), listening, tls=tls)
                running = public.run(grace_seconds=config.limits.drain_seconds)
                tasks.append(_begun(running))
                started.http(listening.getsockname()[1])
            if web is not None and config.listen.web_port is not None:
                recognises = Recognises(tokens, clock=_now)
                application = web_application(
                    queries, web, recognises=recognises, telemetry=telemetry
                )
                listening = listening_on(config.listen.host, config.listen.web_port)
                asked = ServedApplication(application, listening, tls=tls, limits=web.web_limits)
                tasks.append(_begun(asked.run(grace_seconds=config.limits.drain_seconds)))
                started.web(listening.getsockname()[1])
            if config.listen.metrics_port is not None:
                watched_on = config.listen.metrics_host
                listening = listening_on(watched_on, config.listen.metrics_port)
                pages, shown = Pages(telemetry, health), None if config.has_plain_metrics else tls
                monitored = HttpServer(pages, listening, tls=shown, limits=METRICS_LIMITS)
                watched.append(_begun(monitored.run(grace_seconds=1)))
                started.metrics(listening.getsockname()[1])
            if certificates is not None:
                tasks.append(_begun(certificates.follow()))
            lives.start()
            tasks += [
                _begun(_keep_fresh(folder, lives, clock)),
                _begun(_measure(folder, telemetry)),
                _begun(_give_memory_back()),
                _begun(publish_when_due(lives, clock=clock.now)),
                _begun(queries.catalogues.follow()),
            ]
            queries.catalogues.open_ahead(_asked_about(folder, config, tokens))
            await server.start()
            started.grpc(port)
            await (until or asyncio.Event()).wait()
        finally:
            health.drain()  # who looks sends no more
            for task in tasks:
                task.cancel()
            stopped = server.stop(config.limits.drain_seconds)
            await asyncio.gather(stopped, *tasks, return_exceptions=True)
            await queries.close()
            await lives.stop()  # when no stream is left that could bring more
            for task in watched:  # who looks sees it drain to the end
                task.cancel()
            await asyncio.gather(*watched, return_exceptions=True)


def warnings(folder: ServerFolder, *, insecure: bool, now: datetime) -> list[str]:
    """What an operator is to know when a server starts.

    Args:
        folder: Of the server.
        insecure: See `serve`.
        now: By the clock.
    """
    if insecure:
        return [
            "WARNING: --insecure asks nobody for a token. Whatever reaches this port of this "
            "machine, through a proxy or a tunnel too, may do everything with every catalogue."
        ]
    with Tokens(folder) as tokens:
        if any(token.state(now) is State.HOLDS for token in tokens.all()):
            return []
    return [
        "WARNING: there is no token, so nobody may ask over gRPC. Make one: "
        f"pocketlens-server tokens make --scope device --data {folder.path}"
    ]


def _check_closed(config: ServerConfig, *, insecure: bool) -> None:
    listen, hosts = config.listen, [config.listen.host]
    if listen.metrics_port is not None:
        hosts.append(listen.metrics_host)
    host = next((each for each in hosts if not is_loopback(each)), None)
    if host is None:
        return
    if insecure:
        raise ServerError(
            f"Expected tokens to listen on {host}: without them only the loopback is served. "
            "Leave out --insecure; make a token: pocketlens-server tokens make"
        )
    if config.tls.certificate is None:
        raise ServerError(
            f"Expected TLS to listen on {host}: without it only the loopback is served. "
            "Give --tls-cert and --tls-key."
        )


def _grpc_server(limits: Limits, tokens: Tokens | None, telemetry: Telemetry) -> grpc.aio.Server:
    return grpc.aio.server(
        interceptors=[
            Observes(telemetry),
            Admitting(limits, refused=telemetry.refused),
            RefusesMalformed(),
            Guards(tokens, clock=_now),
            Limiting(limits, time.monotonic, refused=telemetry.refused),
        ],
        options=limits.channel_options(),
    )


def _web_settings(folder: ServerFolder, config: ServerConfig) -> WebSettings | None:
    """How questions over HTTP are answered; None where they are not."""
    if config.listen.web_port is None:
        return None
    if not config.query.enabled:
        raise ServerError("Expected [query] enabled for a REST port or a page. Received false.")
    listen = config.listen
    if listen.page:
        folder.catalogue(listen.page_catalogue)  # NotFound names those that there are
    return WebSettings(
        page_catalogue=listen.page_catalogue if listen.page else None,
        origins=tuple(listen.rest_origins.split()),
        photo_bytes=config.query.photo_bytes,
        limits=config.limits,
        web_limits=WebLimits(),
    )


def _asked_about(folder: ServerFolder, config: ServerConfig, tokens: Tokens | None) -> set[str]:
    """Names of the catalogues that somebody may ask about: by a token for that, or on the page."""
    if not config.query.enabled:
        return set()
    asked = {config.listen.page_catalogue} if config.listen.page else set[str]()
    for token in () if tokens is None else tokens.all():
        if Scope.QUERY in token.scopes and token.state(_now()) is State.HOLDS:
            asked |= set(folder.catalogues()) if token.catalogues is None else token.catalogues
    return asked & set(folder.catalogues())


def _add_services(
    server: grpc.aio.Server, sync: SyncService, lives: LiveCatalogues, health: Health
) -> None:
    sync_stubs.add_SyncServiceServicer_to_server(sync, server)
    catalog = CatalogService(lives, clock=_now)
    catalog_stubs.add_CatalogServiceServicer_to_server(catalog, server)
    health.add_to(server)


def _bound(server: grpc.aio.Server, listen: Listen, certificates: ServedCertificates | None) -> int:
    """The port that gRPC listens on."""
    wanted = address(listen.host, listen.port)
    try:
        if certificates is None:
            port: int = server.add_insecure_port(wanted)
        else:
            port = server.add_secure_port(wanted, certificates.for_grpc())
    except RuntimeError as exc:
        raise ServerError(f"Cannot listen on {wanted}: {exc}.") from exc
    return port


def _now() -> datetime:
    return datetime.now(UTC)


def _begun(running: Coroutine[None, None, None]) -> asyncio.Task[None]:
    """A task for as long as the server runs; what ends it before is logged."""

    def tell(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("server.task.failed", exc_info=error)

    task = asyncio.create_task(running)
    task.add_done_callback(tell)
    return task


async def _keep_fresh(folder: ServerFolder, lives: LiveCatalogues, clock: SteadyClock) -> None:
    """Signs timestamps again before they are old; a catalogue that fails does not stop others."""
    while True:
        try:
            names = folder.catalogues()
        except OSError as exc:
            logger.warning("server.refresh.failed error=%s", exc)
            names = []
        for name in names:
            try:
                await _refresh(lives.get(name), clock)
            except ClockSuspect:  # it was told
                pass
            except PocketLensError as exc:
                logger.warning("server.refresh.failed catalogue=%s error=%s", name, exc)
            except Exception:  # a bug, or a system out of files: the next round may do better
                logger.exception("server.refresh.failed catalogue=%s", name)
        await asyncio.sleep(REFRESH_SECONDS)


async def _refresh(live: LiveCatalogue, clock: SteadyClock) -> None:
    await live.change(lambda: releasing.refresh(live.folder, now=clock.now()))


async def _give_memory_back() -> None:
    while True:
        await asyncio.sleep(GIVE_BACK_SECONDS)
        await asyncio.to_thread(allocation.give_back)


async def _measure(folder: ServerFolder, telemetry: Telemetry) -> None:
    """Sets again and again what metrics say of the catalogues."""
    while True:
        try:
            await asyncio.to_thread(measuring.measure, folder, telemetry, now=_now())
        except Exception:  # a bug, or a system out of files: the next round may do better
            logger.exception("metrics.failed")
        await asyncio.sleep(MEASURE_SECONDS)
