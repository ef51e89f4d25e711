"""Disks that fill up or fail, and devices that have them.

What syncs is imported where it is used: other tests of this folder run without that extra too.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.making import fault_shim

if TYPE_CHECKING:
    from tests.making.backend_processes import BackendProcesses
    from tests.making.courses import Course
    from tests.making.devices import Device


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder for many rounds; each leaves it to the next."""
    from tests.making.fault_rounds import scratch_folder

    with scratch_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def course(scratch: Path) -> Course:
    """A step of each kind."""
    from tests.making.courses import Course

    return Course.make(scratch / "course", products=30)


@pytest.fixture(scope="session")
def shim(scratch: Path) -> Path:
    """The library that makes disks fail; skips where it cannot be had."""
    if reason := fault_shim.missing():
        pytest.skip(reason)
    return fault_shim.built(scratch)


@pytest.fixture(scope="session")
def device(shim: Path) -> Iterator[Device]:
    """A device whose disk fails on demand."""
    from tests.making.devices import Device

    with Device.started(shim) as started:
        yield started


@pytest.fixture(scope="session")
def backend_processes(shim: Path) -> Iterator[BackendProcesses]:
    """Processes that take what backends send, whose disks fail on demand."""
    from tests.making.backend_processes import BackendProcesses

    with BackendProcesses.started(shim) as started:
        yield started


@pytest.fixture
def small_disk(tmp_path: Path) -> object:
    """Mounts a tmpfs of a number of bytes; skips where that is not allowed."""
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("this user may not mount a file system")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)
