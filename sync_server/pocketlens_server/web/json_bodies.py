"""A question in JSON to what is asked (PURE).

    question = read(b'{"embedding": {"values": [...]}, "k": 5}')

Numbers are texts until it is known what they are for: none is too large to be read, and a price
stays what it says.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from pocketlens.errors import QueryError
from pocketlens.fallback.messages import embedding_bytes
from pocketlens.query.filters import Filter
from pocketlens_server.query.questions import AutoCategory, Vector
from pocketlens_server.web import fields
from pocketlens_server.web.routes import ATTRIBUTE

_GENERATION_BYTES = 32
_MOST_VALUES = 4096  # that a bundle may give
_TEXTS = ("category", "currency")
_PRICES = ("min_price", "max_price")


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        vector: What is looked for.
        k: Matches wanted.
        wanted: Which products; None for all.
        auto_category: What is done about likely categories; None for nothing.
    """

    vector: Vector
    k: int
    wanted: Filter | None
    auto_category: AutoCategory | None


SEARCH = ("embedding", "k", "filter", "auto_category")
ESTIMATE = ("embedding", "filter")
"""What there may be in a question of each kind."""


def read(body: bytes, known: Collection[str] = SEARCH) -> Question:
    """Reads a body, in which there may be what is known.

    Raises:
        QueryError: It is no JSON, or no question.
    """
    try:
        found = json.loads(
            body, parse_int=_Number, parse_float=_Number, object_pairs_hook=_each_once
        )
    except (ValueError, RecursionError) as exc:  # of JSON, of UTF-8
        raise QueryError("Expected a body in JSON. Received what cannot be read as such.") from exc
    question = _object(found, "the body", known)
    if "embedding" not in question:
        raise QueryError("Expected an embedding: a photo comes as a body of its own, or in a form.")
    k = question.get("k", _Number(fields.k_of({})))
    return Question(
        _vector(question["embedding"]),
        fields.k_of({"k": _number(k, "k")}),
        _filter(question.get("filter", {})),
        fields.auto_category_of(
            {name: _text(question[name], name) for name in ("auto_category",) if name in question}
        ),
    )


def _vector(found: object) -> Vector:
    embedding = _object(found, "embedding", ("generation", "values"))
    text = _text(embedding.get("generation", ""), "generation")
    try:
        generation = bytes.fromhex(text)
    except ValueError:
        generation = b"?"
    if len(generation) not in (0, _GENERATION_BYTES):
        raise QueryError(f"Expected a generation of 64 hex digits. Received {text[:40]!r}.")
    values = embedding.get("values")
    if not isinstance(values, list) or len(values) > _MOST_VALUES:
        raise QueryError("Expected values as an array of numbers, as many as the bundle gives.")
    numbers = [float(_number(each, "each of values")) for each in values]
    with np.errstate(over="ignore"):  # what is infinite then is of no unit length
        return Vector(generation, embedding_bytes(np.array(numbers).astype(np.float32)))


def _filter(found: object) -> Filter | None:
    conditions = _object(found, "filter", (*_TEXTS, *_PRICES, "in_stock", "attributes"))
    texts = {name: _text(conditions[name], name) for name in _TEXTS if name in conditions}
    for name in _PRICES:
        if name in conditions:
            value = conditions[name]
            if not isinstance(value, str):
                _refuse(value, name, "a number or a text")
            texts[name] = value
    is_in_stock = conditions.get("in_stock", False)
    if not isinstance(is_in_stock, bool):
        _refuse(is_in_stock, "in_stock", "true or false")
    if is_in_stock:
        texts["in_stock"] = "true"
    attributes = _object(conditions.get("attributes", {}), "attributes")
    for name, value in attributes.items():
        name = _text(name, "the name of an attribute")  # which is a key of JSON: any text
        texts[ATTRIBUTE + name] = _text(value, f"the attribute {name[:40]!r}")
    return fields.filter_of(texts)


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object; of two filters in one the second would let through what the first does not."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise QueryError("Expected each name of an object once. Received one twice.")
    return found


def _object(found: object, name: str, known: Collection[str] | None = None) -> dict[str, object]:
    if not isinstance(found, dict):
        _refuse(found, name, "an object")
    for each in found:
        if known is not None and each not in known:
            raise QueryError(f"Expected {', '.join(known)} in {name}. Received {each[:40]!r}.")
    return found


def _text(found: object, name: str) -> str:
    if not isinstance(found, str) or isinstance(found, _Number):
        _refuse(found, name, "a text")
    try:
        found.encode()
    except UnicodeEncodeError as exc:
        raise QueryError(f"Expected {name} in Unicode. Received half of a character.") from exc
    return found


def _number(found: object, name: str) -> str:
    if not isinstance(found, _Number):
        _refuse(found, name, "a number")
    return found


def _refuse(found: object, name: str, expected: str) -> NoReturn:
    kind = "a number" if isinstance(found, _Number) else _KINDS.get(type(found), "nothing")
    raise QueryError(f"Expected {name} to be {expected}. Received {kind}.")


_KINDS = {
    dict: "an object",
    list: "an array",
    str: "a text",
    bool: "true or false",
    float: "NaN or infinity",
}
