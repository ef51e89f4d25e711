"""Starts of an install that is on trial: one file a process, locked for as long as it lives.

    DIR/installs/<name>/starts/<random>         a name that the process gave itself at random

The lock tells the dead from the living: the system gives it up whatever ends a process. Numbers of
processes do not tell, across containers and reboots; in a container it is always 1. Who answers a
search, or closes in order, takes its file away; a file that nobody holds is of a process that died
before it answered.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
import os
import secrets
import weakref
from contextlib import suppress
from pathlib import Path

from pocketlens.durable_files import sync_folder
from pocketlens.file_locks import try_lock

MOST_DEATHS = 3


class Start:
    """A start of an install by this process; its file goes when the process ends in order."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """See `begin`."""
        self._end = weakref.finalize(self, _end, path, descriptor, os.getpid())

    @classmethod
    def begin(cls, install: Path) -> Start | None:
        """Notes a start; None where the folder cannot be written: searching does not need it."""
        path = install / "starts" / secrets.token_hex(4)
        try:
            path.parent.mkdir(exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError:
            return None
        start = cls(path, descriptor)
        try:
            is_held = try_lock(descriptor)
            # Empty until it is held: nobody takes it for one of the dead in between.
            os.write(descriptor, f"{_own_name(os.getpid())}\n".encode())
            os.fsync(descriptor)
            sync_folder(path.parent)
        except OSError:
            is_held = False
        if not is_held:
            start.end()
            return None
        return start

    def end(self) -> None:
        """Takes the file away; again is no error."""
        self._end()


def deaths(install: Path) -> int:
    """Processes that opened the install, are dead, and never answered."""
    return len({_process(path) for path in filter(_is_dead, _files(install))})


def forget_deaths(install: Path) -> None:
    """Takes the files of the dead away."""
    for path in filter(_is_dead, _files(install)):
        with suppress(OSError):
            path.unlink()


def _files(install: Path) -> list[Path]:
    try:
        return list((install / "starts").iterdir())
    except OSError:
        return []


def _is_dead(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False  # it has answered in between
    try:
        return os.fstat(descriptor).st_size > 0 and try_lock(descriptor, shared=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)


@functools.cache
def _own_name(process: int) -> str:
    """Of this process; a fork has another number, and so another name."""
    return secrets.token_hex(8)


def _process(path: Path) -> bytes:
    """The name of the process that made a file; what is gone in between counts as one."""
    with suppress(OSError):
        return path.read_bytes()
    return b""


def _end(path: Path, descriptor: int, process: int) -> None:
    with suppress(OSError):
        os.close(descriptor)
    if os.getpid() == process:  # not a fork's copy, whose parent goes on
        with suppress(OSError):
            path.unlink()
