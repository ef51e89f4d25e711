"""vectors/matches.json: a catalogue in lists, queries, and the matches and verdicts they have.

The catalogue is a snapshot that a store is made of, and the answers are those of searches in it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tests.conformance.golden_catalogue import (
    AS_OF,
    CATALOGUE,
    CENTROIDS,
    CODEBOOK,
    CODEBOOK_SHA256,
    GENERATION,
    SCALE,
    State,
    store,
    stream_of,
)

from pocketlens.answering import searcher_of
from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Calibration
from pocketlens.formats.delta import DeltaReader
from pocketlens.formats.delta_blocks import Block
from pocketlens.formats.parts import ImagePart, OfferPart, PlacementPart, ProductPart
from pocketlens.options import SearchOptions
from pocketlens.query import codes
from pocketlens.query.codebook import Codebook
from pocketlens.query.filters import Filter
from pocketlens.query.searcher import Searcher
from pocketlens.query.verdict import judge
from pocketlens.store import database, installs, snapshots
from pocketlens.store.facts import Origin
from pocketlens.store.reader import Reader

VECTORS = Path(__file__).parent / "vectors"
PROBES = 1
CALIBRATION = Calibration("device", -9.0, 12.0, 20.0, -0.5, 0.75, 0.25)
_SCALE = np.frombuffer(SCALE, "<f4").astype(np.float32)

# Of each image, the embedding before it is brought to unit length, and its products.
IMAGES: dict[int, tuple[list[float], tuple[int, ...]]] = {
    1: ([1.0, 0.1, 0.0, 0.1], (1,)),
    2: ([1.0, 0.12, 0.02, 0.1], (2,)),  # the same picture as 1, of another product
    3: ([0.9, -0.2, 0.3, 0.1], (1,)),  # another picture of 1's product
    4: ([0.8, 0.3, -0.3, 0.2], (3, 4)),  # one picture of two products
    5: ([0.7, 0.2, 0.5, -0.2], (5,)),
    6: ([0.6, 0.5, 0.1, 0.3], (1, 6)),  # of one product that has a match and one that has none
    7: ([0.6, 0.5, 0.1, 0.3], (7,)),  # the very code of 6
    8: ([0.1, 1.0, 0.0, 0.1], (8,)),  # alone in its list
    9: ([-0.6, -0.5, 0.4, 0.3], (9,)),
    10: ([-0.5, -0.4, 0.6, 0.2], (10,)),
    11: ([-0.3, -0.6, 0.5, 0.5], (11, 12)),
}
# Key to category, price in minor units, currency, stock, attributes.
PRODUCTS: dict[int, tuple[str, int, str, int, dict[str, str]]] = {
    1: ("shoes", 7999, "EUR", 4, {"colour": "red", "size": "40"}),
    2: ("shoes", 8001, "EUR", 0, {"colour": "red", "size": "41"}),
    3: ("bags", 8000, "EUR", -1, {"colour": "blue"}),
    4: ("bags", -1, "", 2, {}),
    5: ("bags", 80, "JPY", 1, {"colour": "red"}),
    6: ("shoes", 80000, "KWD", 1, {"colour": "", "size": "40"}),
    7: ("", 80001, "KWD", 1, {}),
    8: ("shoes", 100, "USD", 7, {"colour": "red"}),
    9: ("Shoes", 100, "USD", 7, {"colour": "Red"}),
    10: ("bags", 8000, "USD", 7, {}),
    11: ("tea", 0, "EUR", 2**53, {"colour": "red", "leaf": "whole"}),
    12: ("tea", 2**53, "EUR", 1, {}),
    13: ("shoes", 7999, "EUR", 4, {}),  # no image shows it
}
NEAR_1, NEAR_8, FAR = [1.0, 0.05, 0.05, 0.1], [0.0, 1.0, 0.1, 0.0], [0.1, -0.2, -1.0, 0.1]
BETWEEN = [0.55, 0.6, 0.1, 0.35]

# Name to query, k, filter, probes.
CASES: dict[str, tuple[list[float], int, Filter | None, int]] = {
    "plain": (NEAR_1, 3, None, 1),
    "the_first": (NEAR_1, 1, None, 1),
    "near_duplicates": (BETWEEN, 4, None, 1),
    "two_lists": (BETWEEN, 10, None, 2),
    "lists_until_matches_are_enough": (NEAR_8, 2, None, 1),
    "one_match_takes_two_to_be_judged": (NEAR_8, 1, None, 1),
    "k_beyond_the_catalogue": (NEAR_1, 100, None, 1),
    "far_from_everything": (FAR, 3, None, 3),
    "in_stock": (NEAR_1, 10, Filter(in_stock=True), 1),
    "category": (NEAR_1, 10, Filter(category="shoes"), 1),
    "category_unknown": (NEAR_1, 10, Filter(category=""), 1),
    "no_such_category": (NEAR_1, 10, Filter(category="SHOES"), 1),
    "currency": (NEAR_1, 10, Filter(currency="USD"), 1),
    "from_a_price": (NEAR_1, 10, Filter(min_price=Decimal("80")), 1),
    "up_to_a_price": (NEAR_1, 10, Filter(max_price=Decimal("80")), 1),
    "up_to_less_than_a_minor_unit": (NEAR_1, 10, Filter(max_price=Decimal("79.995")), 1),
    "between_prices": (
        NEAR_1,
        10,
        Filter(min_price=Decimal("80.0"), max_price=Decimal("80.01"), currency="EUR"),
        1,
    ),
    "attribute": (NEAR_1, 10, Filter(attributes={"colour": "red"}), 1),
    "attributes": (NEAR_1, 10, Filter(attributes={"colour": "red", "size": "40"}), 1),
    "empty_attribute": (NEAR_1, 10, Filter(attributes={"colour": ""}), 1),
    "everything_at_once": (
        NEAR_1,
        2,
        Filter("shoes", Decimal(1), Decimal(100), "EUR", True, {"colour": "red"}),
        1,
    ),
}


def vectors() -> dict[str, Any]:
    """The whole file, as JSON holds it."""
    block = _block()
    snapshot = stream_of(0, 1, State().after(block), [block])
    cases: dict[str, Any] = {}
    with _reader(snapshot) as reader:
        for name, (query, k, wanted, probes) in CASES.items():
            for calibration in (CALIBRATION, None) if name == "plain" else (CALIBRATION,):
                cases[name if calibration else f"{name}_without_calibration"] = {
                    "query": _unit(query).astype("<f4").tobytes().hex(),
                    "k": k,
                    "probes": probes,
                    "filter": None if wanted is None else _described(wanted),
                    "calibrated": calibration is not None,
                    "expected": _answer(reader, _unit(query), k, wanted, probes, calibration),
                }
    weights = asdict(CALIBRATION)
    return {
        "format": 1,
        "store": store(),
        "snapshot": snapshot,
        "codebook": CODEBOOK.hex(),
        "scale": SCALE.hex(),
        "duplicate_cosine": _tiny_bundle().spec.duplicate_cosine,
        "calibration": {name: weights[name] for name in _WEIGHTS},
        "cases": cases,
    }


_WEIGHTS = (
    "intercept",
    "similarity_weight",
    "margin_weight",
    "log_products_weight",
    "match_threshold",
    "no_match_threshold",
)


def _block() -> Block:
    embeddings = np.stack([_unit(vector) for vector, _ in IMAGES.values()])
    encoded = codes.encode(embeddings, _SCALE)
    lists = Codebook(np.array(CENTROIDS, np.float16)).assign(embeddings).tolist()
    return Block(
        products=[
            ProductPart(key, f"product {key}", "", category, "", attributes)
            for key, (category, _, _, _, attributes) in PRODUCTS.items()
        ],
        images=[
            ImagePart(key, f"image {key}", "", products, code.tobytes())
            for (key, (_, products)), code in zip(IMAGES.items(), encoded, strict=True)
        ],
        offers=[
            OfferPart(key, price, currency, stock)
            for key, (_, price, currency, stock, _) in PRODUCTS.items()
        ],
        placements=[PlacementPart(key, number) for key, number in zip(IMAGES, lists, strict=True)],
    )


def _unit(vector: list[float]) -> npt.NDArray[np.float32]:
    return (np.array(vector) / np.linalg.norm(vector)).astype(np.float32)


def _tiny_bundle() -> bundles.Bundle:
    return bundles.decode((VECTORS / "tiny_bundle.tflite").read_bytes())


@contextmanager
def _reader(snapshot: dict[str, Any]) -> Iterator[Reader]:
    """A store made of the snapshot."""
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as name:
        folder = Path(name)
        bundle = (VECTORS / "tiny_bundle.tflite").read_bytes()
        with installs.writing(folder), installs.new_install(folder, bundle) as new:
            new.generation = GENERATION.hex()
            snapshots.write(
                new.folder / database.FILE_NAME,
                DeltaReader([bytes.fromhex(snapshot["bytes"])], snapshot["inflated_size"]),
                np.array(CENTROIDS, np.float16),
                Origin(
                    generation=GENERATION.hex(),
                    bundle_sha256=hashlib.sha256(bundle).digest(),
                    catalogue=CATALOGUE,
                    version=1,
                    as_of=AS_OF,
                    scale=_SCALE,
                    probes=PROBES,
                    probes_estimated=True,
                    codebook_sha256=CODEBOOK_SHA256,
                    saturated_share=0.0,
                ),
            )
        with Reader.open(folder) as reader:
            yield reader


def _answer(
    reader: Reader,
    query: npt.NDArray[np.float32],
    k: int,
    wanted: Filter | None,
    probes: int,
    calibration: Calibration | None,
) -> dict[str, Any]:
    searcher: Searcher = searcher_of(reader, _tiny_bundle(), options=SearchOptions(probes=probes))
    found = searcher.search(query, k, wanted)
    judged = judge(found.similarity, found.margin, reader.facts.products, calibration)
    return {
        "matches": [
            {
                "product": group.product_keys[0],
                "alternatives": list(group.product_keys[1:]),
                "image": group.image_key,
                "similarity": round(group.similarity, 6),
            }
            for group in found.groups
        ],
        "matches_in_filter": found.matching_products,
        "verdict": judged.verdict.name.lower(),
        "confidence": None if judged.confidence is None else round(judged.confidence, 5),
    }


def _described(wanted: Filter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "category": wanted.category,
        "min_price": None if wanted.min_price is None else str(wanted.min_price),
        "max_price": None if wanted.max_price is None else str(wanted.max_price),
        "currency": wanted.currency,
        "in_stock": wanted.in_stock or None,
        "attributes": dict(wanted.attributes) or None,
    }
    return {name: value for name, value in described.items() if value is not None}
