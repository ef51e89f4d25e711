"""What a process has allocated, said on its output for each line of its input.

    process = Popen([sys.executable, "-c", f"{TELLING}; ..."], stdin=PIPE, stdout=PIPE)
    allocated_bytes(process)

Resident memory also grows by what was freed and is kept for later: of a leak of some bytes a call
it says nothing until there were hundreds of thousands of calls.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading

TELLING = "from tests.making import allocated; allocated.tell()"

_LIBC = ctypes.CDLL(None)


class _Mallinfo2(ctypes.Structure):
    """Source: mallinfo(3); the fields of struct mallinfo2."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
        )
    )


def is_known() -> bool:
    """Whether the C library of this system says it."""
    return hasattr(_LIBC, "mallinfo2")


def tell() -> None:
    """Says from now on what this process has allocated, from a thread of its own."""
    threading.Thread(target=_tell, daemon=True).start()


def allocated_bytes(process: subprocess.Popen[bytes]) -> int:
    """Of a process that tells."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def _tell() -> None:
    _LIBC.mallinfo2.restype = _Mallinfo2
    for _ in sys.stdin:
        gc.collect()
        found = _LIBC.mallinfo2()
        sys.stdout.write(f"{found.uordblks + found.hblkhd}\n")
        sys.stdout.flush()
