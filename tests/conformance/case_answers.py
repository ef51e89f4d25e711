"""What a client answers to a golden file of many cases, held against the file."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tests.conformance.make_vectors import FOLDER

COMMANDS = {
    "apply": "deltas.json",
    "relist": "relists.json",
    "search": "matches.json",
    "manifest": "manifests.json",
}
WITHIN = 1e-4  # of similarities and confidences: they are sums of f32, and rounded in the file


def check(command: str, answers: Mapping[str, Any]) -> None:
    """Every case of the command's file has the answer that stands beside it, and no other."""
    cases = json.loads((FOLDER / COMMANDS[command]).read_text())["cases"]
    assert answers.keys() == cases.keys()
    wrong = {
        name: answers[name]
        for name, case in cases.items()
        if not _same(answers[name], case.get("expected", {"refused": case.get("refused")}))
    }
    assert wrong == {}


def _same(found: Any, expected: Any) -> bool:  # JSON
    match expected:
        case float():
            return isinstance(found, (int, float)) and math.isclose(found, expected, abs_tol=WITHIN)
        case dict():
            return found.keys() == expected.keys() and all(
                _same(found[name], value) for name, value in expected.items()
            )
        case list():
            return len(found) == len(expected) and all(map(_same, found, expected))
        case _:
            return bool(found == expected)
