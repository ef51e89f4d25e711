"""What there is over HTTP: one row for each route, which everything else is made from.

    for route in ROUTES: ...                    # the application's, the document's, the tests'

A row says who may ask (`Rule`, as of gRPC's methods: there is no route without one), what a
request may bring, and what it is answered with. docs/openapi.json is made of it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

from pocketlens_server.auth import Rule
from pocketlens_server.callers import Scope
from pocketlens_server.web import schemas
from pocketlens_server.web.schemas import Schema, reference

JSON, FORM, ANY_IMAGE, ANY_BYTES = (
    "application/json",
    "multipart/form-data",
    "image/*",
    "application/octet-stream",
)
ATTRIBUTE = "attr."
"""What names of parameters begin with that are conditions on an attribute: `attr.colour=red`."""

Bodies: TypeAlias = Mapping[str, Schema]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that a request may say beside its body.

    Attributes:
        name: Of it; `ATTRIBUTE` with anything behind it where that is what it is.
        text: What it is.
        schema: Of its value.
        place: Where it is said: a part of the path must be.
    """

    name: str
    text: str
    schema: Schema
    place: Literal["path", "query"] = "query"


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that can be asked for.

    Attributes:
        operation: Names it, in code, metrics and logs.
        method: GET, which is HEAD too, or POST.
        path: With names of its parts in braces.
        rule: Who may ask.
        text: What it does, in a sentence.
        parameters: That there are; any other is refused.
        bodies: That may come, by their type.
        answer: Of what type, and what.
        is_described: Whether it is in the document: what is for programs is.
    """

    operation: str
    method: Literal["GET", "POST"]
    path: str
    rule: Rule
    text: str
    parameters: tuple[Parameter, ...] = ()
    bodies: Bodies = field(default_factory=dict)
    answer: tuple[str, Schema] = (JSON, MappingProxyType({}))
    is_described: bool = True

    @property
    def query_names(self) -> frozenset[str]:
        """Of the parameters that come behind the question mark, or as fields of a form."""
        return frozenset(each.name for each in self.parameters if each.place == "query")


_NAME = Parameter("name", "Of the catalogue.", {"type": "string"}, "path")
_ID = Parameter("id", "Of the product or image, percent-encoded.", {"type": "string"}, "path")
_K = Parameter("k", "Matches wanted.", schemas.COUNT_WANTED)
_BOX = Parameter(
    "box",
    "The part of the photo to search: left,top,right,bottom in pixels of the upright photo.",
    {"type": "string", "example": "120,80,640,560"},
)
_FILTER = (
    Parameter("category", "Only products of it, exactly as it is called.", {"type": "string"}),
    Parameter("min_price", "At least this, in each product's own currency.", schemas.PRICE),
    Parameter("max_price", "At most this, in each product's own currency.", schemas.PRICE),
    Parameter("currency", "Only products priced in it.", schemas.CURRENCY),
    Parameter("in_stock", "Only products known to be at hand.", {"type": "boolean"}),
    Parameter(
        ATTRIBUTE,
        "`attr.NAME=VALUE`: only products that have the attribute with just that value.",
        {"type": "object", "additionalProperties": {"type": "string"}},
    ),
)
_VARIETY = Parameter(
    "variety",
    "From 0, the nearest, to 1: the nearest, then those least like what was chosen already.",
    {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
)
_AUTO_CATEGORY = Parameter(
    "auto_category",
    "Tells likely categories; `search` searches these alone where one is sure, or two are: not "
    "beside a `category`.",
    schemas.AUTO_CATEGORY,
)
_MODEL = Parameter(
    "model",
    "Which one embeds: the best that there is, or the bundle's, which phones have.",
    {"type": "string", "enum": ["best", "bundle"], "default": "best"},
)

_QUERY, _ANYBODY = Rule(Scope.QUERY), Rule(None, is_about_catalogue=False)
_PHOTO: Bodies = {ANY_IMAGE: schemas.BYTES, ANY_BYTES: schemas.BYTES}


def _form(*fields: Parameter) -> Schema:
    """A form with a photo, and the same parameters as fields."""
    named = {each.name: each.schema for each in fields if each.name != ATTRIBUTE}
    return {
        "type": "object",
        "required": ["photo"],
        "properties": {"photo": schemas.BYTES, **named},
    }


ROUTES: tuple[Route, ...] = (
    Route(
        "search",
        "POST",
        "/v1/catalogs/{name}/search",
        _QUERY,
        "Finds the products that a photo may show, or those nearest an embedding.",
        (_NAME, _K, *_FILTER, _BOX, _AUTO_CATEGORY),
        {**_PHOTO, FORM: _form(_K, *_FILTER, _BOX, _AUTO_CATEGORY), JSON: reference("Question")},
        (JSON, reference("Answer")),
    ),
    Route(
        "similar",
        "GET",
        "/v1/catalogs/{name}/products/{id:path}/similar",
        _QUERY,
        "Finds the products that look like one of the catalogue, without itself.",
        (_NAME, _ID, _K, *_FILTER, _VARIETY),
        answer=(JSON, reference("Answer")),
    ),
    Route(
        "estimate",
        "POST",
        "/v1/catalogs/{name}/estimate",
        _QUERY,
        "Tells what a thing may sell for, by similar items sold, and suggests its attributes.",
        (_NAME, *_FILTER, _BOX),
        {**_PHOTO, FORM: _form(*_FILTER, _BOX), JSON: reference("EstimateQuestion")},
        (JSON, reference("Estimate")),
    ),
    Route(
        "embed",
        "POST",
        "/v1/catalogs/{name}/embed",
        _QUERY,
        "Embeds a photo.",
        (_NAME, _BOX, _MODEL),
        {**_PHOTO, FORM: _form(_BOX, _MODEL)},
        (JSON, reference("Embedded")),
    ),
    Route(
        "facts",
        "GET",
        "/v1/catalogs/{name}",
        _QUERY,
        "Says what a catalogue has.",
        (_NAME,),
        answer=(JSON, reference("Facts")),
    ),
    Route(
        "thumbnail",
        "GET",
        "/v1/catalogs/{name}/images/{id:path}/thumbnail",
        _QUERY,
        "The catalogue's picture of that id, at most 320 pixels a side.",
        (_NAME, _ID),
        answer=("image/jpeg", schemas.BYTES),
    ),
    Route(
        "openapi",
        "GET",
        "/v1/openapi.json",
        _ANYBODY,
        "This document.",
        answer=(JSON, {"type": "object"}),
    ),
)

PAGE_ROUTES: tuple[Route, ...] = (
    Route("page", "GET", "/", _ANYBODY, "The page.", is_described=False),
    Route("page_file", "GET", "/{file}", _ANYBODY, "What it needs.", is_described=False),
)
"""Beside the others, where the page is served."""
