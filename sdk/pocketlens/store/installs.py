"""The folder of a store: which install CURRENT names, how a new one takes its place.

    DIR/CURRENT                               name of the install in use, one line
    DIR/installs/<generation>-<n>/            one store, whole in itself, never changed by `index`
    DIR/files/<sha256>.tflite                 bundles, named by what is in them
    DIR/cache/                                what can be made again
    DIR/pieces/                               of files that are being fetched
    DIR/quarantine                            see `pocketlens.store.marks`
    DIR/lock                                  held by the one process that writes

A new install is written under a name that starts with a dot, flushed, renamed, and only then
CURRENT moves: whatever is cut off before leaves the old store as it was, and the next writer
removes what is left. The install before is removed at once, or, where a sync made the new one, when
that has answered (see `pocketlens.store.trials`). A reader that is open keeps its files; where the
system does not allow that, a later writer removes them.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import shutil
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
from pocketlens.file_locks import try_lock
from pocketlens.formats.manifest import Manifest
from pocketlens.store import cleaning, database, marks
from pocketlens.store.marks import Trial, Verified
from pocketlens.store.thumbnails import SUFFIX

CURRENT = "CURRENT"
LOCK = "lock"
FOLLOWED = ("sync.json", "sync-copy.json")  # see `pocketlens.followed`
PIECES = "pieces"

_MEND = database.MEND


def current(directory: Path) -> Path:
    """The install in use.

    Raises:
        StoreNotFound: There is no store in `directory`, or not yet.
        StoreCorrupt: CURRENT is damaged, or names no install.
    """
    try:
        text = (directory / CURRENT).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as exc:
        if (directory / "installs").is_dir() and any((directory / "installs").glob("[!.]*")):
            if _is_being_written(directory):  # named in a moment, as the first one is
                raise StoreNotFound(
                    f"The store in {directory} is being made. Try again when it is done."
                ) from exc
            raise StoreCorrupt(f"{directory / CURRENT} is missing. {_MEND}") from exc
        raise StoreNotFound(
            f"There is no store in {directory}. Make one: pocketlens index LIST "
            f"--model SHOP.tflite --out {directory}; or follow a server: pocketlens sync "
            f"{directory} --server ADDRESS --root root.json"
        ) from exc
    except OSError as exc:
        raise StoreReadOnly(f"Cannot read {directory / CURRENT}: {exc.strerror}.") from exc
    name = text.removesuffix(b"\n").decode("ascii", "replace")
    install = directory / "installs" / name
    if not text.endswith(b"\n") or not cleaning.INSTALL.fullmatch(name) or not install.is_dir():
        if _reads_otherwise(directory / CURRENT, text):  # another took its place in between
            return current(directory)
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
            for path in [*install.glob(f"{database.FILE_NAME}*"), *install.glob(f"*{SUFFIX}")]:
                write_file(new / path.name, path.read_bytes())
            # It will follow a server: in the journal mode that lets it while somebody reads.
            # A damaged one is made anew by the sync.
            with suppress(StoreCorrupt), database.changing(new / database.FILE_NAME):
                pass
            new.rename(place)
            sync_folder(place.parent)
            sync_folder(directory)
            write_file(directory / CURRENT, f"{install.name}\n".encode())
        except OSError as exc:
            raise translated(exc, directory) from exc


def make_private(directory: Path) -> None:
    """Lets nobody but its owner read the store; what else is in the folder stays as it is."""
    found = [directory / CURRENT, directory / LOCK, directory / marks.QUARANTINE]
    for name in cleaning.FOLDERS:
        found += [directory / name, *(directory / name).rglob("*")]
    for path in found:
        with suppress(OSError):  # gone in the meantime, or of another owner
            path.chmod(0o700 if path.is_dir() else 0o600)


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
            _prepare(directory, was_cut_off=os.fstat(descriptor).st_size > 0)
            with _busy(descriptor, directory / LOCK):
                yield
        except BaseException:
            cleaning.remove_unfinished(directory)
            raise
        finally:
            if not (directory / CURRENT).exists():
                cleaning.remove_empty(directory, LOCK, made=made)
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
def new_install(
    directory: Path, bundle: bytes, *, manifest: Manifest | None = None
) -> Iterator[NewInstall]:
    """Gives an empty folder to write an install into; makes it the current one on leaving.

    Its generation must be told by then.

    An error in the body leaves everything as it was. Afterwards what is not needed any more is
    removed: the install before, its bundle, its caches.

    Args:
        directory: Of the store, inside `writing`.
        bundle: Bytes of the bundle that the install names.
        manifest: That was signed for it, where the install before can be gone back to: that stays
            until the new one has answered.
    """
    folder = directory / "installs"
    names = [path.name for path in cleaning.named(folder, cleaning.INSTALL)]
    numbers = [int(each.rpartition("-")[2]) for each in names]
    number = max(numbers, default=0) + 1
    new = NewInstall(folder / f".{number}.new")
    name = ""
    file = bundle_path(directory, hashlib.sha256(bundle).digest())
    added = not file.exists()
    try:
        if added or not _holds(file, bundle):
            write_file(file, bundle)
        new.folder.mkdir()
        yield new
        name = f"{new.generation}-{number}"
        if manifest is not None:
            marks.put(new.folder, Trial.of(manifest, _needed(directory)[-1].name))
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
    cleaning.remove_unneeded(directory, _needed(directory), {folder / name: file.name})


def use(directory: Path, name: str) -> None:
    """Lets CURRENT name an install that is there, and removes what is not needed any more.

    Args:
        directory: Of the store, inside `writing`.
        name: Of the install.

    Raises:
        StoreFull, StoreReadOnly: It cannot be written.
    """
    write_file(directory / CURRENT, f"{name}\n".encode())
    remove_unneeded(directory)


def remove_unneeded(directory: Path) -> None:
    """Removes installs that are neither in use nor to be gone back to, and what they used.

    Args:
        directory: Of the store, inside `writing`.
    """
    with suppress(StoreError):  # nobody knows what is in use: everything stays
        cleaning.remove_unneeded(directory, _needed(directory))


def doubt(directory: Path) -> None:
    """Notes that the install in use may be damaged: the next sync reads it whole.

    Does nothing to a store that no sync made, or where nothing can be written.
    """
    with suppress(StoreError):
        marks.remove(current(directory), Verified)


def _needed(directory: Path) -> list[Path]:
    """The install in use, and behind it the one to go back to while it is on trial."""
    install = current(directory)
    trial = marks.get(install, Trial)
    if trial is None or not install.with_name(trial.former).is_dir():
        return [install]
    return [install, install.with_name(trial.former)]


def _holds(file: Path, data: bytes) -> bool:
    try:
        return file.read_bytes() == data
    except OSError:
        return False  # it cannot be read, and so is written anew


@contextmanager
def _busy(descriptor: int, path: Path) -> Iterator[None]:
    """Something stands in the lock's file for as long as a writer has not ended in order."""
    try:
        os.write(descriptor, b"busy\n")
        os.fsync(descriptor)
    except OSError as exc:
        raise translated(exc, path) from exc
    try:
        yield
    finally:
        os.ftruncate(descriptor, 0)


