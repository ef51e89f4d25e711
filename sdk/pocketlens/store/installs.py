"""The folder of a store: which install CURRENT names, how a new one takes its place.

    DIR/CURRENT                               name of the install in use, one line
    DIR/installs/<generation>-<n>/            one store, whole in itself, never changed by `index`
    DIR/files/<sha256>.tflite                 bundles, named by what is in them
    DIR/cache/                                what can be made again
    DIR/pieces/                               of files that are being fetched
    DIR/lock                                  held by the one process that writes

A new install is written under a name that starts with a dot, flushed, renamed, and only then
CURRENT moves: whatever is cut off before leaves the old store as it was, and the next writer
removes what is left. The install before is removed at once: a reader that is open keeps its file
(where the system does not allow that, the next `index` removes it).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pocketlens.durable_files import sync_folder, translated, write_file
from pocketlens.errors import (
    StoreCorrupt,
    StoreError,
    StoreLocked,
    StoreNotFound,
    StoreReadOnly,
)

CURRENT = "CURRENT"
LOCK = "lock"
PIECES = "pieces"

_INSTALL = re.compile(r"[0-9a-f]{64}-[0-9]{1,9}")
_BUNDLE = re.compile(r"[0-9a-f]{64}\.tflite")
_UNFINISHED = re.compile(r"\.[0-9a-zA-Z.-]*\.(new|tmp)")
_CACHE = re.compile(r"codebook-[0-9a-f]{64}\.ann.*")
_MEND = "Make the store again: pocketlens index"


def current(directory: Path) -> Path:
    """The install in use.

    Raises:
        StoreNotFound: There is no store in `directory`.
        StoreCorrupt: CURRENT is damaged, or names no install.
    """
    try:
        text = (directory / CURRENT).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as exc:
        if (directory / "installs").is_dir() and any((directory / "installs").glob("[!.]*")):
            raise StoreCorrupt(f"{directory / CURRENT} is missing. {_MEND}") from exc
        raise StoreNotFound(
            f"There is no store in {directory}. "
            "Make one: pocketlens index LIST --model SHOP.tflite --out DIR"
        ) from exc
    except OSError as exc:
        raise StoreReadOnly(f"Cannot read {directory / CURRENT}: {exc.strerror}.") from exc
    name = text.removesuffix(b"\n").decode("ascii", "replace")
    install = directory / "installs" / name
    if not text.endswith(b"\n") or not _INSTALL.fullmatch(name) or not install.is_dir():
        raise StoreCorrupt(f"{directory / CURRENT} names no install of the store. {_MEND}")
    return install


def copy(source: Path, directory: Path) -> None:
    """Copies the install in use of a store to a folder that has none; does nothing where it has.

    Cut off, the folder has no store.

    Raises:
        StoreNotFound, StoreCorrupt: `source` is no store.
        StoreLocked, StoreFull, StoreReadOnly: The folder cannot be written.
    """
    install = current(source)
    bundles = list((source / "files").glob("*.tflite"))
    with writing(directory):
        if (directory / CURRENT).exists():
            return
        try:
            for path in bundles:
                write_file(directory / "files" / path.name, path.read_bytes())
            place = directory / "installs" / install.name
            new = place.with_name(".1.new")
            new.mkdir()
            for path in install.iterdir():
                write_file(new / path.name, path.read_bytes())
            new.rename(place)
            sync_folder(place.parent)
            sync_folder(directory)
            write_file(directory / CURRENT, f"{install.name}\n".encode())
        except OSError as exc:
            raise translated(exc, directory) from exc


def bundle_path(directory: Path, sha256: bytes) -> Path:
    """Where the bundle with this hash is."""
    return directory / "files" / f"{sha256.hex()}.tflite"


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Makes `directory` ready for one writer, and takes away what earlier ones left unfinished.

    After an error in its body the old store is as it was; a folder that was new is gone again.

    Raises:
        StoreLocked: Another process is writing.
        StoreError: The folder holds something else.
        StoreReadOnly: It cannot be written to.
    """
    made = not directory.exists()
    try:
        if not made and not _may_hold_a_store(directory):
            raise StoreError(
                f"Expected a store, or a folder that is new or empty. Received {directory}, "
                "which holds other things. Choose another folder."
            )
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as exc:
        raise translated(exc, directory) from exc
    try:
        _lock(descriptor, directory / LOCK)
        try:
            _prepare(directory)
            yield
        except BaseException:
            _remove_unfinished(directory)
            raise
        finally:
            if not (directory / CURRENT).exists():
                _remove_empty(directory, made=made)
    finally:
        os.close(descriptor)  # and with it the lock


