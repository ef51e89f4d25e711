"""Locks of files: the system gives them up when who holds them ends, whatever ends it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import sys


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Locks an open file for as long as it stays open, without waiting.

    Args:
        descriptor: Of the file, open for reading and writing.
        shared: Whether others may hold it too that share it; Windows knows no such lock.

    Returns:
        Whether it is held now.

    Raises:
        OSError: The file system has no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
