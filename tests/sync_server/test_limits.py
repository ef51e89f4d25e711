"""Limits are above nothing, and gRPC is told of those that it holds."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from pocketlens.errors import ServerError
from pocketlens_server.limits import Limits

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", [each.name for each in fields(Limits) if each.type != "bool"])
def test_a_limit_that_lets_nothing_through_is_refused(name: str) -> None:
    for value in (0, -1, float("nan")):
        with pytest.raises(ServerError, match=f"Expected {name} above 0"):
            replace(Limits(), **{name: value})


def test_grpc_is_told_in_its_units() -> None:
    options = dict(Limits(idle_seconds=1.5, waiting_calls=40).channel_options())

    assert options["grpc.max_connection_idle_ms"] == 1500
    assert options["grpc.server.max_pending_requests_hard_limit"] == 50
    assert all(isinstance(value, int) for value in options.values())


def test_the_docs_have_every_limit_as_it_comes() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()

    for each in fields(Limits):
        value = getattr(Limits(), each.name)
        assert f"| `{each.name}` | {str(value).lower()} |" in page
