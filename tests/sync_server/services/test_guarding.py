"""Guards before a service with methods of every kind: who is let in, and when a call ends."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import grpc.aio
import pytest

from pocketlens_protos.v1.sync_service_pb2 import File, PollRequest
from pocketlens_server import callers
from pocketlens_server.auth import Rule
from pocketlens_server.callers import Scope
from pocketlens_server.folders import ServerFolder
from pocketlens_server.services.guarding import Guards
from pocketlens_server.services.malformed import RefusesMalformed
from pocketlens_server.tokens import Tokens

NOW = datetime(2026, 5, 1, tzinfo=UTC)
# Each method and its kind; the last three answer as the first of their kind does.
METHODS = {
    "unary_unary": "unary_unary",
    "unary_stream": "unary_stream",
    "stream_unary": "stream_unary",
    "stream_stream": "stream_stream",
    "open": "unary_unary",
    "anything": "stream_stream",
    "without_row": "unary_unary",
}
KINDS = list(METHODS)[:4]
RULES = {f"/tests.Service/{name}": Rule(Scope.BACKEND) for name in [*KINDS, "not_there"]} | {
    "/tests.Service/open": Rule(None, is_about_catalogue=False),
    "/tests.Service/anything": Rule(Scope.BACKEND, is_about_catalogue=False),
}
MAIN = PollRequest(catalogue="main")
WAITS = PollRequest(catalogue="main", generation=b"waits")
GOES_ON = PollRequest(catalogue="main", generation=b"goes on")


@dataclass
class Service:
    """Answers each request with who asks.

    Attributes:
        seen: Catalogues of the requests that came to it.
        ended: Catalogues of the requests that it was ended with while it waited.
    """

    seen: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    async def unary_unary(self, request: PollRequest, context: object) -> File:
        self.seen.append(request.catalogue)
        if request.generation == WAITS.generation:
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.append(request.catalogue)
        return File(name=callers.current().id)

    async def unary_stream(self, request: PollRequest, context: object) -> AsyncIterator[File]:
        try:
            yield File(name=callers.current().id)
            while request.generation == GOES_ON.generation:
                yield File()
                await asyncio.sleep(0)
        finally:
            self.ended.append("stream")
        yield await self.unary_unary(request, context)

    async def stream_unary(self, requests: AsyncIterator[PollRequest], context: object) -> File:
        answers = [await self.unary_unary(request, context) async for request in requests]
        return answers[0] if answers else File(name="nothing")

    async def stream_stream(
        self, requests: AsyncIterator[PollRequest], context: object
    ) -> AsyncIterator[File]:
        async for request in requests:
            yield await self.unary_unary(request, context)

    def handlers(self) -> grpc.GenericRpcHandler:
        found = {
            name: getattr(grpc, f"{kind}_rpc_method_handler")(
                getattr(self, name if name in KINDS else kind),
                PollRequest.FromString,
                File.SerializeToString,
            )
            for name, kind in METHODS.items()
        }
        return grpc.method_handlers_generic_handler("tests.Service", found)


class Client:
    """Calls the service that a test has.

    Attributes:
        service: Itself.
    """

    def __init__(self, channel: grpc.Channel, service: Service) -> None:
        self._channel, self.service = channel, service

    def call(self, name: str, requests: Iterable[PollRequest], token: str | None) -> Any:
        """A call that has begun; a server does not see which kind its client takes it for."""
        method = self._channel.stream_stream(
            f"/tests.Service/{name}", PollRequest.SerializeToString, File.FromString
        )
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        return method(iter(requests), metadata=metadata, timeout=20)

    def told(self, name: str, *requests: PollRequest, token: str | None = None) -> str:
        """The name in the last answer, or the status instead."""
        call = self.call(name, requests, token)
        try:
            return str(list(call)[-1].name)
        except grpc.RpcError:
            return str(call.code().name)


@contextmanager
def served(folder: Path | None, **options: Any) -> Iterator[Client]:
    """A service behind guards, which ask for tokens of a server's folder if there is one."""
    service, loop, ready = Service(), asyncio.new_event_loop(), threading.Event()
    until, ports = asyncio.Event(), list[int]()

    async def run() -> None:
        tokens = Tokens(ServerFolder(folder)) if folder else None
        guards = Guards(tokens, methods=RULES, **{"clock": lambda: NOW, **options})
        server = grpc.aio.server(interceptors=[RefusesMalformed(), guards])
        server.add_generic_rpc_handlers((service.handlers(),))
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        ready.set()
        await until.wait()
        await server.stop(None)
        if tokens:
            tokens.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert ready.wait(10)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel:
            yield Client(channel, service)
    finally:
        loop.call_soon_threadsafe(until.set)
        thread.join(10)
        loop.close()
    assert not thread.is_alive()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "catalogues" / "main").mkdir(parents=True)
    (tmp_path / "server.json").write_text(json.dumps({"format": 1, "offline_keys": "/nowhere"}))
    return tmp_path