@dataclass(slots=True)
class NewInstall:
    """An install in the making.

    Attributes:
        folder: To write `store.sqlite` into.
        generation: Hex id, set by the writer as soon as it is known.
    """

    folder: Path
    generation: str = ""


@contextmanager
def new_install(directory: Path, bundle: bytes) -> Iterator[NewInstall]:
    """Gives an empty folder to write an install into; makes it the current one on leaving.

    Its generation must be told by then.

    An error in the body leaves everything as it was. Afterwards what CURRENT no longer needs is
    removed: the install before, its bundle, its caches.

    Args:
        directory: Of the store, inside `writing`.
        bundle: Bytes of the bundle that the install names.
    """
    folder = directory / "installs"
    numbers = [int(each.name.rpartition("-")[2]) for each in _named(folder, _INSTALL)]
    number = max(numbers, default=0) + 1
    new = NewInstall(folder / f".{number}.new")
    name = ""
    file = bundle_path(directory, hashlib.sha256(bundle).digest())
    added = not file.exists()
    try:
        if added or file.read_bytes() != bundle:
            write_file(file, bundle)
        new.folder.mkdir()
        yield new
        name = f"{new.generation}-{number}"
        sync_folder(new.folder)
        new.folder.rename(folder / name)
        sync_folder(folder)
        sync_folder(directory)
        write_file(directory / CURRENT, f"{name}\n".encode())
    except BaseException as exc:
        if not _is_current(directory, name):
            shutil.rmtree(new.folder, ignore_errors=True)
            if name:
                shutil.rmtree(folder / name, ignore_errors=True)
            if added:
                file.unlink(missing_ok=True)
        if isinstance(exc, OSError):
            raise translated(exc, new.folder) from exc
        raise
    _remove_unused(directory, name, file.name)


def _may_hold_a_store(directory: Path) -> bool:
    found = {each.name for each in directory.iterdir()}
    return not found or bool(found & {CURRENT, LOCK, "installs", PIECES})


def _prepare(directory: Path) -> None:
    try:
        for name in ("installs", "files", "cache"):
            (directory / name).mkdir(exist_ok=True)
        _remove_unfinished(directory)
    except OSError as exc:
        raise translated(exc, directory) from exc


def _is_current(directory: Path, name: str) -> bool:
    try:
        return current(directory).name == name
    except StoreError:
        return False


def _remove_unfinished(directory: Path) -> None:
    for folder in (directory, *(directory / each for each in ("installs", "files", "cache"))):
        for path in _named(folder, _UNFINISHED):
            _remove(path)


def _remove_unused(directory: Path, install: str, bundle: str) -> None:
    """Removes what only former installs needed; what cannot be removed waits for the next time."""
    unused = [path for path in _named(directory / "installs", _INSTALL) if path.name != install]
    unused += [path for path in _named(directory / "files", _BUNDLE) if path.name != bundle]
    unused += _named(directory / "cache", _CACHE)
    for path in unused:
        _remove(path)


def _remove_empty(directory: Path, *, made: bool) -> None:
    """Removes the folders of a store that never came to be; others' files keep theirs."""
    with suppress(OSError):
        for name in ("installs", "files", "cache"):
            (directory / name).rmdir()
        (directory / LOCK).unlink()
        if made:
            directory.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """What is in `folder` under names that only a store gives: nothing else is ever removed."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))


def _lock(descriptor: int, path: Path) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise FileNotFoundError  # removed by a writer that gave up in between
    except OSError as exc:
        raise StoreLocked(
            f"Another process is writing to the store {path.parent}. Try again when it is done."
        ) from exc
