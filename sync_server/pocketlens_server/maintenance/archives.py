"""Where a backup is kept: files by their SHA-256 and a document, in a folder.

    with writing(Path("backups")) as archive:
        if archive.size(sha256) is None:
            archive.put(sha256, chunks, is_private=False)
        archive.finish(document, named)       # last: without the document it is no backup

    source = Source(Path("backups"))
    source.document()
    source.open(sha256)

What is in a folder already need not be put again. Until `finish` the document of before is there
with all that it names; then goes what the new one does not name.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pocketlens.durable_files import sync_folder, translated, write_file
from pocketlens.errors import ServerError
from pocketlens.file_locks import try_lock

DOCUMENT = "backup.json"
_FILES, _SCRATCH, _LOCK = "files", "unfinished", "backup.lock"
_CHUNK_BYTES = 1 << 20


class OtherBytes(ValueError):
    """What was put has another hash than was said; it never leaves a backup."""


class Target:
    """A folder that takes files: files/ab/<sha256>. Used by one thread.

    Attributes:
        scratch: A folder for files in the making; it goes when the archive is closed.
    """

    def __init__(self, folder: Path, scratch: Path) -> None:
        self._folder, self.scratch = folder, scratch
        self._written: set[Path] = set()

    def size(self, sha256: str) -> int | None:
        """Length of a file that was put, now or for an earlier backup; None where it was not."""
        try:
            return (self._folder / _place(sha256)).stat().st_size
        except FileNotFoundError:
            return None

    def put(self, sha256: str, chunks: Iterable[bytes], *, is_private: bool) -> None:
        """Takes a file; again is no error.

        Raises:
            OtherBytes: It is another; nothing is kept.
            OSError: It cannot be written.
        """
        place, temporary = self._folder / _place(sha256), self.scratch / sha256
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if is_private else 0o666
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in checked(chunks, sha256):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)
        self._written |= {place.parent, place.parent.parent}

    def finish(self, document: bytes, named: Collection[str]) -> None:
        """Makes all that was put a backup.

        Args:
            document: That says what each file is.
            named: SHA-256 of all that it names.

        Raises:
            StoreFull, StoreReadOnly: It cannot be written; the backup of before still is one.
        """
        for folder in (*self._written, self._folder):
            sync_folder(folder)
        write_file(self._folder / DOCUMENT, document, is_private=True)
        for path in (self._folder / _FILES).glob("*/*"):
            if path.name not in named:
                path.unlink()


@contextmanager
def writing(out: Path) -> Iterator[Target]:
    """An archive to put files into.

    What was put before an error stays, for the next time.

    Args:
        out: A folder, new, empty or of backups.

    Raises:
        ServerError: There is something else, or another process writes there.
        StoreFull, StoreReadOnly: It cannot be written.
    """
    try:
        with _writing_folder(out) as target:
            yield target
    except OSError as exc:
        raise translated(exc, out) from exc


@contextmanager
def _writing_folder(out: Path) -> Iterator[Target]:
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if (out.exists() and not out.is_dir()) or (names and not names & {DOCUMENT, _LOCK}):
        raise ServerError(f"Expected a folder that is new, empty or of backups. Received {out}.")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(out / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not try_lock(descriptor):
            raise ServerError(f"Another process writes a backup to {out}. Wait for its end.")
        scratch = out / _SCRATCH
        shutil.rmtree(scratch, ignore_errors=True)  # of one that was killed
        scratch.mkdir(mode=0o700)
        try:
            yield Target(out, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        os.close(descriptor)  # and with it the lock


class Source:
    """A backup that is read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def document(self) -> bytes:
        """Says what each file is.

        Raises:
            ServerError: There is none: it is no backup, or was cut off.
        """
        try:
            return (self._folder / DOCUMENT).read_bytes()
        except OSError as exc:
            raise ServerError(
                f"{self._folder} is no backup, or one that was cut off: it has no {DOCUMENT}."
            ) from exc

    def open(self, sha256: str) -> BinaryIO:
        """A file; the caller closes it.

        Raises:
            ServerError: It is missing.
        """
        try:
            return (self._folder / _place(sha256)).open("rb")
        except OSError as exc:
            raise ServerError(
                f"The backup {self._folder} is damaged: it has no file {sha256}. Try another."
            ) from exc


def checked(chunks: Iterable[bytes], sha256: str) -> Iterator[bytes]:
    """Yields the chunks of a file, and raises `OtherBytes` at its end if it is another."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != sha256:
        raise OtherBytes(f"Expected the file {sha256}. Received another.")


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """Yields what is in a file, a mebibyte at a time."""
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _place(sha256: str) -> str:
    return f"{_FILES}/{sha256[:2]}/{sha256}"
