"""Databases that are read without SQLite's locks: of journal mode WAL, in a read-only folder.

SQLite keeps its locks for such a file in one beside it, `-shm`, which cannot be made there; without
locks it reads well as long as nobody writes. A copy of a store is safe. A folder that somebody else
may write to is not: so whatever was read counts only if the file is afterwards what it was.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pocketlens.errors import StoreReadOnly

_WAL_VERSIONS = b"\2\2"  # at 18 in an SQLite file: read and write format of journal mode WAL


@dataclass(frozen=True, slots=True)
class Unlocked:
    """A database file that is read without locks, as it was when it was opened.

    Attributes:
        path: Of it.
        inode, size, changed_ns: What the file system says of it.
    """

    path: Path
    inode: int
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Unlocked | None:
        """None where SQLite's own locks serve, or the file cannot be looked at.

        Raises:
            StoreReadOnly: Changes wait beside it that cannot be read without locks.
        """
        if os.access(path.parent, os.W_OK) or not _is_wal(path):
            return None
        if _beside(path, "-wal").exists() and _beside(path, "-shm").exists():
            return None
        if _has_changes(path):
            raise StoreReadOnly(
                f"Changes of the store wait in {path}-wal, and cannot be read in a folder that is "
                "read-only. Open it once where it may be written, or copy it when nobody uses it."
            )
        found = path.stat()
        return cls(path, found.st_ino, found.st_size, found.st_mtime_ns)

    def check(self) -> None:
        """What was read so far was read of an unchanged file.

        Raises:
            StoreReadOnly: It was not.
        """
        with suppress(FileNotFoundError):  # its install was removed: nobody writes to it any more
            found = self.path.stat()
            is_same = found.st_ino == self.inode
            now = found.st_size, found.st_mtime_ns
            if is_same and (now != (self.size, self.changed_ns) or _has_changes(self.path)):
                raise StoreReadOnly(
                    f"{self.path} was changed while it was read from a folder that is read-only "
                    "here. Open the store again."
                )


def _is_wal(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(20)[18:] == _WAL_VERSIONS
    except OSError:
        return False


def _has_changes(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return _beside(path, "-wal").stat().st_size > 0
    return False


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
