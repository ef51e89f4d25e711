"""The document: what it must be for others to read it, and that it is what is served."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pocketlens_server.web import openapi
from pocketlens_server.web.routes import ROUTES, Route

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = openapi.document()


def schemas(value: Any) -> Iterator[dict[str, Any]]:
    """Every schema in the document."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name == "schema":
                yield each
            yield from schemas(each)
    elif isinstance(value, list):
        for each in value:
            yield from schemas(each)


ALL = [*DOCUMENT["components"]["schemas"].values(), *schemas(DOCUMENT["paths"])]


def test_the_document_that_is_kept_is_what_the_server_says() -> None:
    kept = (ROOT / "docs" / "openapi.json").read_text()

    assert kept == openapi.text(), "run tools/generate_docs.py"


@pytest.mark.parametrize("schema", ALL, ids=range(len(ALL)))
def test_every_schema_is_one_and_so_are_its_examples(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    for each in [schema, *schema.get("properties", {}).values()]:
        if "example" in each:
            Draft202012Validator(each).validate(each["example"])


def test_every_reference_leads_somewhere() -> None:
    found = re.findall(r'"\$ref": "#/components/schemas/(\w+)"', openapi.text())

    assert set(found) | {"Error"} == set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_every_route_is_described_whole(route: Route) -> None:
    path = route.path.replace(":path", "")
    operation = DOCUMENT["paths"][path][route.method.lower()]

    assert operation["operationId"] == route.operation
    in_path = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", path))
    assert all(each["required"] for each in operation["parameters"] if each["in"] == "path")
    assert operation["security"] == ([{"token": []}] if route.rule.scope else [])
    assert ("requestBody" in operation) == (route.method == "POST")
    assert {"200", "500"} <= operation["responses"].keys()
    assert ("401" in operation["responses"]) == (route.rule.scope is not None)
    for code, response in operation["responses"].items():
        assert response["description"].endswith("."), code


def test_operations_have_names_of_their_own() -> None:
    names = [each["operationId"] for path in DOCUMENT["paths"].values() for each in path.values()]

    assert len(set(names)) == len(names) == len(ROUTES)
    assert DOCUMENT["openapi"] == "3.1.0"
    assert json.loads(openapi.text()) == DOCUMENT
