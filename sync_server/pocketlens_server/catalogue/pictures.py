"""Pictures as they come -> files named by their SHA-256, on disk before anything names them.

    sha256 = keep(folder, data)
    arriving = Arriving(folder, size_bytes=5_000_000)            # one that comes in parts
    arriving.write(part)
    sha256 = arriving.keep()                                     # or arriving.discard()

One that has rotted on disk is written anew when it comes again. A picture that no image comes to
show is collected a day later.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pocketlens.durable_files import sync_folder, translated, write_file
from pocketlens.errors import InvalidOperation, StoreFull
from pocketlens.options import PictureLimits
from pocketlens_server.folders import CatalogueFolder


def keep(folder: CatalogueFolder, picture: bytes) -> bytes:
    """The SHA-256 of a picture, which is in the folder afterwards.

    Raises:
        StoreFull, StoreReadOnly: It cannot be written.
    """
    digest = hashlib.sha256(picture).digest()
    place = folder.picture(digest)
    if not _is_kept(place, digest):
        try:
            write_file(place, picture)
        except StoreFull as exc:  # whatever the picture
            room = folder.folder / "pictures"
            raise StoreFull(f"No room to write to {room}. Free some space, try again.") from exc
    return digest


def check_size(size_bytes: int, *, come: int = 0) -> None:
    """Refuses a picture that nothing would decode.

    Args:
        size_bytes: Of the picture.
        come: Bytes of it that have come with the word of its size.

    Raises:
        InvalidOperation: It is empty, larger than pictures may be, or smaller than what has come.
    """
    limit_bytes = PictureLimits().encoded_bytes
    if not 0 < size_bytes <= limit_bytes:
        raise InvalidOperation(
            f"Expected a picture of 1 to {limit_bytes:,} bytes. Received {size_bytes:,}."
        )
    if come > size_bytes:
        raise InvalidOperation(f"Expected {size_bytes:,} bytes of a picture. Received {come:,}.")


class Arriving:
    """A picture that comes in parts, in a file that `keep` or `discard` ends."""

    def __init__(self, folder: CatalogueFolder, *, size_bytes: int) -> None:
        """Begins nothing on disk yet.

        Raises:
            InvalidOperation: See `check_size`.
        """
        check_size(size_bytes)
        self._folder, self._left = folder, size_bytes
        self._digest = hashlib.sha256()
        self._temporary = folder.folder / "pictures" / f".{secrets.token_hex(8)}.tmp"
        self._file: BinaryIO | None = None
        self._has_ended = False

    @property
    def is_whole(self) -> bool:
        """Whether every byte has come."""
        return self._left == 0

    def write(self, part: bytes) -> None:
        """Takes the next bytes.

        Raises:
            InvalidOperation: There are more than were said.
            StoreFull, StoreReadOnly: It cannot be written.
        """
        if not 0 < len(part) <= self._left:
            raise InvalidOperation(
                f"Expected parts of a picture, {self._left:,} bytes more. Received {len(part):,}."
            )
        try:
            if self._file is None:  # not before: whoever begins it does not wait for a disk
                self._file = self._temporary.open("xb")
                if self._has_ended:  # while this waited for the disk, in a thread of its own
                    self.discard()
                    return
            self._file.write(part)
        except OSError as exc:
            raise translated(exc, self._temporary) from exc
        self._digest.update(part)
        self._left -= len(part)

    def keep(self) -> bytes:
        """The SHA-256 of the picture, which is in the folder afterwards.

        Raises:
            InvalidOperation: It is not whole.
            StoreFull: The disk has no room.
        """
        if self._file is None or not self.is_whole:
            raise InvalidOperation(f"Expected {self._left:,} bytes more of a picture.")
        digest = self._digest.digest()
        place = self._folder.picture(digest)
        try:
            if not _is_kept(place, digest):
                self._file.flush()
                os.fsync(self._file.fileno())
                self._temporary.replace(place)
                sync_folder(place.parent)
        except OSError as exc:
            raise translated(exc, place.parent.parent) from exc
        finally:
            self.discard()
        return digest

    def discard(self) -> None:
        """Ends it; what has come goes unless it was kept."""
        self._has_ended = True
        with suppress(OSError):  # it tries to write what a full disk has not taken
            if self._file is not None:
                self._file.close()
        self._temporary.unlink(missing_ok=True)


def _is_kept(place: Path, sha256: bytes) -> bool:
    """Whether a picture is there, whole; it is not collected before an image can name it."""
    try:
        try:
            os.utime(place)
            with place.open("rb") as file:
                if hashlib.file_digest(file, "sha256").digest() != sha256:
                    return False
        except FileNotFoundError:
            place.parent.mkdir(exist_ok=True)
            sync_folder(place.parent.parent)
            return False
        # Who gave it its name, another thread or one that was killed, may not have flushed that.
        sync_folder(place.parent)
        sync_folder(place.parent.parent)
    except OSError as exc:
        raise translated(exc, place.parent.parent) from exc
    return True