def _may_hold_a_store(directory: Path) -> bool:
    found = {each.name for each in directory.iterdir()}
    ours = {CURRENT, LOCK, "installs", PIECES, marks.QUARANTINE, *FOLLOWED}
    return not found or bool(found & ours)


def _prepare(directory: Path, *, was_cut_off: bool) -> None:
    try:
        for name in cleaning.FOLDERS:
            (directory / name).mkdir(exist_ok=True)
        cleaning.remove_unfinished(directory)
    except OSError as exc:
        raise translated(exc, directory) from exc
    if was_cut_off:
        doubt(directory)


def _is_current(directory: Path, name: str) -> bool:
    try:
        return current(directory).name == name
    except StoreError:
        return False


def _reads_otherwise(path: Path, text: bytes) -> bool:
    try:
        return path.read_bytes() != text
    except OSError:
        return False


def _is_being_written(directory: Path) -> bool:
    """Whether somebody has the lock; asks for it to find out."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        return not try_lock(descriptor)
    except OSError:  # the file system has no locks
        return False
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    with suppress(FileNotFoundError):  # removed by a writer that gave up in between
        if try_lock(descriptor) and os.path.samestat(os.fstat(descriptor), path.stat()):
            return
    raise StoreLocked(
        f"Another process is writing to the store {path.parent}. Try again when it is done."
    )
