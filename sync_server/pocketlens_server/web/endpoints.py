"""What answers each route, once it is known that it may be asked.

    response = await endpoints.answer(route, request)

A request to values, one call of `Queries`, a value to an answer. Whoever goes away ends the call,
wherever it waits.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from pocketlens_server.query.queries import Queries
from pocketlens_server.query.questions import Photo
from pocketlens_server.web import answers, fields, forms, json_bodies, openapi
from pocketlens_server.web.answers import Refused
from pocketlens_server.web.bodies import Bodies
from pocketlens_server.web.fields import Fields
from pocketlens_server.web.limits import WebLimits
from pocketlens_server.web.page_files import PageFiles
from pocketlens_server.web.routes import FORM, JSON, Route
from pocketlens_server.web.waiting import while_awaited

Value = TypeVar("Value")

_KEPT = {"Cache-Control": "private, max-age=300"}  # a picture of the catalogue may change


@dataclass(frozen=True, slots=True)
class _Photo:
    """A photo, with what is said beside it."""

    data: bytes
    said: Fields


class Endpoints:
    """Of one server."""

    def __init__(
        self,
        queries: Queries,
        page: PageFiles | None,
        limits: WebLimits,
        *,
        photo_bytes: int,
        working: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Answers nothing yet.

        Args:
            queries: Who is asked.
            page: What is shown; None where no page is.
            limits: Of bodies.
            photo_bytes: Of a photo.
            working: Gives what is to be around work; see `Admission.working`.
        """
        self._queries, self._page, self._limits = queries, page, limits
        self._photo_bytes, self._working = photo_bytes, working
        self._document = openapi.text().encode()
        self._bodies = Bodies(
            all_bytes=limits.bodies_bytes,
            host_bytes=max(limits.host_bodies_bytes, photo_bytes + limits.form_bytes),
            seconds=limits.body_seconds,
        )
        self._answers: dict[str, Callable[[Route, Request, float], Awaitable[Response]]] = {
            "search": self._search,
            "similar": self._similar,
            "estimate": self._estimate,
            "embed": self._embed,
            "facts": self._facts,
            "thumbnail": self._thumbnail,
            "openapi": self._openapi,
            "page": self._page_file,
            "page_file": self._page_file,
        }

    async def answer(self, route: Route, request: Request, until: float) -> Response:
        """Answers a request of a route.

        Args:
            route: Whose.
            request: Of it, by somebody who may make it.
            until: When the loop's clock has come to the end of its time.

        Raises:
            PocketLensError: It cannot be answered.
            starlette.requests.ClientDisconnect: Nobody waits for an answer any more.
        """
        return await self._answers[route.operation](route, request, until)

    async def _search(self, route: Route, request: Request, until: float) -> Response:
        name = request.path_params["name"]
        if _media_type(request) == JSON:
            fields.read(_pairs(request), ())  # all of it is in the body
            async with self._bodies.read(request, most_bytes=self._limits.json_bytes) as body:
                question = json_bodies.read(body)
            found = await self._worked_on(
                request,
                self._queries.search(
                    name,
                    question.vector,
                    k=question.k,
                    wanted=question.wanted,
                    auto_category=question.auto_category,
                    within=_left(until),
                ),
            )
            return answers.shown(answers.result_as_json(found))
        async with self._photo(route, request) as photo:
            found = await self._worked_on(
                request,
                self._queries.search(
                    name,
                    _photo_of(photo),
                    k=fields.k_of(photo.said),
                    wanted=fields.filter_of(photo.said),
                    auto_category=fields.auto_category_of(photo.said),
                    within=_left(until),
                ),
            )
        return answers.shown(answers.result_as_json(found))

    async def _estimate(self, route: Route, request: Request, until: float) -> Response:
        name = request.path_params["name"]
        if _media_type(request) == JSON:
            fields.read(_pairs(request), ())
            async with self._bodies.read(request, most_bytes=self._limits.json_bytes) as body:
                question = json_bodies.read(body, json_bodies.ESTIMATE)
            found = await self._worked_on(
                request,
                self._queries.estimate(
                    name, question.vector, wanted=question.wanted, within=_left(until)
                ),
            )
            return answers.shown(answers.valued_as_json(found))
        async with self._photo(route, request) as photo:
            thing, wanted = _photo_of(photo), fields.filter_of(photo.said)
            found = await self._worked_on(
                request, self._queries.estimate(name, thing, wanted=wanted, within=_left(until))
            )
        return answers.shown(answers.valued_as_json(found))

    async def _similar(self, route: Route, request: Request, until: float) -> Response:
        said = fields.read(_pairs(request), route.query_names)
        found = await self._worked_on(
            request,
            self._queries.similar(
                request.path_params["name"],
                product=request.path_params["id"],
                k=fields.k_of(said),
                wanted=fields.filter_of(said),
                variety=fields.variety_of(said),
                within=_left(until),
            ),
        )
        return answers.shown(answers.result_as_json(found))

    async def _embed(self, route: Route, request: Request, until: float) -> Response:
        async with self._photo(route, request) as photo:
            looked_at = _photo_of(photo)
            by_bundle = fields.is_by_bundle(photo.said)
            embedding = self._queries.embed(
                request.path_params["name"], looked_at, by_bundle=by_bundle, within=_left(until)
            )
            found = await self._worked_on(request, embedding)
        return answers.shown(answers.embedded_as_json(found))

    async def _facts(self, route: Route, request: Request, until: float) -> Response:
        fields.read(_pairs(request), route.query_names)
        found = await self._worked_on(request, self._queries.facts(request.path_params["name"]))
        return answers.shown(answers.facts_as_json(found))

    async def _thumbnail(self, route: Route, request: Request, until: float) -> Response:
        fields.read(_pairs(request), route.query_names)
        asked = request.path_params
        data = await self._worked_on(request, self._queries.thumbnail(asked["name"], asked["id"]))
        return answers.answer(data, "image/jpeg", headers=_KEPT)

    async def _openapi(self, route: Route, request: Request, until: float) -> Response:
        return answers.answer(self._document, JSON)

    async def _page_file(self, route: Route, request: Request, until: float) -> Response:
        if self._page is None:
            raise LookupError(f"There is no page to show at {route.path}.")  # no such route is made
        return self._page.answer(request)

    async def _worked_on(self, request: Request, work: Coroutine[object, object, Value]) -> Value:
        """What comes of work on a request that has come whole."""
        return await while_awaited(request, work, place=self._working)

    @asynccontextmanager
    async def _photo(self, route: Route, request: Request) -> AsyncIterator[_Photo]:
        """The photo of a request, as its body or as a part of a form."""
        media_type, pairs = _media_type(request), _pairs(request)
        if media_type == FORM:
            most_bytes = self._photo_bytes + self._limits.form_bytes
            async with self._bodies.read(request, most_bytes=most_bytes) as body:
                # A form of 16 MiB is looked through, and its photo copied, in 10 ms.
                form = forms.read(body, request.headers["content-type"])
                said = fields.read([*pairs, *form.fields], route.query_names)
                yield _Photo(form.photo, said)
            return
        if not media_type.startswith("image/") and media_type != "application/octet-stream":
            raise _not_read(route, media_type)
        said = fields.read(pairs, route.query_names)
        async with self._bodies.read(request, most_bytes=self._photo_bytes) as body:
            yield _Photo(body, said)


def _photo_of(photo: _Photo) -> Photo:
    return Photo(photo.data, fields.box_of(photo.said))


def _left(until: float) -> float:
    """Seconds that an answer may take: where it would take longer, nothing is begun."""
    return until - asyncio.get_running_loop().time()


def _pairs(request: Request) -> list[tuple[str, str]]:
    return fields.pairs_of(request.scope["query_string"])


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _not_read(route: Route, media_type: str) -> Refused:
    known = ", ".join(route.bodies)
    return Refused(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "INVALID_ARGUMENT",
        f"Expected a body of {known}. Received {media_type[:64] or 'none'!r}. "
        "Try Content-Type: image/jpeg.",
    )
