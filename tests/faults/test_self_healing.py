"""Damaged stores that follow a server mend themselves: RELIABILITY row 10, the short form.

`benchmarks/faults/self_healing.py` is the long one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.making.damages import KINDS, Clinic, damages, some_of

DAMAGES = 30
LONG_FORM = Path(__file__).resolve().parents[2] / "benchmarks" / "faults" / "self_healing.py"


def test_a_damaged_store_answers_right_or_says_so_and_two_syncs_mend_it(tmp_path: Path) -> None:
    clinic, rng = Clinic.make(tmp_path), np.random.default_rng(10)
    every = damages(*(kind for kind in KINDS if kind != "unreadable"))

    for damage in some_of(every, DAMAGES, rng):
        clinic.round(damage, rng)

    assert clinic.seen["damages"] > DAMAGES / 2
    assert clinic.seen["noticed_by_search"] > DAMAGES / 6
    assert clinic.seen["syncs"] < 2 * clinic.seen["damages"]


@pytest.mark.skipif(os.name != "posix", reason="has no modes of files")
def test_files_that_may_not_be_read_are_mended_too() -> None:
    done = subprocess.run(
        [sys.executable, str(LONG_FORM), "--unreadable"], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert "11 damages" in done.stdout
