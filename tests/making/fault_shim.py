"""The disk that fails on demand (fault_shim.c): built, armed in this process, and what it wrote.

environment = preloaded(built(tmp_path))        # for a process that is to have it
fault_shim.arm(store, Fault(ENOSPC, at=17))     # in that process
calls = fault_shim.disarm()
for call in read_log(path): ...
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


class Kind(IntFlag):
    """Calls that change a folder; MARK stands for what was acknowledged."""

    WRITE = 1
    SYNC = 2
    RENAME = 4
    UNLINK = 8
    TRUNCATE = 16
    CREATE = 32
    MKDIR = 64
    RMDIR = 128
    MARK = 256


EVERY_CALL = Kind.MARK - 1
TAKES_ROOM = Kind.WRITE | Kind.CREATE | Kind.MKDIR
KILL = "kill"


@dataclass(frozen=True)
class Fault:
    """What happens, and at which call.

    Attributes:
        what: KILL, or the errno with which the call fails; None only counts.
        at: Number of the call, from 1, among those of `kinds`.
        kinds: Calls that count.
        lasting: Whether every later one of these calls fails too.
    """

    what: str | int | None = None
    at: int = 0
    kinds: int = EVERY_CALL
    lasting: bool = False


@dataclass(frozen=True)
class Call:
    """What was written down of one call.

    Attributes:
        error: errno with which it failed, or 0.
        descriptor: -1 where it had a path.
        offset: Of a write; size of a file that was truncated; number of a mark.
        target: Where something was renamed to.
    """

    kind: Kind
    error: int
    descriptor: int
    inode: int
    offset: int
    path: str
    target: str
    data: bytes


def missing() -> str:
    """Why it cannot be had on this machine; "" where it can."""
    if sys.platform != "linux":
        return "preloading a library into a process is tried on Linux only"
    return "" if shutil.which("cc") else "there is no C compiler"


def built(folder: Path) -> Path:
    """Compiles it into `folder`."""
    made = folder / "fault_shim.so"
    command = ["cc", "-Wall", "-Werror", "-O1", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(made), str(SOURCE), "-ldl", "-lpthread"], check=True)
    return made


def preloaded(library: Path) -> dict[str, str]:
    """The environment of a process that is to have it."""
    return {**os.environ, "LD_PRELOAD": str(library)}


def arm(folder: Path, fault: Fault, log: int = -1) -> None:
    """Arms it for the calls below `folder`, in this process; `log` is a file's descriptor."""
    action = {None: 0, KILL: 1}.get(fault.what, 2)
    error = fault.what if isinstance(fault.what, int) else 0
    below = os.fsencode(folder.resolve())
    _loaded().fault_shim_arm(
        below, int(fault.kinds), ctypes.c_long(fault.at), action, error, fault.lasting, log
    )


def mark(number: int) -> None:
    """Writes down that everything up to here was acknowledged."""
    _loaded().fault_shim_mark(ctypes.c_long(number))


def disarm() -> int:
    """Ends it; the number of calls that were counted."""
    return int(_loaded().fault_shim_disarm())


def read_log(path: Path) -> Iterator[Call]:
    """What was written down, in order."""
    data, at = memoryview(path.read_bytes()), 0
    while at < len(data):
        kind, error, descriptor, length, inode, offset, *lengths = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        parts = []
        for size in (*lengths, length):
            parts.append(bytes(data[at : at + size]))
            at += size
        path_, target, written = parts
        names = os.fsdecode(path_), os.fsdecode(target)
        yield Call(Kind(kind), error, descriptor, inode, offset, *names, written)


_RECORD = struct.Struct("=IiiIQqII")


def _loaded() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    if not hasattr(library, "fault_shim_arm"):
        raise RuntimeError("fault_shim.so is not preloaded: start the process with `preloaded`.")
    library.fault_shim_disarm.restype = ctypes.c_long
    return library
