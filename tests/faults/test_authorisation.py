"""Every method of every service with every kind of wrong credential (row 27).

Methods come from the descriptors: one that is added later is asked for here by itself, and fails
as long as it has no row in the table.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import http.client
import importlib
import pkgutil
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from tests.making.serving import Address, serving

import pocketlens_protos.v1
from pocketlens_server.auth import METHODS, Rule
from pocketlens_server.callers import Scope
from pocketlens_server.folders import ServerFolder
from pocketlens_server.tokens import Tokens

OURS = pocketlens_protos.v1.__name__
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
UNKNOWN = (
    "none",
    "garbage",
    "never made",
    "of another secret",
    "expired",
    "revoked",
    "two of them",
)
WRONG = ("of another catalogue", *(f"for {scope}" for scope in Scope), "for the other two")
SCOPES = {
    "pocketlens.v1.SyncService": Scope.DEVICE,
    "pocketlens.v1.CatalogService": Scope.BACKEND,
    "pocketlens.v1.QueryService": Scope.QUERY,
    "grpc.health.v1.Health": Scope.BACKEND,
    "grpc.reflection.v1alpha.ServerReflection": Scope.BACKEND,
}
OPEN = "/grpc.health.v1.Health/Check"
REFUSALS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


def described() -> dict[str, Any]:
    """Every method of which there are stubs here, by its name on the wire."""
    names = [each.name for each in pkgutil.iter_modules(pocketlens_protos.v1.__path__)]
    modules = [importlib.import_module(f"{OURS}.{n}") for n in names if n.endswith("_pb2")]
    return {
        f"/{service.full_name}/{method.name}": method
        for module in (*modules, health_pb2, reflection_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


ALL = described()
ABOUT_CATALOGUES = [path for path in ALL if path in METHODS and METHODS[path].is_about_catalogue]
CELLS = [(path, credential) for path in ALL for credential in (*UNKNOWN, *WRONG, "right")]


def expected(rule: Rule, credential: str) -> grpc.StatusCode | None:
    """How a cell is refused; None where the caller is let in."""
    if rule.scope is None or credential in ("right", f"for {rule.scope}"):
        return None
    if credential in UNKNOWN:
        return grpc.StatusCode.UNAUTHENTICATED
    if credential == "of another catalogue" and not rule.is_about_catalogue:
        return None
    return grpc.StatusCode.PERMISSION_DENIED


@dataclass
class Running:
    """A real server with the catalogues main and outlet.

    Attributes:
        address: Of it.
        channel: To it.
        tokens: That it gave, and that are still to be given.
    """

    address: Address
    channel: grpc.Channel
    tokens: Tokens

    def metadata(self, path: str, credential: str) -> list[tuple[str, str]]:
        """What a caller shows who has such a credential for a method."""
        scope = METHODS[path].scope or Scope.DEVICE
        others = [each for each in Scope if each is not scope]
        right = self._made([scope])
        match credential:
            case "none":
                return []
            case "two of them":
                return [*bearer(right), *bearer(right)]
            case "garbage":
                return bearer("nonsense")
            case "never made":
                return bearer(f"pl_{'0' * 12}{right[15:]}")
            case "of another secret":
                return bearer(right[:16] + self._made([scope])[16:])
            case "expired":
                return bearer(self._made([scope], expires_at=NOW - DAY))
            case "revoked":
                self.tokens.revoke(right[3:15], now=NOW)
                return bearer(right)
            case "of another catalogue":
                return bearer(self._made([scope], catalogues=["outlet"]))
            case "for the other two":
                return bearer(self._made(others))
            case "right":
                return bearer(right)
        return bearer(self._made([Scope(credential.removeprefix("for "))]))

    def refusal(
        self, path: str, metadata: list[tuple[str, str]], catalogue: str = "main"
    ) -> tuple[grpc.StatusCode, str] | None:
        """How a call is refused; None where it is let in, whatever it is answered."""
        request = GetMessageClass(ALL[path].input_type)()
        if "catalogue" in ALL[path].input_type.fields_by_name:
            request.catalogue = catalogue
        # A server does not see which kind its client takes a method for.
        call = self.channel.stream_stream(path, lambda message: message.SerializeToString())(
            iter([request]), metadata=metadata, timeout=20
        )
        try:
            next(call, None)
        except grpc.RpcError:
            return (call.code(), call.details()) if call.code() in REFUSALS else None
        finally:
            call.cancel()
        return None

    def _made(self, scopes: list[Scope], **options: Any) -> str:
        return self.tokens.make(scopes, now=NOW - 2 * DAY, **options)[0]


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path = tmp_path_factory.mktemp("server")
    folder = ServerFolder.create(path / "server", offline_keys=path / "keys", now=NOW)
    folder.add_catalogue("outlet", now=NOW)
    with (
        serving(folder.path, asks_tokens=True) as address,
        grpc.insecure_channel(address.grpc) as channel,
        Tokens(folder) as tokens,
    ):
        yield Running(address, channel, tokens)


@pytest.mark.parametrize(("path", "credential"), CELLS)
def test_each_cell_is_refused_as_it_should_be_or_let_in(
    path: str, credential: str, running: Running
) -> None:
    found = running.refusal(path, running.metadata(path, credential))

    wanted = expected(METHODS[path], credential)
    assert (found and found[0]) == wanted


@pytest.mark.parametrize("path", ALL)
def test_who_is_not_known_is_told_nothing_of_why(path: str, running: Running) -> None:
    told = {running.refusal(path, running.metadata(path, each)) for each in UNKNOWN}

    assert len(told) == 1


@pytest.mark.parametrize("path", [path for path in ALL if path != OPEN])
def test_who_is_not_known_is_refused_before_a_request_comes(path: str, running: Running) -> None:
    stopped = threading.Event()

    def requests() -> Iterator[bytes]:
        stopped.wait(20)
        yield b""

    call = running.channel.stream_stream(path)(requests(), timeout=20)

    assert call.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not stopped.is_set()
    stopped.set()


@pytest.mark.parametrize("path", ABOUT_CATALOGUES)
def test_nobody_learns_which_other_catalogues_there_are(path: str, running: Running) -> None:
    shown = running.metadata(path, "of another catalogue")

    there, nowhere = (running.refusal(path, shown, name) for name in ("main", "nowhere"))

    assert there is not None
    assert nowhere is not None
    assert there[0] is nowhere[0] is grpc.StatusCode.PERMISSION_DENIED
    assert there[1].replace("main", "nowhere") == nowhere[1]
    assert running.refusal(path, shown, "outlet") is None


def test_every_method_has_a_row_and_every_row_a_method() -> None:
    assert METHODS.keys() == ALL.keys()


def test_a_service_is_for_one_scope_and_nothing_is_open_but_health() -> None:
    wanted = {path: SCOPES[path.split("/")[1]] for path in ALL}

    assert {path: rule.scope for path, rule in METHODS.items()} == wanted | {OPEN: None}


@pytest.mark.parametrize("path", [path for path in ALL if path.startswith("/pocketlens.")])
def test_requests_of_ours_name_their_catalogue(path: str) -> None:
    field = ALL[path].input_type.fields_by_name["catalogue"]

    assert field.type == field.TYPE_STRING
    assert METHODS[path].is_about_catalogue


@pytest.mark.parametrize("path", ["/pocketlens.v1.SyncService/Nothing", "/nowhere/At", "/", "x"])
def test_what_is_no_method_is_not_there_for_anybody(path: str, running: Running) -> None:
    token, _ = running.tokens.make(Scope, now=NOW)
    for metadata in ([], bearer(token)):
        call = running.channel.stream_stream(path)(iter([b""]), metadata=metadata, timeout=20)
        with pytest.raises(grpc.RpcError):
            next(call)
        assert call.code() is grpc.StatusCode.UNIMPLEMENTED


def test_over_http_what_is_public_is_open_and_nothing_else_is_there(running: Running) -> None:
    address = "127.0.0.1", running.address.http_port
    with closing(http.client.HTTPConnection(*address, timeout=20)) as connection:
        for path, status in {
            "/main/metadata/1.root.json": 200,
            "/tokens.sqlite": 404,
            "/../tokens.sqlite": 404,
            "/main/../../tokens.sqlite": 404,
            "/server.toml": 404,
        }.items():
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            assert (path, answer.status) == (path, status)
