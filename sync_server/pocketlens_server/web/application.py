"""The application: routes from their table, each behind what holds for all of them.

    application = Application(routes, endpoints, guards, admission, observing, seconds=60)
    starlette = application.starlette(origins=())

A request is counted, given a place, asked who makes it, given a turn, answered within its time; and
whatever fails meanwhile is an answer too.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from pocketlens_server import callers
from pocketlens_server.peers import network
from pocketlens_server.services.answering import Told
from pocketlens_server.web import answers
from pocketlens_server.web.admitting import Admission
from pocketlens_server.web.endpoints import Endpoints
from pocketlens_server.web.guarding import QUESTIONS, Guards
from pocketlens_server.web.observing import CANCELLED, REQUEST_ID, Observing, Seen, peer_of
from pocketlens_server.web.routes import Route

_NOBODY_READS = 499  # what others call it too; it is never sent
_PREFLIGHT_SECONDS = 600


Answers = Callable[[Request], Awaitable[Response]]


def routes_of(rows: Sequence[Route], answering: Callable[[Route], Answers]) -> list[StarletteRoute]:
    """What is served: of each row one, and nothing else.

    Args:
        rows: Of the table.
        answering: Gives what answers requests of a row.
    """
    return [StarletteRoute(row.path, answering(row), methods=[row.method]) for row in rows]


class Application:
    """Of one server."""

    def __init__(
        self,
        routes: Sequence[Route],
        endpoints: Endpoints,
        guards: Guards,
        admission: Admission,
        observing: Observing,
        *,
        seconds: float,
    ) -> None:
        """Answers nothing yet.

        Args:
            routes: That there are.
            endpoints: What answers.
            guards: Who knows callers.
            admission: Who lets them in.
            observing: Who counts them.
            seconds: From the head of a request to its answer.
        """
        self._routes, self._endpoints, self._guards = routes, endpoints, guards
        self._admission, self._observing, self._seconds = admission, observing, seconds

    def starlette(self, *, origins: Sequence[str]) -> Starlette:
        """What a server runs.

        Args:
            origins: Of websites whose pages may ask from a browser, with a token.
        """
        found = Starlette(
            routes=routes_of(self._routes, self._answering),
            middleware=[_cross_origin(origins)] if origins else [],
            exception_handlers={HTTPException: self._refuse},
        )
        found.router.redirect_slashes = False
        return found

    def _answering(self, route: Route) -> Answers:
        async def answer(request: Request) -> Response:
            with self._observing.around(route.operation, request) as seen:
                response = await self._answer(route, request, seen)
                seen.status = response.status_code
                response.headers[REQUEST_ID] = seen.request_id
                return response

        return answer

    async def _answer(self, route: Route, request: Request, seen: Seen) -> Response:
        """An answer, whatever happens."""
        until = asyncio.get_running_loop().time() + self._seconds
        limit = asyncio.timeout_at(until)
        try:
            async with limit:
                return await self._admitted(route, request, until)
        except ClientDisconnect:
            seen.code = CANCELLED
            return Response(status_code=_NOBODY_READS)
        except Exception as exc:  # the outermost place of a request
            if limit.expired():
                text = f"The server gives at most {self._seconds:g} s to a request."
                seen.code = "DEADLINE_EXCEEDED"
                return answers.refusal(Told(seen.code, text))
            seen.code, response = answers.refused(exc)
            return response

    async def _admitted(self, route: Route, request: Request, until: float) -> Response:
        host = network(peer_of(request))
        with self._admission.host(host):
            asker = self._guards.asker(route, request)
            callers.enter(asker.caller)
            with self._admission.client((asker.caller.id, host)):
                if asker.visitor is not None and route.operation in QUESTIONS:
                    self._admission.question(asker.visitor, host)
                return await self._endpoints.answer(route, request, until)

    async def _refuse(self, request: Request, error: Exception) -> Response:
        """What there is no route for, or not with that method."""
        if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            text = f"Expected another method. Received {request.method[:16]}."
            told = Told("UNIMPLEMENTED", text)
            status, headers = HTTPStatus.METHOD_NOT_ALLOWED, dict(error.headers or {})
        else:
            told = Told("NOT_FOUND", "There is nothing at that address. See /v1/openapi.json.")
            status, headers = HTTPStatus.NOT_FOUND, {}
        self._observing.count_unknown(told.code)
        return answers.refusal(told, status=status, headers=headers)


def _cross_origin(origins: Sequence[str]) -> Middleware:
    """Lets browsers show pages of other sites what they ask for; a cookie is never taken there."""
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=["Authorization", "Content-Type", REQUEST_ID],
        expose_headers=["Retry-After", REQUEST_ID],
        max_age=_PREFLIGHT_SECONDS,
    )