@pytest.fixture
def tokens(folder: Path) -> Iterator[Tokens]:
    with Tokens(ServerFolder(folder)) as made:
        yield made


@pytest.fixture
def client(folder: Path) -> Iterator[Client]:
    with served(folder) as made:
        yield made


@pytest.mark.parametrize("name", KINDS)
def test_a_token_that_holds_opens_a_method_of_any_kind_and_says_who_calls(
    name: str, client: Client, tokens: Tokens
) -> None:
    text, token = tokens.make([Scope.BACKEND], now=NOW, catalogues=["main"])

    assert client.told(name, MAIN, token=text) == token.id
    assert client.service.seen == ["main"]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("scope", "catalogue", "status"),
    [
        (None, "main", "UNAUTHENTICATED"),
        (Scope.DEVICE, "main", "PERMISSION_DENIED"),
        (Scope.BACKEND, "other", "PERMISSION_DENIED"),
        (Scope.BACKEND, "", "PERMISSION_DENIED"),
    ],
)
def test_what_a_token_does_not_open_never_comes_to_the_service(
    name: str, scope: Scope | None, catalogue: str, status: str, client: Client, tokens: Tokens
) -> None:
    text = scope and tokens.make([scope], now=NOW, catalogues=["main"])[0]

    assert client.told(name, PollRequest(catalogue=catalogue), token=text) == status
    assert client.service.seen == []


@pytest.mark.parametrize("name", ["stream_unary", "stream_stream"])
def test_a_stream_stays_in_the_catalogue_that_its_first_request_names(
    name: str, client: Client, tokens: Tokens
) -> None:
    text, token = tokens.make([Scope.BACKEND], now=NOW, catalogues=["main"])

    assert client.told(name, MAIN, PollRequest(), MAIN, token=text) == token.id
    assert client.told(name, MAIN, PollRequest(catalogue="other"), token=text) == (
        "PERMISSION_DENIED"
    )
    assert client.service.seen == ["main", "", "main", "main"]


def test_a_stream_without_requests_is_one_too(client: Client, tokens: Tokens) -> None:
    text, _ = tokens.make([Scope.BACKEND], now=NOW, catalogues=["main"])

    assert client.told("stream_unary", token=text) == "nothing"


def test_a_method_that_is_about_no_catalogue_asks_for_none(client: Client, tokens: Tokens) -> None:
    text, token = tokens.make([Scope.BACKEND], now=NOW, catalogues=["main"])

    assert client.told("anything", PollRequest(catalogue="other"), token=text) == token.id


def test_what_is_open_to_everybody_needs_no_token(client: Client) -> None:
    assert client.told("open", MAIN) == "anybody"
    assert client.told("open", MAIN, token="nonsense") == "anybody"  # noqa: S106 # of no server


@pytest.mark.parametrize("name", ["without_row", "not_there", "nowhere"])
def test_a_method_without_a_row_is_not_there_whoever_asks(
    name: str, folder: Path, client: Client, tokens: Tokens
) -> None:
    text, _ = tokens.make(Scope, now=NOW)

    assert client.told(name, MAIN, token=text) == "UNIMPLEMENTED"
    with served(None) as insecure:
        assert insecure.told(name, MAIN) == "UNIMPLEMENTED"
    assert client.service.seen == []


@pytest.mark.parametrize("name", [*KINDS[:4], "open"])
def test_an_insecure_server_asks_for_nothing(name: str) -> None:
    with served(None) as client:
        assert client.told(name, PollRequest(catalogue="any")) == "insecure"


