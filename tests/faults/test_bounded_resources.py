"""Whatever callers do, and however long, a server's memory and open files stay where they were.

The short form of benchmarks/faults/soak.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.making.busy_servers import OPEN, BusyServer, busy_server, until
from tests.making.load import Load
from tests.making.soaks import all_at_once

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusyServer]:
    with busy_server(tmp_path_factory.mktemp("server"), unary_seconds=2) as running:
        yield running


def test_a_server_that_is_asked_all_the_while_holds_no_more_than_at_first(
    server: BusyServer,
) -> None:
    files = server.open_files
    all_at_once(server, 2)
    memory = server.memory_bytes
    all_at_once(server, 3)

    assert server.memory_bytes < memory + 8 * MIB
    assert list(server.temporary.iterdir()) == []
    assert until(lambda: server.open_files <= files, 5) < 5


def test_requests_as_large_as_they_may_be_cost_what_is_stated(tmp_path: Path) -> None:
    with busy_server(tmp_path, **OPEN) as server:  # of one host more than it may ask otherwise
        before = max(server.most_memory_bytes, server.memory_bytes)
        load = Load(server.port, seconds=2, callers=32, connections=32, request_bytes=MIB)
        found = load.run()

        assert found.ok.count == found.sent > 32
        # In frames, joined, and read: each for a moment beside the next.
        assert server.most_memory_bytes < before + 32 * 5 * MIB
