"""Old readers stay valid, and a store has one writer: RELIABILITY rows 17 and 18, short forms.

`benchmarks/faults/readers.py` is the long one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.making import schedules
from tests.making.rivals import TAKEOVER_SECONDS, Rivals

ROUNDS, STAGES, SCHEDULES = 10, 6, 50


@pytest.mark.skipif(os.name != "posix", reason="has no SIGKILL")
def test_a_writer_is_alone_and_another_takes_over_when_it_is_killed(tmp_path: Path) -> None:
    rivals = Rivals.make(tmp_path)

    for number in range(ROUNDS):
        rivals.round(1 + number % STAGES, is_install=number % 2 == 1)

    assert len(rivals.takeovers) >= ROUNDS - 2
    assert max(rivals.takeovers) <= TAKEOVER_SECONDS
    assert {"fetching", "writing"} <= set(rivals.stages)


def test_readers_go_on_while_installs_come_and_go(tmp_path: Path) -> None:
    editions = schedules.Editions.make(tmp_path)

    for seed in range(SCHEDULES):
        schedules.run(editions, tmp_path / f"store-{seed}", seed)
