"""What holds for every request over HTTP: it is counted, let in or told when to come again."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import http.client
import logging
import re
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.making.asking import Answer, Asker
from tests.making.certificates import make_certificates
from tests.making.serving import Address, serving
from tests.making.tiles import TileShop, tile

from pocketlens.errors import NotFound, ServerError
from pocketlens_server.callers import Scope
from pocketlens_server.config import Listen, ServerConfig, Tls
from pocketlens_server.folders import ServerFolder
from pocketlens_server.limits import Limits
from pocketlens_server.query.settings import QuerySettings
from pocketlens_server.server import serve
from pocketlens_server.tokens import Tokens

SEARCH, FACTS = "/v1/catalogs/main/search", "/v1/catalogs/main"
LISTEN = Listen(rest_port=0, metrics_port=0)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TileShop:
    made = TileShop(
        tmp_path_factory.mktemp("shop"), dict.fromkeys(range(4), 1), now=datetime.now(UTC)
    )
    made.publish()
    return made


def token(shop: TileShop) -> dict[str, str]:
    with Tokens(ServerFolder(shop.folder / "server")) as tokens:
        text, _ = tokens.make([Scope.QUERY], now=datetime.now(UTC))
    return {"Authorization": f"Bearer {text}"}


def metrics(address: Address) -> dict[str, float]:
    text = Asker(address.metrics_port).get("/metrics").data.decode()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_each_request_is_counted_by_what_it_asks_and_what_it_gets(
    shop: TileShop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pocketlens_server")
    config = ServerConfig(listen=LISTEN)
    with serving(shop.folder / "server", config, asks_tokens=True) as address:
        asker = Asker(address.web_port, token(shop))
        asker.post(SEARCH, tile(1), "image/png")
        asker.ask("GET", FACTS, headers={"X-Request-Id": "shelf-7"})
        asker.get("/v1/catalogs/nowhere")
        Asker(address.web_port).get(FACTS)
        asker.get("/of/the/callers/choice")
        counted = metrics(address)

    for method, code in [
        ("rest/search", "OK"),
        ("rest/facts", "OK"),
        ("rest/facts", "NOT_FOUND"),
        ("rest/facts", "UNAUTHENTICATED"),
        ("unknown", "NOT_FOUND"),
    ]:
        assert counted[f'pocketlens_calls_total{{code="{code}",method="{method}"}}'] == 1
    assert counted['pocketlens_call_seconds_count{method="rest/facts"}'] == 3
    assert counted['pocketlens_calls_running{method="rest/search"}'] == 0
    lines = [each.getMessage() for each in caplog.records if "rest/" in each.getMessage()]
    assert len(lines) == 4
    id_ = re.match("Bearer pl_([0-9a-f]{12})", asker.headers["Authorization"])
    assert id_ is not None
    assert re.fullmatch(
        rf"call\.done method=rest/search code=OK status=200 ms=[\d.]+ caller={id_[1]} "
        r"peer=127\.0\.0\.1",
        lines[0],
    )
    assert "callers/choice" not in caplog.text


def refused(answer: Answer) -> bool:
    assert answer.status in (200, 429)
    if answer.status == 200:
        return False
    assert answer.error[1] == "RESOURCE_EXHAUSTED"
    assert "Try again in" in answer.error[2]
    assert int(answer.headers["retry-after"]) >= 1
    return True


def test_a_client_that_asks_too_often_is_told_when_to_ask_again(shop: TileShop) -> None:
    config = ServerConfig(listen=LISTEN, limits=Limits(client_rate=0.1, client_burst=5))
    with serving(shop.folder / "server", config, asks_tokens=True) as address:
        asker, other = (Asker(address.web_port, token(shop)) for _ in range(2))

        found = [refused(asker.get(FACTS)) for _ in range(8)]

        assert found == [False] * 5 + [True] * 3
        assert not refused(other.get(FACTS))
        assert not refused(replace(asker, host="127.0.0.2").get(FACTS))
        assert metrics(address)['pocketlens_refused_calls_total{reason="rate"}'] == 3


@pytest.mark.parametrize(
    ("limit", "reason"), [("host_calls", "host"), ("client_calls", "client"), ("calls", None)]
)
def test_a_place_is_for_one_request_at_a_time(
    shop: TileShop, limit: str, reason: str | None
) -> None:
    """Also while it comes; one at work (`calls`) only then."""
    config = ServerConfig(listen=LISTEN, limits=Limits(**{limit: 1}))  # type: ignore[arg-type]
    with serving(shop.folder / "server", config, asks_tokens=True) as address:
        asker = Asker(address.web_port, token(shop))
        slow = http.client.HTTPConnection("127.0.0.1", address.web_port, timeout=20)
        with closing(slow):
            photo = tile(1)
            slow.putrequest("POST", SEARCH)
            for name, value in asker.headers.items():
                slow.putheader(name, value)
            slow.putheader("Content-Type", "image/png")
            slow.putheader("Expect", "100-continue")  # the server says when it has its place
            slow.putheader("Content-Length", str(len(photo)))
            slow.endheaders()
            assert slow.sock.recv(25, 2) == b"HTTP/1.1 100 Continue\r\n\r\n"[:25]

            assert refused(asker.get(FACTS)) == (reason is not None)

            slow.sock.recv(25)
            slow.send(photo)
            assert slow.getresponse().status == 200
        assert not refused(asker.get(FACTS))
        counted = metrics(address)
        for each in ("host", "client", "calls"):
            name = f'pocketlens_refused_calls_total{{reason="{each}"}}'
            assert counted.get(name, 0) == (each == reason)


def test_the_server_works_on_no_more_than_it_may(shop: TileShop) -> None:
    config = ServerConfig(listen=LISTEN, limits=Limits(calls=1))
    with serving(shop.folder / "server", config, asks_tokens=True) as address:
        asker = Asker(address.web_port, token(shop))
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: asker.post(SEARCH, tile(1), "image/png"), range(80)))

        turned_away = [refused(each) for each in found]
        assert not all(turned_away)
        name = 'pocketlens_refused_calls_total{reason="calls"}'
        assert metrics(address)[name] == sum(turned_away) > 0


def test_a_request_that_takes_too_long_is_told_so(shop: TileShop) -> None:
    config = ServerConfig(listen=LISTEN, limits=Limits(unary_seconds=0.2))
    with serving(shop.folder / "server", config, asks_tokens=True) as address:
        asker = Asker(address.web_port, token(shop))
        with closing(http.client.HTTPConnection("127.0.0.1", address.web_port, timeout=20)) as slow:
            slow.request(
                "POST",
                SEARCH,
                headers={**asker.headers, "Content-Length": "5", "Content-Type": "image/png"},
            )
            response = slow.getresponse()
            answer = Answer(response.status, {}, response.read())

    assert answer.error[:2] == (504, "DEADLINE_EXCEEDED")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tls, ssl.SSLContext]:
    made = make_certificates(tmp_path_factory.mktemp("tls"))
    return Tls(made.certificate, made.key), ssl.create_default_context(cafile=str(made.ca))


def test_all_of_it_is_encrypted_where_grpc_is(
    shop: TileShop, tls: tuple[Tls, ssl.SSLContext]
) -> None:
    config = ServerConfig(listen=replace(LISTEN, page=True), tls=tls[0])
    with serving(shop.folder / "server", config, asks_tokens=True) as address:
        asker = Asker(address.web_port, token(shop), tls[1])

        assert asker.post(SEARCH, tile(2), "image/png").json["best"]["product"]["id"] == "sku-2"
        cookie = asker.get("/").headers["set-cookie"]
        assert cookie.startswith("__Host-pocketlens=")
        assert "; Secure" in cookie
        with pytest.raises((OSError, http.client.HTTPException)):
            Asker(address.web_port, token(shop)).get(FACTS)


@pytest.mark.parametrize(
    ("config", "error", "text"),
    [
        (ServerConfig(Listen("0.0.0.0", rest_port=0)), ServerError, "Expected TLS"),  # noqa: S104
        (ServerConfig(LISTEN, query=QuerySettings(enabled=False)), ServerError, "enabled"),
        (ServerConfig(replace(LISTEN, page=True, page_catalogue="shoes")), NotFound, "shoes"),
    ],
)
def test_a_server_that_could_not_answer_or_would_answer_all_does_not_start(
    shop: TileShop, config: ServerConfig, error: type[Exception], text: str
) -> None:
    port_0 = replace(config, listen=replace(config.listen, port=0))
    with pytest.raises(error, match=text):
        asyncio.run(serve(ServerFolder(shop.folder / "server"), port_0))


def test_a_page_says_where_it_is_without_a_port() -> None:
    assert Listen().web_port is None
    assert Listen(page=True).web_port == 8090
    assert Listen(page=True, rest_port=1).web_port == Listen(rest_port=1).web_port == 1


@pytest.mark.parametrize("origin", ["*", "shop.example", "https://shop.example/", "https://a b"])
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    with pytest.raises(ServerError, match="rest_origins"):
        Listen(rest_origins=f"https://shop.example {origin}")
    assert Listen(rest_origins="https://shop.example http://localhost:3000 https://[::1]:8443")
