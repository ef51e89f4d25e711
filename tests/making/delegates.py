"""Loadable TensorFlow Lite delegates, compiled from `delegate/delegate.c`.

library = compiled(tmp_path, "drifting")
invocations(library)                         # how often it computed something
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest

Kind = Literal["exact", "drifting", "dying", "refusing"]

_SOURCE = Path(__file__).parent / "delegate" / "delegate.c"
_DEFINES = {
    "exact": "-DDRIFT=0.0f",
    "drifting": "-DDRIFT=0.5f",
    "dying": "-DDIES_AFTER=3",
    "refusing": "-DREFUSES",
}


def compiled(folder: Path, kind: Kind) -> Path:
    """A shared library in `folder`; skips the test where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("a C compiler is needed to build a delegate, and none was found")
    library = folder / f"{kind}.so"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", _DEFINES[kind]]
    subprocess.run([compiler, *flags, str(_SOURCE), "-o", str(library)], check=True)
    return library


def invocations(library: Path) -> int:
    """How often the delegate computed something in this process."""
    count: int = ctypes.CDLL(str(library)).delegate_invocations()
    return count
