"""Memory that is freed stays with the process that asked for it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from pocketlens_converter import allocation

told = allocation.keep_freed_memory() if sys.argv[1] == "kept" else False
for _ in range(3):  # the heap grows to what is needed
    np.ones(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(8 << 20)
print(told, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone gives memory back so")
def test_the_kernel_is_not_asked_again_for_memory_that_was_freed() -> None:
    def faults(how: str) -> tuple[str, int]:
        run = [sys.executable, "-c", FAULTS, how]
        told, count = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
        return told, int(count)

    told, kept = faults("kept")
    _, given_back = faults("given back")

    assert told == "True"
    assert kept < given_back / 10
