"""Writes the golden files that are JSON.

    PYTHONPATH=. python tests/conformance/make_vectors.py

A vector is never changed, only added: it is what every implementation must go on agreeing with.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.conformance import (
    code_vectors,
    delta_vectors,
    feedback_vectors,
    manifest_vectors,
    match_vectors,
    part_vectors,
    relist_vectors,
    thumbnail_vectors,
    trust_vectors,
)

from pocketlens.formats import parts, state_hash
from pocketlens.formats.parts import ImagePart, OfferPart, Part, PlacementPart, ProductPart

FOLDER = Path(__file__).parent / "vectors"
PATH = FOLDER / "parts.json"

PARTS: list[Part] = [
    ImagePart(1, "mug-front", "https://shop.example/mug.jpg", (1,), bytes([1, 0, 129, 127])),
    ImagePart(2, "pictures/set.jpg", "", (1, 2), bytes([0, 255, 3, 4])),
    ImagePart(4294967295, "\u00e9\u4e2d\U0001f4f7", "", (), b""),
    PlacementPart(1, 0),
    PlacementPart(2, 65535),
    ProductPart(1, "mug", "Mug, 0.3 l", "kitchen", "https://shop.example/mug"),
    ProductPart(2, "set", "", "", "", {"size": "L", "colour": "blue", "\u00e9": "", "Z": "z"}),
    OfferPart(1, 1250, "EUR", 3),
    OfferPart(2, -1, "", -1),
    OfferPart(3, 9007199254740992, "JPY", 0),
]


def vectors() -> dict[str, Any]:
    """parts.json: parts, their canonical bytes, and state hashes of some of them."""
    encoded = [parts.encode(part) for part in PARTS]
    return {
        "format": 1,
        "parts": [part_vectors.described(part) for part in PARTS],
        "refused": [data.hex() for data in _refused(encoded)],
        "states": [_state(""), _state("main")],
        "codebook": _codebook(),
        "generation": _generation(),
    }


def _refused(encoded: list[bytes]) -> list[bytes]:
    return [
        b"",
        b"\x05\x01\0\0\0",
        encoded[0][:-1],
        encoded[0] + b"\0",
        parts.encode_image(1, "i", "", (2, 1), b""),
        parts.encode_offer(1, 5, "", 0),
        parts.encode_offer(1, 5, "eur", 0),
        encoded[5].replace(b"mug", b"m\xffg"),
    ]


def _state(catalogue: str) -> dict[str, Any]:
    numbers = [0, 1, 3, 4, 5, 6, 7, 8]
    state = state_hash.StateSum()
    state.add(parts.encode(PARTS[number]) for number in numbers)
    generation, codebook = bytes(range(32)), bytes(range(32, 64))
    identity = state_hash.Identity(catalogue, generation, codebook)
    counts = state_hash.Counts(2, 2, 2, 2)
    return {
        "catalogue": catalogue,
        "generation": generation.hex(),
        "codebook_sha256": codebook.hex(),
        "counts": asdict(counts),
        "parts": numbers,
        "sum": state.value.hex(),
        "state_hash": state_hash.digest(identity, counts, state.value).hex(),
    }


def _codebook() -> dict[str, Any]:
    centroids = [[1.0, 0.0], [0.0, -1.0], [0.5, 0.25]]
    values = [value for row in centroids for value in row]
    data = struct.pack("<II6e", 3, 2, *values)
    return {
        "centroids": centroids,
        "bytes": data.hex(),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _generation() -> dict[str, Any]:
    bundle, scale = bytes(range(64, 96)), [0.5, 0.001, 1.1000000238418579]
    data = bundle + struct.pack("<3f", *scale)
    return {
        "bundle_sha256": bundle.hex(),
        "scale": scale,
        "id": hashlib.sha256(data).hexdigest(),
    }


def text_of(golden: dict[str, Any]) -> str:
    """A golden file's text."""
    return json.dumps(golden, indent=1) + "\n"


FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "parts.json": vectors,
    "part_edges.json": part_vectors.vectors,
    "codes.json": code_vectors.vectors,
    "feedback.json": feedback_vectors.vectors,
    "deltas.json": delta_vectors.vectors,
    "relists.json": relist_vectors.vectors,
    "matches.json": match_vectors.vectors,
    "manifests.json": manifest_vectors.vectors,
    "thumbnails.json": thumbnail_vectors.vectors,
    "trust.json": trust_vectors.vectors,
}


if __name__ == "__main__":
    for name, make in FILES.items():
        (FOLDER / name).write_text(text_of(make()))
