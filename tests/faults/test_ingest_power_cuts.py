"""A power cut at any moment loses nothing that a backend was told is on disk, pictures included.

The short form of benchmarks/faults/ingest_power_cuts.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.making.backend_power_cuts import cut, recorded
from tests.making.backend_processes import BackendProcesses, planted_server
from tests.making.planting import Defect

IMAGES, ROUNDS = 200, 2


@pytest.mark.parametrize("is_kept", [False, True], ids=["a process a time", "a server that runs"])
def test_what_was_acknowledged_is_there_whole(
    backend_processes: BackendProcesses, scratch: Path, *, is_kept: bool
) -> None:
    recording = recorded(backend_processes, scratch, rounds=ROUNDS, is_kept=is_kept)

    cuts = cut(recording, scratch, images=IMAGES // 2, rng=random.Random(5))

    assert cuts.wrong == []
    assert cuts.is_clean
    assert (cuts.images, cuts.synced) == (IMAGES // 2, IMAGES // 20)
    assert len(cuts.steps) > ROUNDS


@pytest.mark.parametrize("instead", ["OFF", "NORMAL"])
def test_a_database_that_does_not_flush_is_found_out(
    shim: Path, scratch: Path, tmp_path: Path, instead: str
) -> None:
    """A kill shows nothing about flushes: these cuts do."""
    defect = Defect("folders.py", "PRAGMA synchronous = FULL", f"PRAGMA synchronous = {instead}")
    source = planted_server(tmp_path / "source", defect)
    with BackendProcesses.started(shim, source=source) as careless:
        recording = recorded(careless, scratch, rounds=1, is_kept=True)

    cuts = cut(recording, scratch, images=IMAGES // 8, rng=random.Random(5))

    assert cuts.corrupt + cuts.half + cuts.lost > 0
