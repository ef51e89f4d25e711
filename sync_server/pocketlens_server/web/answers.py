"""Answers over HTTP: values as JSON, errors as JSON, and what every answer says to browsers.

shown(result_as_json(found))               # 200
refused(NotFound("..."))                   # 404 {"error": {"code": "NOT_FOUND", ...}}
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType

from starlette.responses import Response

from pocketlens.errors import InvalidOperation
from pocketlens.products import Product
from pocketlens.results import Match, SearchResult, Timings
from pocketlens_server.query.questions import CatalogueFacts, Embedded, Valued
from pocketlens_server.services.answering import Told, told

Json = Mapping[str, object]

STATUS: Mapping[str, HTTPStatus] = MappingProxyType(
    {
        "OK": HTTPStatus.OK,
        "INVALID_ARGUMENT": HTTPStatus.BAD_REQUEST,
        "OUT_OF_RANGE": HTTPStatus.BAD_REQUEST,
        "UNAUTHENTICATED": HTTPStatus.UNAUTHORIZED,
        "PERMISSION_DENIED": HTTPStatus.FORBIDDEN,
        "NOT_FOUND": HTTPStatus.NOT_FOUND,
        "ABORTED": HTTPStatus.CONFLICT,
        "FAILED_PRECONDITION": HTTPStatus.CONFLICT,
        "RESOURCE_EXHAUSTED": HTTPStatus.TOO_MANY_REQUESTS,
        "UNIMPLEMENTED": HTTPStatus.NOT_IMPLEMENTED,
        "UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
        "DEADLINE_EXCEEDED": HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Of an answer with a code of gRPC; of any other, `INTERNAL_SERVER_ERROR`."""

SAFE: Mapping[str, str] = MappingProxyType(
    {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
    }
)
"""Headers of an answer that is no page: nothing is run, framed, guessed or kept of it."""

_SPARED = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE"})  # who asks again is to wait
_LEAST_SECONDS = 1


class Refused(InvalidOperation):
    """A request that HTTP itself has a status for.

    Attributes:
        status: Of the answer.
        code: As gRPC would call it.
    """

    def __init__(self, status: HTTPStatus, code: str, what: str) -> None:
        self.status, self.code = status, code
        super().__init__(what)


def answer(
    data: bytes,
    media_type: str,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    """An answer with the headers that all have; those given count more."""
    every = {"Date": formatdate(usegmt=True), **SAFE, **headers}
    return Response(data, status, every, media_type)


def shown(value: Json) -> Response:
    """A value in JSON."""
    return answer(_encoded(value), "application/json")


def refused(error: Exception) -> tuple[str, Response]:
    """The code of an error, and its answer; what is only the operator's is logged, not told."""
    if isinstance(error, Refused):
        return error.code, refusal(Told(error.code, str(error)), status=error.status)
    found = told(error)
    return found.code, refusal(found)


def refusal(
    found: Told,
    *,
    status: HTTPStatus | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    """An answer that says what was wrong."""
    every = dict(headers)
    if found.code in _SPARED:
        every["Retry-After"] = str(max(_LEAST_SECONDS, math.ceil(found.retry_seconds)))
    if found.code == "UNAUTHENTICATED":
        every["WWW-Authenticate"] = 'Bearer realm="PocketLens"'
    known = status or STATUS.get(found.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    data = error_in_json(found.code, found.text)
    return answer(data, "application/json", status=known, headers=every)


def error_in_json(code: str, text: str) -> bytes:
    """The body of a refusal."""
    return _encoded({"error": {"code": code, "message": text}})


def result_as_json(found: SearchResult) -> Json:
    """What was found."""
    return {
        "verdict": found.verdict.value,
        "confidence": found.confidence,
        "threshold": found.threshold,
        "margin": found.margin,
        "best": None if found.best is None else _match(found.best),
        "matches": [_match(each) for each in found.matches],
        "best_is_in_filter": found.best_is_in_filter,
        "matches_in_filter": found.matches_in_filter,
        "gallery_size": found.gallery_size,
        "generation": found.generation,
        "version": found.version,
        "as_of": _time(found.as_of),
        "answered_by": found.answered_by,
        "accelerator": found.accelerator,
        "timings": _timings(found.timings),
        "categories": [
            {"category": each.category, "probability": each.probability}
            for each in found.categories
        ],
        "searched": list(found.searched),
        "is_blank": found.is_blank,
    }


def valued_as_json(found: Valued) -> Json:
    """What a thing may sell for."""
    price, band = found.estimate.price, found.estimate.price.band
    return {
        "currency": price.currency,
        "band": band
        and {name: f"{getattr(band, name).amount:f}" for name in ("low", "middle", "high")},
        "items": [
            {
                "product": _product(each.product),
                "similarity": each.similarity,
                "age_days": each.age_days,
                "weight": each.weight,
            }
            for each in price.items
        ],
        "suggestions": [asdict(each) for each in found.estimate.suggestions],
        "fitted_on": price.weighting.fitted_on,
        "generation": found.generation,
        "version": found.version,
        "answered_by": found.pipeline,
        "accelerator": found.accelerator,
        "timings": _timings(found.timings),
    }


def embedded_as_json(found: Embedded) -> Json:
    """A photo's embedding."""
    return {
        "embedding": found.embedding.tolist(),
        "answered_by": found.pipeline,
        "generation": found.generation,
        "accelerator": found.accelerator,
        "timings": _timings(found.timings),
    }


def facts_as_json(found: CatalogueFacts) -> Json:
    """What a catalogue has."""
    return {
        "name": found.name,
        "version": found.version,
        "generation": found.generation,
        "as_of": _time(found.as_of),
        "products": found.products,
        "images": found.images,
        "categories": list(found.categories),
    }


def _match(match: Match) -> Json:
    return {
        "product": _product(match.product),
        "image": {"id": match.image.id, "url": match.image.url},
        "similarity": match.similarity,
        "alternatives": [_product(each) for each in match.alternatives],
    }


def _product(product: Product) -> Json:
    price = product.price
    return {
        "id": product.id,
        "title": product.title,
        "category": product.category,
        "url": product.url,
        "price": price and {"amount": f"{price.amount:f}", "currency": price.currency},
        "stock": product.stock,
        "attributes": dict(product.attributes),
    }


def _timings(spent: Timings) -> Json:
    names = ("decode_ms", "queue_ms", "embed_ms", "search_ms")
    return {name: round(getattr(spent, name), 3) for name in names}


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _encoded(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
