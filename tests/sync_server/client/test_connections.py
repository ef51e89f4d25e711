"""Connections of a backend: who it is, whom it trusts, and how long it asks."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import pytest
from tests.making.certificates import make_certificates
from tests.making.serving import Address, serving

from pocketlens.errors import (
    Conflict,
    NotAuthenticated,
    NotAuthorized,
    ServerUnavailable,
    SyncError,
)
from pocketlens.products import Product
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_protos.v1 import catalog_service_pb2_grpc as stubs
from pocketlens_server.callers import Scope
from pocketlens_server.client import (
    CatalogueClient,
    ClientCertificate,
    Credentials,
    PutProduct,
    Result,
)
from pocketlens_server.client.connections import Connection, Patience
from pocketlens_server.config import ServerConfig, Tls
from pocketlens_server.folders import ServerFolder
from pocketlens_server.tokens import Tokens

NOW = datetime.now(UTC)


@pytest.fixture
def closed(server: ServerFolder) -> Iterator[Address]:
    """A server that asks for tokens."""
    with serving(server.path, asks_tokens=True) as found:
        yield found


def test_a_server_is_asked_with_a_token(server: ServerFolder, closed: Address) -> None:
    with CatalogueClient(closed.grpc, credentials=token(server, Scope.BACKEND)) as client:
        assert client.status().version == 0
        client.stream().close()


@pytest.mark.parametrize("kind", ["none", "of nobody", "revoked"])
def test_a_token_that_does_not_hold_is_told_at_once(
    server: ServerFolder, closed: Address, kind: str
) -> None:
    shown = {
        "none": Credentials(),
        "of nobody": Credentials(token="pl_0123456789ab_" + "a" * 43),
        "revoked": token(server, Scope.BACKEND),
    }[kind]
    if kind == "revoked":
        with Tokens(server) as tokens:
            tokens.revoke(tokens.all()[0].id, now=NOW)
    with CatalogueClient(closed.grpc, credentials=shown) as client:
        for call in (client.status, client.stream):
            with pytest.raises(NotAuthenticated):
                call()


def test_a_token_of_a_device_changes_nothing(server: ServerFolder, closed: Address) -> None:
    with CatalogueClient(closed.grpc, credentials=token(server, Scope.DEVICE)) as client:
        for call in (client.status, client.stream, client.publish):
            with pytest.raises(NotAuthorized) as caught:
                call()
            assert not isinstance(caught.value, NotAuthenticated)


def test_a_server_with_a_certificate_of_its_own_is_trusted_by_its_authority(
    server: ServerFolder, tmp_path: Path
) -> None:
    made = make_certificates(tmp_path / "tls")
    config = ServerConfig(tls=Tls(made.certificate, made.key))
    credentials = Credentials(made.ca.read_bytes(), token(server, Scope.BACKEND).token)
    other = Credentials(make_certificates(tmp_path / "other").ca.read_bytes(), credentials.token)
    little = Patience(seconds=0.2, first_seconds=0.05, longest_seconds=0.1)

    with serving(server.path, config, asks_tokens=True) as found:
        with CatalogueClient(found.grpc, credentials=credentials) as client:
            assert client.status().version == 0
        client = CatalogueClient(found.grpc, credentials=other, patience=little)
        with client, pytest.raises(ServerUnavailable, match="does not answer now"):
            client.status()


def test_a_server_that_asks_for_a_certificate_is_shown_one(
    server: ServerFolder, tmp_path: Path
) -> None:
    made, own = make_certificates(tmp_path / "tls"), make_certificates(tmp_path / "own")
    config = ServerConfig(tls=Tls(made.certificate, made.key, client_ca=own.ca))
    credentials = Credentials(made.ca.read_bytes(), token(server, Scope.BACKEND).token)
    certificate = ClientCertificate.read(own.certificate, own.key)
    other = ClientCertificate.read(made.certificate, made.key)
    little = Patience(seconds=0.2, first_seconds=0.05, longest_seconds=0.1)

    with serving(server.path, config, asks_tokens=True) as found:
        with CatalogueClient(
            found.grpc, credentials=credentials, certificate=certificate
        ) as client:
            assert client.apply(PutProduct(Product("mug"))).result is Result.APPLIED
        for shown in (None, other):
            client = CatalogueClient(
                found.grpc, credentials=credentials, certificate=shown, patience=little
            )
            with client, pytest.raises(ServerUnavailable, match="does not answer now"):
                client.status()


def test_a_certificate_that_cannot_be_shown_is_told(tmp_path: Path) -> None:
    made, other = make_certificates(tmp_path / "tls"), make_certificates(tmp_path / "other")
    for chain, key in ((made.certificate, other.key), (made.key, made.key), (tmp_path, made.key)):
        with pytest.raises(SyncError, match="and its key cannot be used"):
            ClientCertificate.read(chain, key)
    assert "PRIVATE" not in repr(ClientCertificate.read(made.certificate, made.key))


class Busy(stubs.CatalogServiceServicer):
    """Asks to be spared a number of times."""

    def __init__(self, times: int, wait_ms: str) -> None:
        self.left, self.wait_ms = times, wait_ms

    def GetCatalogue(self, request: Any, context: Any) -> messages.GetCatalogueResponse:  # noqa: N802
        if self.left:
            self.left -= 1
            context.set_trailing_metadata((("grpc-retry-pushback-ms", self.wait_ms),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Try again later.")
        return messages.GetCatalogueResponse(version=3)

    def Publish(self, request: Any, context: Any) -> messages.PublishResponse:  # noqa: N802
        if self.left:
            self.left -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "The server is about to end.")
        context.abort(grpc.StatusCode.ABORTED, "Expected version 3 to be the newest. It is 4.")


@contextmanager
def client_of(busy: Busy, patience: Patience) -> Iterator[CatalogueClient]:
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        stubs.add_CatalogServiceServicer_to_server(busy, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with CatalogueClient(f"127.0.0.1:{port}", patience=patience) as client:
                yield client
        finally:
            server.stop(None).wait()


def asked(busy: Busy, patience: Patience) -> int:
    """The version that a busy server tells."""
    with client_of(busy, patience) as client:
        return client.status().version


def test_a_server_that_asks_to_be_spared_is_asked_when_it_says() -> None:
    began = monotonic()

    assert asked(Busy(2, "150"), Patience(first_seconds=0.001, longest_seconds=0.001)) == 3

    assert monotonic() - began >= 0.3


def test_who_is_to_wait_longer_than_its_patience_does_not_begin() -> None:
    busy = Busy(2, "3600000")

    with pytest.raises(ServerUnavailable, match="Try again later"):
        asked(busy, Patience(seconds=5))

    assert busy.left == 1


@pytest.mark.parametrize("lost_answers", [0, 1])
def test_a_publish_whose_answer_was_lost_says_that_the_newest_may_be_its_own(
    lost_answers: int,
) -> None:
    soon = Patience(first_seconds=0.001, longest_seconds=0.001)
    with (
        client_of(Busy(lost_answers, "0"), soon) as client,
        pytest.raises(Conflict, match="It is 4") as caught,
    ):
        client.publish(parent=3)

    assert ("may be what that published" in str(caught.value)) == bool(lost_answers)


def test_waits_are_drawn_up_to_a_limit_that_doubles() -> None:
    patience = Patience(seconds=1000, first_seconds=1, longest_seconds=8)
    error = grpc.RpcError()
    error.trailing_metadata = lambda: None
    drawn = []
    for seed in range(300):
        waits = Connection("127.0.0.1:1", patience=patience, rng=random.Random(seed)).waits()
        drawn.append([waits.after(error) or 0 for _ in range(6)])

    longest = [max(each) for each in zip(*drawn, strict=True)]
    shortest = [min(each) for each in zip(*drawn, strict=True)]
    assert [round(each) for each in longest] == [1, 2, 4, 8, 8, 8]
    assert max(shortest) < 0.3


def token(server: ServerFolder, scope: Scope) -> Credentials:
    with Tokens(server) as tokens:
        text, _ = tokens.make([scope], now=NOW)
    return Credentials(token=text)
