"""The golden metadata: a device believes what it should, and of the rest nothing."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.conformance.make_vectors import FOLDER

from pocketlens.errors import ClockSuspect, SyncError, TransportError, TrustError
from pocketlens.sync.trust import Verified, verified

GOLDEN: dict[str, Any] = json.loads((FOLDER / "trust.json").read_text())
CASES: dict[str, dict[str, Any]] = GOLDEN["cases"]
ERRORS: dict[str, type[SyncError]] = {
    "trust": TrustError,
    "clock": ClockSuspect,
    "transport": TransportError,
}


def follow(case: Mapping[str, Any]) -> Verified:
    """What a device believes of a case, after those that it comes after."""

    def fetch(path: str) -> Iterator[bytes] | None:
        name = case["served"].get(path)
        if name is None:
            return None
        data = GOLDEN["files"][name]
        return iter([bytes.fromhex(data) if path.startswith("targets/") else data.encode()])

    trusted = follow(CASES[case["trusted"]]).metadata if case["trusted"] else {}
    return verified(
        trusted,
        root=GOLDEN["roots"][case["root"]].encode(),
        fetch=fetch,
        generation=bytes.fromhex(case["generation"]) if case["generation"] else None,
        now=datetime.fromtimestamp(case["now"], UTC),
    )


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["version"]])
def test_what_is_signed_is_believed(name: str) -> None:
    assert follow(CASES[name]).manifest.version == CASES[name]["version"]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["error"]])
def test_other_files_are_not(name: str) -> None:
    with pytest.raises(ERRORS[CASES[name]["error"]]) as caught:
        follow(CASES[name])

    assert type(caught.value) is ERRORS[CASES[name]["error"]]
