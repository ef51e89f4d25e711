"""What a server refuses to start with, whom it lets in over TLS, and what it says of itself."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import grpc
import pytest
from tests.making.certificates import Certificates, make_certificates
from tests.making.serving import serving

from pocketlens.errors import ServerError
from pocketlens_protos.v1 import sync_service_pb2 as messages
from pocketlens_protos.v1 import sync_service_pb2_grpc as stubs
from pocketlens_server.callers import Scope
from pocketlens_server.config import Listen, ServerConfig, Tls
from pocketlens_server.folders import CatalogueFolder, ServerFolder
from pocketlens_server.publishing import releasing
from pocketlens_server.server import Started, serve, warnings
from pocketlens_server.tokens import Tokens

NOW = datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> ServerFolder:
    return ServerFolder.create(tmp_path / "server", offline_keys=tmp_path / "keys", now=NOW)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "tls")


@pytest.fixture
def clients(tmp_path: Path) -> Certificates:
    """An authority of clients, and one of them."""
    return make_certificates(tmp_path / "clients")


@contextmanager
def running(folder: ServerFolder, config: ServerConfig) -> Iterator[dict[str, int]]:
    """The ports of a server in a thread, by what answers there."""
    ports: dict[str, int] = {}
    ready, loop, until = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    def began(port: int) -> None:
        ports["grpc"] = port
        ready.set()

    def told(what: str) -> Callable[[int], None]:
        return lambda port: ports.update({what: port})

    started = Started(began, told("http"), told("metrics"))
    served = serve(folder, config, started=started, until=until)
    thread = threading.Thread(target=lambda: loop.run_until_complete(served))
    thread.start()
    assert ready.wait(20)
    try:
        yield ports
    finally:
        loop.call_soon_threadsafe(until.set)
        thread.join(20)
        assert not thread.is_alive()
        loop.close()


def status(host: str, port: int, path: str, *, tls: ssl.SSLContext | None = None) -> int:
    """Of the answer to a GET."""
    kind = partial(http.client.HTTPSConnection, context=tls) if tls else http.client.HTTPConnection
    with closing(kind(host, port, timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "shop.example"])  # noqa: S104
@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("insecure", [True, False])
def test_no_server_is_open_beyond_the_loopback(
    host: str, encrypted: bool, insecure: bool, folder: ServerFolder, certificates: Certificates
) -> None:
    if encrypted and not insecure:
        return
    tls = Tls(certificates.certificate, certificates.key) if encrypted else Tls()

    served = serve(folder, ServerConfig(Listen(host, 0), tls), insecure=insecure)
    in_time = asyncio.wait_for(served, 5)
    with pytest.raises(ServerError, match="Expected tokens" if insecure else "Expected TLS"):
        asyncio.run(in_time)


@pytest.mark.parametrize("encrypted", [True, False])
def test_metrics_have_a_host_of_their_own_which_is_no_more_open(
    encrypted: bool, folder: ServerFolder, certificates: Certificates
) -> None:
    """What is left out is on the loopback, wherever the rest listens."""
    tls = Tls(certificates.certificate, certificates.key) if encrypted else Tls()
    listen = Listen("0.0.0.0" if encrypted else "127.0.0.1", 0, metrics_port=0)  # noqa: S104
    beyond = replace(listen, metrics_host="0.0.0.0")  # noqa: S104

    with running(folder, ServerConfig(listen, tls)) as ports:
        assert status("127.0.0.1", ports["metrics"], "/metrics") == 200
        with pytest.raises(ConnectionRefusedError):
            status("127.0.0.2", ports["metrics"], "/metrics")
    if encrypted:
        with running(folder, ServerConfig(beyond, tls)) as ports:
            context = ssl.create_default_context(cafile=str(certificates.ca))
            assert status("127.0.0.1", ports["metrics"], "/metrics", tls=context) == 200
    else:
        with pytest.raises(ServerError, match=r"Expected TLS to listen on 0\.0\.0\.0"):
            asyncio.run(serve(folder, ServerConfig(beyond, tls)))


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_a_host_of_ipv6_has_its_ports(host: str, folder: ServerFolder) -> None:
    if not has_ipv6():
        pytest.skip("this machine has no ::1")
    listen = Listen(host, 0, http_port=0, metrics_port=0, metrics_host=host)

    with running(folder, ServerConfig(listen)) as ports:
        with grpc.insecure_channel(f"[::1]:{ports['grpc']}") as channel:
            assert code(channel, None) is grpc.StatusCode.UNAUTHENTICATED
        assert status("::1", ports["http"], "/main/metadata/1.root.json") == 200
        assert status("::1", ports["metrics"], "/healthz") == 200
        taken = replace(listen, http_port=ports["http"])
        with pytest.raises(ServerError, match=rf"Cannot listen on \[::1\]:{ports['http']}"):
            asyncio.run(serve(folder, ServerConfig(taken)))


def code(channel: grpc.Channel, token: str | None) -> grpc.StatusCode:
    """How a server answers a device."""
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    with pytest.raises(grpc.RpcError) as failed:
        stubs.SyncServiceStub(channel).Poll(
            messages.PollRequest(catalogue="nowhere"), metadata=metadata, timeout=20
        )
    found: grpc.StatusCode = failed.value.code()  # type: ignore[attr-defined] # of a call
    return found


def test_without_the_option_tokens_are_asked_for(folder: ServerFolder) -> None:
    with Tokens(folder) as tokens:
        token, _ = tokens.make([Scope.DEVICE], now=NOW)
    with (
        serving(folder.path, asks_tokens=True) as address,
        grpc.insecure_channel(address.grpc) as channel,
    ):
        assert code(channel, None) is grpc.StatusCode.UNAUTHENTICATED
        assert code(channel, token) is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("shows", ["its own", "another's", "none"])
def test_clients_show_a_certificate_besides_their_token(
    shows: str, folder: ServerFolder, certificates: Certificates, clients: Certificates
) -> None:
    with Tokens(folder) as tokens:
        token, _ = tokens.make([Scope.DEVICE], now=NOW)
    tls = Tls(certificates.certificate, certificates.key, clients.ca)
    made = {"its own": clients, "another's": certificates, "none": None}[shows]
    pair = (made.key.read_bytes(), made.certificate.read_bytes()) if made else (None, None)
    shown = grpc.ssl_channel_credentials(certificates.ca.read_bytes(), *pair)
    with (
        serving(folder.path, ServerConfig(tls=tls), asks_tokens=True) as address,
        grpc.secure_channel(address.grpc, shown) as channel,
    ):
        found = [code(channel, None), code(channel, token)]

    if shows == "its own":
        assert found == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.NOT_FOUND]
    else:
        assert found == [grpc.StatusCode.UNAVAILABLE] * 2


def test_an_operator_is_warned_of_an_open_server_and_of_one_that_nobody_may_ask(
    folder: ServerFolder,
) -> None:
    (insecure,) = warnings(folder, insecure=True, now=NOW)
    (no_token,) = warnings(folder, insecure=False, now=NOW)
    assert "WARNING: --insecure asks nobody for a token" in insecure
    assert f"pocketlens-server tokens make --scope device --data {folder.path}" in no_token

    with Tokens(folder) as tokens:
        tokens.make([Scope.BACKEND], now=NOW, expires_at=NOW + timedelta(days=1))

    assert warnings(folder, insecure=False, now=NOW) == []
    assert warnings(folder, insecure=False, now=NOW + timedelta(days=2)) == [no_token]


def test_a_task_that_ends_before_its_server_is_told(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pocketlens_server.server.publish_when_due", fails)
    with serving(folder.path):
        pass

    assert "server.task.failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_timestamps_are_signed_in_turn_with_all_that_is_written(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a connection of its own it would be kept out for as long as others write."""
    signed, kept = threading.Event(), list[object]()

    def noting(catalogue: CatalogueFolder, *, now: datetime) -> bool:
        kept.append(catalogue.kept)
        signed.set()
        return False

    monkeypatch.setattr(releasing, "refresh", noting)
    with serving(folder.path):
        assert signed.wait(20)

    assert None not in kept


def test_nothing_is_signed_by_a_clock_that_has_jumped(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten days go by on one clock, and none on the other."""
    looked, signed = threading.Event(), list[datetime]()
    looks = chain([0.0], repeat(864_000.0))

    def elapsed() -> float:
        seconds = next(looks)
        if seconds:
            looked.set()
        return seconds

    monkeypatch.setattr("pocketlens_server.server.elapsed_seconds", elapsed)
    monkeypatch.setattr(releasing, "refresh", lambda _, *, now: signed.append(now))
    with serving(folder.path):
        assert looked.wait(20)

    assert signed == []
    assert caplog.text.count("clock.suspect") == 1
    assert "server.refresh.failed" not in caplog.text
