"""What goes over HTTP in JSON, as schemas of OpenAPI 3.1 (JSON Schema 2020-12). Values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from pocketlens_server.query.questions import MATCHES, MOST_MATCHES

Schema: TypeAlias = Mapping[str, Any]

BYTES: Schema = {"type": "string", "format": "binary"}
PRICE: Schema = {
    "type": "string",
    "pattern": r"^[0-9]{1,16}(\.[0-9]{1,16})?$",
    "description": "In the major unit, without rounding.",
    "example": "12.50",
}
COUNT_WANTED: Schema = {
    "type": "integer",
    "minimum": 1,
    "maximum": MOST_MATCHES,
    "default": MATCHES,
}
AUTO_CATEGORY: Schema = {"type": "string", "enum": ["search", "tell"]}
CURRENCY: Schema = {"type": "string", "pattern": "^[A-Z]{3}$", "example": "EUR"}
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_ATTRIBUTES: Schema = {"type": "object", "additionalProperties": _TEXT}
_GENERATION: Schema = {
    "type": "string",
    "pattern": "^[0-9a-f]{64}$",
    "description": "Id of the generation whose bundle made the vectors.",
}
_AS_OF: Schema = {
    "type": "string",
    "format": "date-time",
    "description": "When the version was published.",
    "example": "2026-11-26T10:00:00Z",
}
_VERSION: Schema = {"type": "integer", "minimum": 1, "description": "Of the catalogue."}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_SIMILARITY: Schema = {"type": "number", "minimum": -1.001, "maximum": 1.001}
_PIPELINE: Schema = {
    "type": "string",
    "enum": ["photo", "embedding"],
    "description": "What answered: the float model, or the bundle's against float32 vectors.",
}


def reference(name: str) -> Schema:
    """A schema of `SCHEMAS`, by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(
    properties: Mapping[str, Schema], *, required: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """An object with these properties and no other; all must be there if it is not said which."""
    return {
        "type": "object",
        "required": list(properties if required is None else required),
        "properties": dict(properties),
        "additionalProperties": False,
    }


SCHEMAS: Mapping[str, Schema] = {
    "Question": _object(
        {
            "embedding": reference("Embedding"),
            "k": COUNT_WANTED,
            "filter": reference("Filter"),
            "auto_category": AUTO_CATEGORY,
        },
        required=("embedding",),
    ),
    "EstimateQuestion": _object(
        {"embedding": reference("Embedding"), "filter": reference("Filter")},
        required=("embedding",),
    ),
    "Embedding": _object(
        {
            "generation": {
                **_GENERATION,
                "description": "Whose bundle made it; the newest if it is left out.",
            },
            "values": {
                "type": "array",
                "items": {"type": "number"},
                "description": "As many as the bundle gives, of unit length.",
            },
        },
        required=("values",),
    ),
    "Filter": _object(
        {
            "category": _TEXT,
            "min_price": {"anyOf": [PRICE, {"type": "number", "minimum": 0}]},
            "max_price": {"anyOf": [PRICE, {"type": "number", "minimum": 0}]},
            "currency": CURRENCY,
            "in_stock": {"type": "boolean"},
            "attributes": _ATTRIBUTES,
        },
        required=(),
    ),
    "Answer": _object(
        {
            "verdict": {"type": "string", "enum": ["match", "unsure", "no_match"]},
            "confidence": _or_null(
                {**_SHARE, "description": "How likely `best` is right; null if nothing says."}
            ),
            "threshold": _or_null(
                {**_SHARE, "description": "Confidence from which the verdict is match."}
            ),
            "margin": _or_null(
                {"type": "number", "description": "Similarity of the first less the second."}
            ),
            "best": _or_null(reference("Match")),
            "matches": {"type": "array", "items": reference("Match")},
            "best_is_in_filter": {
                "type": "boolean",
                "description": "If not, the verdict is on none of `matches`.",
            },
            "matches_in_filter": _COUNT,
            "gallery_size": {**_COUNT, "description": "Products of the catalogue."},
            "generation": _GENERATION,
            "version": _VERSION,
            "as_of": _AS_OF,
            "answered_by": _PIPELINE,
            "accelerator": {"type": "string", "description": '"" where nothing was embedded.'},
            "timings": reference("Timings"),
            "categories": {
                "type": "array",
                "items": _object({"category": _TEXT, "probability": _SHARE}),
                "description": "Likely ones, likeliest first, where they were asked for.",
            },
            "searched": {
                "type": "array",
                "items": _TEXT,
                "description": "Those of them that `matches` are of; none: all were searched.",
            },
            "is_blank": {
                "type": "boolean",
                "description": "Whether the photo is of one colour: its likeness means nothing.",
            },
        }
    ),
    "Match": _object(
        {
            "product": reference("Product"),
            "image": _object({"id": _TEXT, "url": _TEXT}),
            "similarity": _SIMILARITY,
            "alternatives": {
                "type": "array",
                "items": reference("Product"),
                "description": "Others that share the image, or nearly.",
            },
        }
    ),
    "Product": _object(
        {
            "id": _TEXT,
            "title": _TEXT,
            "category": _TEXT,
            "url": _TEXT,
            "price": _or_null(_object({"amount": PRICE, "currency": CURRENCY})),
            "stock": _or_null(_COUNT),
            "attributes": _ATTRIBUTES,
        }
    ),
    "Timings": _object(
        {
            name: {"type": "number", "minimum": 0}
            for name in ("decode_ms", "queue_ms", "embed_ms", "search_ms")
        }
    ),
    "Estimate": _object(
        {
            "currency": {
                **_TEXT,
                "description": "Of all prices; empty where nothing like it has one.",
            },
            "band": _or_null(
                {
                    **_object({"low": PRICE, "middle": PRICE, "high": PRICE}),
                    "description": "Four of five are between low and high; null: too few to say.",
                }
            ),
            "items": {
                "type": "array",
                "items": _object(
                    {
                        "product": reference("Product"),
                        "similarity": _SIMILARITY,
                        "age_days": _or_null(_COUNT),
                        "weight": {**_SHARE, "description": "Of the estimate."},
                    }
                ),
                "description": "That the price came from, heaviest first.",
            },
            "suggestions": {
                "type": "array",
                "items": _object({"name": _TEXT, "value": _TEXT, "share": _SHARE, "votes": _COUNT}),
                "description": "Attributes that similar items share, surest first.",
            },
            "fitted_on": {
                **_COUNT,
                "description": "Items that it was tried on; 0: the band is a guess.",
            },
            "generation": _GENERATION,
            "version": _VERSION,
            "answered_by": _PIPELINE,
            "accelerator": _TEXT,
            "timings": reference("Timings"),
        }
    ),
    "Embedded": _object(
        {
            "embedding": {"type": "array", "items": {"type": "number"}},
            "answered_by": _PIPELINE,
            "generation": _GENERATION,
            "accelerator": _TEXT,
            "timings": reference("Timings"),
        }
    ),
    "Facts": _object(
        {
            "name": _TEXT,
            "version": _VERSION,
            "generation": _GENERATION,
            "as_of": _AS_OF,
            "products": _COUNT,
            "images": _COUNT,
            "categories": {
                "type": "array",
                "items": _TEXT,
                "description": "Most products first, at most 200.",
            },
        }
    ),
    "Error": _object(
        {
            "error": _object(
                {
                    "code": {"type": "string", "description": "As gRPC names it."},
                    "message": {"type": "string", "description": "What was wrong."},
                }
            )
        }
    ),
}
