"""A flush that failed is never called success, and never tried again.

The short form of benchmarks/faults/failed_flushes.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from tests.making.courses import Course
from tests.making.devices import Device
from tests.making.fault_rounds import failed_flushes


def test_success_outlasts_a_power_cut_after_any_failed_flush(
    device: Device, course: Course, scratch: Path
) -> None:
    """Of a first install: it flushes files, folders and a database, and moves CURRENT."""
    done = list(failed_flushes(device, course.steps[0], scratch))

    assert [each.complaints for each in done if each.complaints] == []
    assert {each.ending.error for each in done} == {"", "StoreError"}