def test_nobody_is_let_in_where_tokens_cannot_be_looked_up(
    folder: Path, client: Client, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    text, _ = tokens.make([Scope.BACKEND], now=NOW)
    with closing(sqlite3.connect(folder / "tokens.sqlite")) as connection:
        connection.execute("DROP TABLE tokens")

    assert client.told("unary_unary", MAIN, token=text) == "INTERNAL"
    assert client.service.seen == []
    assert "no such table" in caplog.text


@pytest.mark.parametrize("name", KINDS)
def test_who_shows_no_token_that_holds_is_refused_before_a_request_comes(
    name: str, client: Client
) -> None:
    stopped = threading.Event()

    def requests() -> Iterator[PollRequest]:
        stopped.wait(20)
        yield MAIN

    call = client.call(name, requests(), None)

    assert call.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not stopped.is_set()
    stopped.set()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("what", ["revoked", "expired"])
def test_a_call_that_waits_ends_soon_after_its_token(
    name: str, what: str, folder: Path, tokens: Tokens
) -> None:
    now = [NOW]
    expires = NOW + timedelta(hours=1)
    text, token = tokens.make([Scope.BACKEND], now=NOW, expires_at=expires)
    with served(folder, clock=lambda: now[0], recheck_seconds=0.05) as client:
        call = client.call(name, [WAITS], text)
        wait_for(lambda: client.service.seen == ["main"])
        assert client.service.ended in ([], ["stream"])
        began = monotonic()
        if what == "revoked":
            tokens.revoke(token.id, now=NOW)
        now[0] = expires if what == "expired" else NOW
        with pytest.raises(grpc.RpcError):
            list(call)
        assert call.code() is grpc.StatusCode.UNAUTHENTICATED

    assert monotonic() - began < 2
    assert "main" in client.service.ended


def test_a_stream_that_goes_on_ends_soon_after_its_token(folder: Path, tokens: Tokens) -> None:
    text, token = tokens.make([Scope.BACKEND], now=NOW)
    with served(folder, recheck_seconds=0.05) as client:
        call = client.call("unary_stream", [GOES_ON], text)
        assert next(call).name == token.id
        tokens.revoke(token.id, now=NOW)
        with pytest.raises(grpc.RpcError):
            list(call)
        assert call.code() is grpc.StatusCode.UNAUTHENTICATED
        wait_for(lambda: client.service.ended == ["stream"])


def test_a_call_whose_token_holds_is_left_alone_and_one_that_ended_is_looked_at_no_more(
    folder: Path, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    text, token = tokens.make([Scope.BACKEND], now=NOW)
    looks = list[datetime]()

    def clock() -> datetime:
        looks.append(NOW)
        return NOW

    with served(folder, clock=clock, recheck_seconds=0.02) as client:
        call = client.call("unary_stream", [GOES_ON], text)
        assert next(call).name == token.id
        wait_for(lambda: len(looks) > 10 and next(call) is not None)
        call.cancel()
        wait_for(lambda: client.service.ended == ["stream"])
        tokens.revoke(token.id, now=NOW)
        ends = monotonic() + 0.2
        while monotonic() < ends:
            assert client.told("open", MAIN) == "anybody"

    assert "guard.refused" not in caplog.text


def test_logs_say_by_id_alone_why_a_token_opened_nothing(
    client: Client, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    text, token = tokens.make([Scope.BACKEND], now=NOW)
    old, expired = tokens.make([Scope.BACKEND], now=NOW, expires_at=NOW)

    assert client.told("unary_unary", MAIN, token=text) == token.id
    for shown in (old, text[:16] + old[16:], f"{text[:-1]}!"):
        assert client.told("unary_unary", MAIN, token=shown) == "UNAUTHENTICATED"
    tokens.revoke(token.id, now=NOW)
    assert client.told("unary_unary", MAIN, token=text) == "UNAUTHENTICATED"

    said = [each.getMessage() for each in caplog.records if "guard." in each.getMessage()]
    assert said == [
        f"guard.refused token={expired.id} reason=expired",
        f"guard.refused token={token.id} reason=another secret",
        f"guard.refused token={token.id} reason=revoked",
    ]
    assert text[16:] not in caplog.text
    assert old[16:] not in caplog.text


def test_a_token_that_is_refused_again_and_again_fills_no_log(
    client: Client, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pocketlens_server")
    revoked, one = tokens.make([Scope.BACKEND], now=NOW)
    tokens.revoke(one.id, now=NOW)
    expired, other = tokens.make([Scope.BACKEND], now=NOW, expires_at=NOW)
    began = monotonic()

    for text in [*[revoked] * 100, expired]:
        assert client.told("unary_unary", MAIN, token=text) == "UNAUTHENTICATED"

    said = [each.getMessage() for each in caplog.records if "guard." in each.getMessage()]
    assert 10 <= sum(one.id in each for each in said) <= 11 + (monotonic() - began)
    assert sum(other.id in each for each in said) == 1


def wait_for(holds: Callable[[], bool]) -> None:
    ends = monotonic() + 10
    while not holds():
        assert monotonic() < ends
