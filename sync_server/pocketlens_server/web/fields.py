"""Parameters of a request, which are texts, to what is asked (PURE).

    fields = read(pairs_of(b"k=5&in_stock=true"), known={"k", "in_stock"})
    k_of(fields), filter_of(fields), box_of(fields)

A name that there is not is refused: a misspelt filter would let everything through.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from urllib.parse import parse_qsl

from pocketlens.errors import QueryError
from pocketlens.fallback import messages as codec
from pocketlens.query.filters import Filter
from pocketlens_protos.v1 import query_service_pb2 as messages
from pocketlens_server.query.questions import MATCHES, AutoCategory
from pocketlens_server.web.routes import ATTRIBUTE

MOST_FIELDS = 64
_TEXTS = ("category", "min_price", "max_price", "currency")
_NUMBER = re.compile(r"-?[0-9]{1,6}(\.[0-9]{1,6})?")
_COUNT = re.compile(r"[0-9]{1,6}")
_SHOWN = 40  # characters of what was received

Fields = Mapping[str, str]


def pairs_of(query: bytes) -> list[tuple[str, str]]:
    """What is behind the question mark of an address.

    Raises:
        QueryError: It is no such thing, or far too much.
    """
    try:
        text = query.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError as exc:  # a UnicodeError is one
        raise QueryError(
            f"Expected at most {MOST_FIELDS} parameters NAME=VALUE in percent-encoded UTF-8."
        ) from exc


def read(pairs: Iterable[tuple[str, str]], known: Collection[str]) -> Fields:
    """Each parameter, by its name.

    Raises:
        QueryError: One comes twice, or there is none of its name.
    """
    fields: dict[str, str] = {}
    for name, value in pairs:
        is_attribute = name.startswith(ATTRIBUTE) and name != ATTRIBUTE
        if (ATTRIBUTE if is_attribute else name) not in known or name == ATTRIBUTE:
            raise QueryError(f"{_expected(known)} Received {name[:_SHOWN]!r}.")
        if name in fields:
            raise QueryError(f"Expected {name[:_SHOWN]} once. Received it twice.")
        fields[name] = value
    return fields


def k_of(fields: Fields) -> int:
    """How many matches are wanted.

    Raises:
        QueryError: It is no number.
    """
    text = fields.get("k", str(MATCHES))
    if not _COUNT.fullmatch(text):
        raise QueryError(f"Expected k as a whole number. Received {text[:_SHOWN]!r}.")
    return int(text)


def box_of(fields: Fields) -> tuple[float, float, float, float] | None:
    """The part of the photo to search; None for all.

    Raises:
        QueryError: It is not four numbers.
    """
    text = fields.get("box")
    if text is None:
        return None
    numbers = text.split(",", 4)
    if len(numbers) != 4 or not all(map(_NUMBER.fullmatch, numbers)):
        raise QueryError(
            "Expected box as left,top,right,bottom in pixels, such as 120,80,640,560. "
            f"Received {text[:_SHOWN]!r}."
        )
    left, top, right, bottom = map(float, numbers)
    return left, top, right, bottom


def variety_of(fields: Fields) -> float:
    """How little alike matches are to be.

    Raises:
        QueryError: It is no number.
    """
    text = fields.get("variety", "0")
    if not _NUMBER.fullmatch(text):
        raise QueryError(f"Expected variety as a number from 0 to 1. Received {text[:_SHOWN]!r}.")
    return float(text)


def auto_category_of(fields: Fields) -> AutoCategory | None:
    """What is done about likely categories; None for nothing.

    Raises:
        QueryError: It is another word.
    """
    match fields.get("auto_category"):
        case None | "search" | "tell" as known:
            return known
        case text:
            received = repr(text[:_SHOWN])
            raise QueryError(f"Expected auto_category as search or tell. Received {received}.")


def filter_of(fields: Fields) -> Filter | None:
    """Which products are wanted; None for all.

    Raises:
        QueryError: A condition cannot be.
    """
    message = messages.Filter()
    for name, value in fields.items():
        if name in _TEXTS:
            setattr(message, name, value)
        elif name == "in_stock":
            message.in_stock = _truth(name, value)
        elif name.startswith(ATTRIBUTE):
            message.attributes[name.removeprefix(ATTRIBUTE)] = value
    wanted = codec.filter_of(message)
    return None if wanted.is_empty else wanted


def is_by_bundle(fields: Fields) -> bool:
    """Whether the model of phones is to embed.

    Raises:
        QueryError: Another model is named.
    """
    text = fields.get("model", "best")
    if text not in ("best", "bundle"):
        raise QueryError(f"Expected model as best or bundle. Received {text[:_SHOWN]!r}.")
    return text == "bundle"


def _truth(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise QueryError(f"Expected {name} as true or false. Received {text[:_SHOWN]!r}.")
    return text == "true"


def _expected(known: Collection[str]) -> str:
    if not known:
        return "Expected no parameter."
    shown = (f"{each}NAME" if each == ATTRIBUTE else each for each in sorted(known))
    return f"Expected parameters of {', '.join(shown)}."
