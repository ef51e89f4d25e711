"""Devices that were away come to head in one sync, by the cheapest way there is.

The short form; benchmarks/faults has the long one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from tests.making.returning import returns


def test_devices_come_back_in_one_sync(tmp_path: Path) -> None:
    cases = list(returns(tmp_path, products=100, behind=(1, 5, 10), large=(1,)))

    assert [case.name for case in cases if not case.is_right] == []
    assert [(case.name, case.ratio) for case in cases if case.ratio > 1.05] == []
    assert {case.action for case in cases} == {"delta", "install"}
