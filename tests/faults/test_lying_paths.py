"""What repeats, reorders, cuts or rewrites on the way brings no store to a wrong state."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from tests.making.lying_paths import lying_paths

SCHEDULES = 200  # benchmarks/faults/networks.py takes 5,000


def test_no_schedule_of_lies_brings_a_store_to_a_wrong_state(tmp_path: Path) -> None:
    with lying_paths(tmp_path) as paths:
        for seed in range(SCHEDULES):
            paths.schedule(seed, tmp_path)

    told = paths.lies
    lies = sum(count for name, count in told.items() if not name.startswith(("refused", "synced")))
    refused = sum(count for name, count in told.items() if name.startswith("refused"))
    assert lies > SCHEDULES // 2
    assert refused > SCHEDULES // 4
    assert told["synced all the same"] > SCHEDULES // 20
