"""The OpenAPI document, made from the rows of `routes` (PURE).

document()["paths"]["/v1/catalogs/{name}/search"]["post"]["operationId"]    # "search"
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pocketlens_server.web.routes import ATTRIBUTE, JSON, ROUTES, Parameter, Route
from pocketlens_server.web.schemas import SCHEMAS, Schema, reference

VERSION = "1.0.0"  # of what goes over the wire, not of the program

_REFUSALS: Mapping[str, str] = {
    "400": "Something in the request cannot be.",
    "401": "No token came, or none that holds.",
    "403": "The token is for something else, or for another catalogue.",
    "404": "There is no such catalogue, product, image or generation.",
    "408": "The body did not come in time.",
    "409": "The catalogue cannot be asked as it is: its operator is told why.",
    "413": "The body is larger than may be.",
    "415": "The body is of a type that is not read.",
    "429": "More than the caller may ask, or the server takes: again after Retry-After seconds.",
    "431": "The head is larger than may be.",
    "500": "The server failed.",
    "503": "The server does not answer now: again after Retry-After seconds.",
    "504": "The answer took longer than the server gives.",
}
_OF_BODIES = frozenset({"408", "413", "415"})
_OF_ANYBODY = frozenset({"429", "431", "500"})


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Schema]] = {}
    for route in ROUTES:
        if route.is_described:
            path = route.path.replace(":path}", "}")
            paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PocketLens",
            "version": VERSION,
            "description": "Which product of a shop a photo shows, at full precision.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": dict(SCHEMAS),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Of the scope `query`: `pocketlens-server tokens make`.",
                }
            },
        },
    }


def text() -> str:
    """The document as it is served and kept."""
    return json.dumps(document(), indent=2) + "\n"


def _operation(route: Route) -> Schema:
    asks_token = route.rule.scope is not None
    codes = set(_REFUSALS if asks_token else _OF_ANYBODY)
    if not route.bodies:
        codes -= _OF_BODIES
    media_type, schema = route.answer
    described: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.text,
        "security": [{"token": []}] if asks_token else [],
        "parameters": [_parameter(each) for each in route.parameters],
        "responses": {
            "200": {"description": "The answer.", "content": {media_type: {"schema": schema}}},
            **{code: _refusal(code) for code in sorted(codes)},
        },
    }
    if route.bodies:
        content = {each: {"schema": schema} for each, schema in route.bodies.items()}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameter(parameter: Parameter) -> Schema:
    found: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.text,
        "required": parameter.place == "path",
        "schema": parameter.schema,
    }
    if parameter.name == ATTRIBUTE:  # no style of OpenAPI has a dot
        found |= {"name": f"{ATTRIBUTE}NAME", "schema": {"type": "string"}}
    return found


def _refusal(code: str) -> Schema:
    found: dict[str, Any] = {
        "description": _REFUSALS[code],
        "content": {JSON: {"schema": reference("Error")}},
    }
    if code in ("429", "503"):
        header = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}
        found["headers"] = {"Retry-After": header}
    return found
