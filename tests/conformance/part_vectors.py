"""vectors/part_edges.json: parts at their limits, sums of them, and bytes that are no part."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

from pocketlens.formats import parts, state_hash
from pocketlens.formats.parts import ImagePart, OfferPart, Part, PlacementPart, ProductPart

EDGES: list[Part] = [
    ImagePart(1, "i" * 200, "u" * 1000, (1, 4294967295), bytes([129, 127, 0, 255])),
    ImagePart(2, "\u00e9", "e\u0301", (2,), bytes(2)),  # one letter, composed and not: as received
    ImagePart(3, "\ufeffbom and \0 zero", "", (1, 2, 3, 1000), bytes([1, 2])),
    PlacementPart(4294967295, 0),
    ProductPart(4294967295, "p" * 200, "", "", "", {"": "no name", "no value": ""}),
    # By UTF-8 bytes the second comes last, by UTF-16 units, as some languages sort, first.
    ProductPart(2, "sorted", "", "", "", {"\uffee": "1", "\U0001f4f7": "2", "Z": "3", "a": "4"}),
    ProductPart(3, "long", "t" * 3000, "c" * 300, "u" * 300),
    OfferPart(1, 0, "EUR", 0),
    OfferPart(2, -1, "", 7),
    OfferPart(3, 7, "KWD", -1),
    OfferPart(4, 2**53, "USD", 2**53),
]


def vectors() -> dict[str, Any]:
    """The whole file, as JSON holds it."""
    return {
        "format": 1,
        "parts": [described(part) for part in EDGES],
        "refused": {name: data.hex() for name, data in _refused().items()},
        "sums": [
            _sum([], []),
            _sum([0], []),
            _sum(list(range(len(EDGES))), []),
            _sum(list(range(len(EDGES))), [0, 3, 5]),
            _sum([2, 7], [2, 7]),
            _sum([], [1]),
        ],
    }


def described(part: Part) -> dict[str, Any]:
    """A part's fields, its canonical bytes and their SHA-512."""
    data, fields = parts.encode(part), asdict(part)
    if isinstance(part, ImagePart):
        fields["code"] = part.code.hex()
    return {
        "kind": type(part).__name__.removesuffix("Part").lower(),
        "fields": fields,
        "bytes": data.hex(),
        "sha512": hashlib.sha512(data).hexdigest(),
    }


def _refused() -> dict[str, bytes]:
    image = parts.encode_image(1, "i", "", (1, 2), bytes(2))
    product = parts.encode_product(ProductPart(1, "p", "", "", "", {"a": "1", "b": "2"}))
    offer = parts.encode_offer(1, 5, "EUR", 0)
    return {
        "a placement with a byte left over": parts.encode_placement(1, 2) + b"\0",
        "a text longer than what follows": product[:5] + b"\xff\xff\xff\xff" + product[9:],
        "more product keys than what follows": image[:14] + b"\xff\xff\xff\x7f" + image[18:],
        "a product key twice": image.replace(b"\x02\0\0\0\x01", b"\x02\0\0\0\x02", 1),
        "attributes out of order": product.replace(b"a", b"c"),
        "an attribute twice": product.replace(b"a", b"b"),
        "a surrogate in UTF-8": product.replace(b"\x01\0\0\0p", b"\x03\0\0\0\xed\xa0\x80"),
        "an overlong zero in UTF-8": product.replace(b"\x01\0\0\0p", b"\x02\0\0\0\xc0\x80"),
        "a price without currency": parts.encode_offer(1, 0, "", 0),
        "a currency without price": parts.encode_offer(1, -1, "EUR", 0),
        "a price of -2": parts.encode_offer(1, -2, "EUR", 0),
        "a stock of -2": parts.encode_offer(1, 5, "EUR", -2),
        "a currency with a digit": offer.replace(b"EUR", b"EU1"),
        "a currency with a zero byte": offer.replace(b"EUR", b"EU\0"),
        "tag 0": b"\0" + offer[1:],
    }


def _sum(added: list[int], subtracted: list[int]) -> dict[str, Any]:
    total = state_hash.StateSum()
    total.add(parts.encode(EDGES[number]) for number in added)
    total.subtract(parts.encode(EDGES[number]) for number in subtracted)
    return {"added": added, "subtracted": subtracted, "sum": total.value.hex()}
