"""Memory that a server has freed goes back to the system.

glibc gives threads heaps of their own, what one of them frees no other uses, and of a heap only the
end goes back by itself: after a rush of large requests a server kept 60 MiB that nothing was in
(benchmarks/faults/soak.py tells what is left of one).
Source: mallopt(3), malloc_trim(3).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

_M_ARENA_MAX = -8


def share_one_heap() -> None:
    """Lets all threads that are still to come use one heap, unless $MALLOC_ARENA_MAX says how many.

    Small blocks come from a cache of each thread all the same.
    """
    if "MALLOC_ARENA_MAX" not in os.environ and (mallopt := _of_glibc("mallopt")):
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Gives the system every page that nothing is in; takes some milliseconds, without the GIL."""
    if trim := _of_glibc("malloc_trim"):
        trim(ctypes.c_size_t(0))


def _of_glibc(name: str) -> Any:
    """A function of the C library, or None: others have none of these."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
