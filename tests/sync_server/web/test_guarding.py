"""Every route with every kind of wrong credential (row 27), over HTTP.

Routes come from the application that is served: one that is added later is asked for here by
itself, and there is none without a row that says who may ask.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.routing import Route as StarletteRoute
from tests.making.asking import Answer, Asker
from tests.making.serving import ONE_CLIENT, serving

from pocketlens_server.callers import Scope
from pocketlens_server.config import Listen, ServerConfig
from pocketlens_server.folders import ServerFolder
from pocketlens_server.tokens import Tokens
from pocketlens_server.web.application import routes_of
from pocketlens_server.web.routes import PAGE_ROUTES, ROUTES, Route

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
    "a cookie of nobody",
)
OTHER_SCOPES = tuple(f"for {scope}" for scope in Scope if scope is not Scope.QUERY)
WRONG = ("of another catalogue", *OTHER_SCOPES, "for the other two")
ASKED = [route for route in ROUTES if route.rule.scope is not None]
OPEN = [route for route in ROUTES if route.rule.scope is None]
CELLS = [(route, each) for route in ASKED for each in (*UNKNOWN, *WRONG, "right")]


def named(value: object) -> str | None:
    return value.operation if isinstance(value, Route) else None


@dataclass
class Running:
    """A real server with the catalogues main and outlet, nothing published.

    Attributes:
        port: Of questions over HTTP.
        tokens: That it gave, and that are still to be given.
    """

    port: int
    tokens: Tokens

    def headers(self, credential: str) -> dict[str, str]:
        """What a caller shows who has such a credential."""
        right = self._made([Scope.QUERY])
        match credential:
            case "none":
                return {}
            case "a cookie of nobody":
                return {"Cookie": f"pocketlens={'0' * 16}.99999999.{'0' * 64}"}
            case "two of them":
                return {"Authorization": f"Bearer {right}, Bearer {right}"}
            case "garbage":
                return {"Authorization": "Bearer nonsense"}
            case "never made":
                return bearer(f"pl_{'0' * 12}{right[15:]}")
            case "of another secret":
                return bearer(right[:16] + self._made([Scope.QUERY])[16:])
            case "expired":
                return bearer(self._made([Scope.QUERY], expires_at=NOW - DAY))
            case "revoked":
                self.tokens.revoke(right[3:15], now=NOW)
                return bearer(right)
            case "of another catalogue":
                return bearer(self._made([Scope.QUERY], catalogues=["outlet"]))
            case "for the other two":
                return bearer(self._made([each for each in Scope if each is not Scope.QUERY]))
            case "right":
                return bearer(right)
        return bearer(self._made([Scope(credential.removeprefix("for "))]))

    def ask(self, route: Route, credential: str, catalogue: str = "main") -> Answer:
        path = route.path.replace("{name}", catalogue).replace("{id:path}", "sku-1")
        body = b"no photo" if route.method == "POST" else None
        headers = {**self.headers(credential), "Content-Type": "image/png"}
        return Asker(self.port, headers).ask(route.method, path, body)

    def _made(self, scopes: list[Scope], **options: Any) -> str:
        return self.tokens.make(scopes, now=NOW - 2 * DAY, **options)[0]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path = tmp_path_factory.mktemp("server")
    folder = ServerFolder.create(path / "server", offline_keys=path / "keys", now=NOW)
    folder.add_catalogue("outlet", now=NOW)
    config = ServerConfig(listen=Listen(rest_port=0), limits=ONE_CLIENT)
    with serving(folder.path, config, asks_tokens=True) as address, Tokens(folder) as tokens:
        yield Running(address.web_port, tokens)


@pytest.mark.parametrize(("route", "credential"), CELLS, ids=named)
def test_each_cell_is_refused_as_it_should_be_or_let_in(
    route: Route, credential: str, running: Running
) -> None:
    answer = running.ask(route, credential)

    if credential == "right":
        assert answer.status not in (401, 403)
    elif credential in UNKNOWN:
        assert answer.error[:2] == (401, "UNAUTHENTICATED")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    else:
        assert answer.error[:2] == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("route", ASKED, ids=named)
def test_who_is_not_known_is_told_nothing_of_why(route: Route, running: Running) -> None:
    assert len({running.ask(route, each).data for each in UNKNOWN}) == 1


@pytest.mark.parametrize("route", ASKED, ids=named)
def test_nobody_learns_which_other_catalogues_there_are(route: Route, running: Running) -> None:
    shown = "of another catalogue"

    there, nowhere = (running.ask(route, shown, name) for name in ("main", "nowhere"))

    assert there.status == nowhere.status == 403
    assert there.data.replace(b"main", b"nowhere") == nowhere.data
    assert running.ask(route, shown, "outlet").status not in (401, 403)


@pytest.mark.parametrize("route", OPEN, ids=named)
def test_what_is_open_is_the_document_alone(route: Route, running: Running) -> None:
    assert route.operation == "openapi"
    assert running.ask(route, "none").status == 200


def test_what_is_served_is_what_has_a_row_and_nothing_else() -> None:
    def no_answer(route: Route) -> Any:
        async def answer(request: object) -> None: ...

        return answer

    for rows in (ROUTES, ROUTES + PAGE_ROUTES):
        served = routes_of(rows, no_answer)
        assert [type(each) for each in served] == [StarletteRoute] * len(rows)
        assert [each.path for each in served] == [row.path for row in rows]
        for each, row in zip(served, rows, strict=True):
            assert each.methods == ({"GET", "HEAD"} if row.method == "GET" else {"POST"})


def test_a_route_is_for_the_scope_query_and_about_a_catalogue_or_open_to_all() -> None:
    for route in ROUTES + PAGE_ROUTES:
        assert route.rule.is_about_catalogue == (route.rule.scope is Scope.QUERY)
        assert ("name" in re.findall(r"{(\w+)", route.path)) == route.rule.is_about_catalogue
