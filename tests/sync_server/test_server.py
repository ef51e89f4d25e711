"""What a server refuses to start with, whom it lets in over TLS, and what it says of itself."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
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
from pocketlens_server.folders import ServerFolder
from pocketlens_server.server import serve, warnings
from pocketlens_server.storage.tokens import Tokens

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
