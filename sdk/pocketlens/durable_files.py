"""The one way a file appears: written beside its place, flushed, renamed, its folder flushed.

A reader sees the whole file or none, also after a power cut.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from pocketlens.errors import StoreError, StoreFull, StoreReadOnly

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def write_file(path: Path, data: bytes, *, is_private: bool = False) -> None:
    """Writes `data` to `path` durably and at once.

    An error leaves `path` as it was and no temporary file.

    Args:
        path: Of the file.
        data: All of it.
        is_private: Whether its owner alone may read it, whatever the umask says.

    Raises:
        StoreFull: The disk has no room.
        StoreReadOnly: The folder cannot be written to.
        StoreError: The disk failed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(temporary, _NEW, 0o600 if is_private else 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as exc:
        raise translated(exc, path) from exc
    finally:
        with suppress(OSError):  # what stands in for its folder may be a file
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flushes the names in `folder`: a rename is durable only after this."""
    if os.name == "nt":  # Windows has no handle to a folder and flushes names itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


FAILED_DISK = "What was there before is still there. Try again, and look after the disk."


def translated(exc: OSError, path: Path) -> OSError | StoreError:
    """The store's error for an `OSError` of writing `path`; `exc` itself if it is another."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"No room to write {path}. Free some space and try again.")
    if exc.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreReadOnly(f"Cannot write {path}: {exc.strerror}. Choose a writable folder.")
    if exc.errno == errno.ENOTDIR:
        return StoreReadOnly(f"Cannot write {path}: a file is in its way. Choose another folder.")
    if exc.errno == errno.EIO:
        return StoreError(f"The disk failed to write {path} ({exc.strerror}). {FAILED_DISK}")
    return exc
