"""Files that this process has open: what is tested leaves none.

before = open_files()
...
assert open_files() == before   # or <=, where a long test lets what others forgot be closed
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest


def open_files() -> set[tuple[str, str]]:
    """Numbers, and what each stands for; a test is skipped where the system does not list them."""
    folder, found = Path("/proc/self/fd"), set()
    if not folder.is_dir():
        pytest.skip("this system does not list open files")
    for each in folder.iterdir():
        try:
            found.add((each.name, str(each.readlink())))
        except FileNotFoundError:  # the list itself, or it was closed meanwhile
            continue
    return found
