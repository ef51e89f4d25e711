"""Who asks over HTTP, and whether the row of a route lets them: a token, or the page's cookie.

    asker = guards.asker(route, request)        # NotAuthenticated, NotAuthorized
    asker.caller, asker.visitor

Tokens open what they open over gRPC. The cookie opens, of one catalogue, what the page asks for,
and is taken from the page alone.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request

from pocketlens.errors import NotAuthorized
from pocketlens.sync.credentials import is_loopback
from pocketlens_server import auth, callers
from pocketlens_server.callers import Caller, Scope
from pocketlens_server.services.recognising import Recognises
from pocketlens_server.web.routes import Route
from pocketlens_server.web.visitors import Visitors, is_elsewhere

QUESTIONS = frozenset({"search", "similar", "estimate"})
_OF_THE_PAGE = QUESTIONS | {"facts", "thumbnail"}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who makes a request.

    Attributes:
        caller: As everywhere.
        visitor: Id of the page's visitor; None for any other caller.
    """

    caller: Caller
    visitor: str | None = None


class Guards:
    """Of one server."""

    def __init__(
        self, recognises: Recognises, visitors: Visitors | None, *, page_catalogue: str
    ) -> None:
        """Knows nobody yet.

        Args:
            recognises: Who shows a token.
            visitors: Who shows a cookie; None where there is no page.
            page_catalogue: What a cookie opens.
        """
        self._recognises, self._visitors = recognises, visitors
        self._visiting = Caller("page", frozenset({Scope.QUERY}), frozenset({page_catalogue}))

    def asker(self, route: Route, request: Request) -> Asker:
        """Who makes a request that the row of its route lets them make.

        Raises:
            NotAuthenticated: Nobody who is known.
            NotAuthorized: They may make others, or make it from where they may not.
        """
        asker = self._asker(route, request)
        if asker.caller is callers.INSECURE and route.rule.scope is not None:
            _check_is_here(request)
        if asker.visitor is not None:
            if route.operation not in _OF_THE_PAGE:
                raise NotAuthorized("Expected a token. Received the page's cookie.")
            _check_is_page(request)
            _check_is_at_home(request)
        auth.check(route.rule, asker.caller)
        if route.rule.is_about_catalogue:
            auth.check_catalogue(asker.caller, request.path_params["name"])
        return asker

    def _asker(self, route: Route, request: Request) -> Asker:
        if route.rule.scope is not None and self._visitors is not None:
            is_secure, has_token = _is_secure(request), "authorization" in request.headers
            cookies = request.headers.getlist("cookie")
            visitor = self._visitors.visitor(cookies, is_secure=is_secure)
            if visitor is not None and not has_token:
                return Asker(self._visiting, visitor)
        shown = auth.shown(request.headers.items())
        return Asker(self._recognises.caller(route.rule, shown))


def _check_is_here(request: Request) -> None:
    """Where nobody shows a token, another site's page is not to ask through a browser here.

    Nor one that has this machine's address for its name's (DNS rebinding).
    """
    _check_is_page(request, is_strict=False)
    if not _is_local(request):
        raise NotAuthorized("Expected a request to localhost or 127.0.0.1, as without tokens.")


def _check_is_page(request: Request, *, is_strict: bool = True) -> None:
    method = request.method if is_strict else "GET"
    origin = f"{request.url.scheme}://{request.url.netloc}"
    if is_elsewhere(request.headers, method=method, origin=origin):
        raise NotAuthorized("Expected a request of this server's own page.")


def _check_is_at_home(request: Request) -> None:
    """Refuses a page that came from here to a browser which takes this for another site.

    A site that has this machine's address for its name's (DNS rebinding) has the page's cookie too.
    Without TLS browsers say `Sec-Fetch-Site` at this machine's own names alone, and behind a proxy
    that has TLS.
    """
    is_told = "sec-fetch-site" in request.headers
    if not (is_told or _is_secure(request) or _is_local(request)):
        raise NotAuthorized("Expected the page at localhost or 127.0.0.1, or under TLS.")


def _is_local(request: Request) -> bool:
    """Whether it was sent to a name of this machine.

    Starlette's `request.url` has this server's address where the head names what it takes for none.
    """
    return is_loopback(re.sub(r":[0-9]*$", "", request.headers.get("host", "").lower()))


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
