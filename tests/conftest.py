"""Fixtures of every test: where the real pictures are, and temporary stores."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.making.log_watch import watched

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real pictures and weights; tests that need it skip where it is missing."""
    folder = Path(os.environ.get("POCKETLENS_SHARED", ROOT.parent / "shared"))
    if not (folder / "data" / "grocery" / "catalog.csv").exists():
        pytest.skip(
            f"no real pictures at {folder}: set POCKETLENS_SHARED to a folder with data/grocery"
        )
    return folder


@pytest.fixture(autouse=True)
def _nothing_private_is_logged() -> Iterator[None]:
    """Whatever a test does, at DEBUG: no picture, vector, key or token in any log (row 38)."""
    with watched() as watch:
        yield
    assert watch.found == []
