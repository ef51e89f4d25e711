"""vectors/codes.json: embeddings, their codes by plain rounding, and similarities of queries.

Computed number by number, without the SDK.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct
from typing import Any

SCALE = [127.0, 127.0, 1.0, 0.001]
QUERY = [0.5, -0.25, 0.75, 1.0]
EMBEDDINGS = {
    "zero": [0.0, 0.0, 0.0, 0.0],
    "halves_go_to_the_even_level": [0.5, 1.5, 0.0, 0.0],
    "halves_below_0": [-0.5, -2.5, 0.0, 0.0],
    "levels": [3.0, -4.0, 0.5, -0.00025],
    "saturated": [128.0, -1000.0, 1.5, -0.002],
}


def vectors() -> dict[str, Any]:
    """The whole file, as JSON holds it."""
    cases = {}
    for name, embedding in EMBEDDINGS.items():
        pairs = zip(embedding, SCALE, strict=True)
        code = [max(-127, min(127, round(127 * x / scale))) for x, scale in pairs]
        products = zip(QUERY, SCALE, code, strict=True)
        cases[name] = {
            "embedding": struct.pack("<4f", *embedding).hex(),
            "code": struct.pack("4b", *code).hex(),
            "similarity": round(sum(q * scale / 127 * level for q, scale, level in products), 6),
        }
    scale, query = struct.pack("<4f", *SCALE).hex(), struct.pack("<4f", *QUERY).hex()
    return {"format": 1, "scale": scale, "query": query, "cases": cases}
