"""What backends send, in whatever order and however often, leaves what a plain model says.

The short form of benchmarks/faults/backend_operations.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from tests.making.backend_operations import drawn, judged, send_all
from tests.making.backend_states import BackendStates
from tests.making.replays import any_order
from tests.making.serving import serving
from tests.making.tiles import TileShop

from pocketlens_server.catalogue.decoders import Decoders

OPERATIONS, CLIENTS = 2000, 4
HISTORIES, STEPS = 20, 20


def test_duplicates_conflicts_and_reorderings_of_four_clients_follow_the_model(
    scratch: Path,
) -> None:
    shop = TileShop(scratch / "four clients", {})
    sendings = drawn(random.Random(24), clients=CLIENTS, each=OPERATIONS // CLIENTS)

    with serving(shop.folder / "server") as address:
        answers = send_all(address.grpc, sendings)

    found = judged(shop.catalogue, answers)
    assert found.differences == []
    assert (found.operations, found.doubled, found.lost) == (OPERATIONS, 0, 0)
    assert {"applied", "unchanged", "skipped", "refused", "waiting", "repeated"} <= set(
        found.results
    )


@pytest.fixture
def _fast(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Folders in memory, and one process that decodes."""
    with Decoders(workers=1) as decoders:
        monkeypatch.setattr(tempfile, "tempdir", str(scratch))
        monkeypatch.setattr(BackendStates, "decoders", decoders)
        yield


@pytest.mark.usefixtures("_fast")
def test_tables_follow_the_model_in_any_order() -> None:
    """Also where pictures are embedded, jobs are cancelled and processes end in between."""
    chosen = settings(any_order(HISTORIES, STEPS), derandomize=True)

    run_state_machine_as_test(BackendStates, settings=chosen)
