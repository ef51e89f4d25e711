"""A server that is killed loses nothing that it answered, takes nothing twice, and shows devices a
version that is whole; clients go on when it is back.

The short form of benchmarks/faults/killed_server.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from tests.making.backend_kills import MOMENTS, KilledServer
from tests.making.backend_processes import BackendProcesses


def test_kills_at_any_moment_lose_nothing_and_double_nothing(
    backend_processes: BackendProcesses, scratch: Path
) -> None:
    """In ingest, while pictures come and are embedded, in publish, in signing, in collecting."""
    with KilledServer(backend_processes, scratch) as killed:
        for number in range(len(MOMENTS)):
            killed.kill(number)
        killed.finish()

    assert killed.wrong == []
    found = killed.counts
    assert (found["lost"], found["doubled"], found["half-published"]) == (0, 0, 0)
    assert found["killed at a call"] > 0
    assert found["repeated"] > 0
    assert found["answers"] > 100
