"""What a power cut may leave of a folder, worked out from every call that changed it.

    disk = Disk(folder, before)             # `before` is a copy of the folder as it was
    for call in read_log(log):
        disk.take(call)
        disk.crash(rng).write_to(image)

The disk is as unkind as POSIX lets it be. What was written to a file is safe once the file was
flushed, and names in a folder once the folder was; of everything else any part may be there:
512-byte sectors one by one, in any order, and the names up to any one change. A flush that failed
saved nothing, and the next one does not save what it lost.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.making.fault_shim import Call, Kind

SECTOR = 512

Write = tuple[int, bytes]  # offset, data
Names = dict[str, "File | Folder"]
Change = Callable[[Names], None]


@dataclass(eq=False)
class File:
    """Bytes that are safe, and what was done since: a write, or a size that it was cut to."""

    safe: bytes = b""
    pending: list[Write | int] = field(default_factory=list)


@dataclass(eq=False)
class Folder:
    """Names that are safe, all names, and the changes that lead from the first to the second."""

    safe: Names = field(default_factory=dict)
    now: Names = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def change(self, change: Change) -> None:
        change(self.now)
        self.pending.append(change)


@dataclass(frozen=True)
class Image:
    """What is left: folders, and the bytes of files, by their path below the folder."""

    folders: tuple[str, ...]
    files: dict[str, bytes]

    @property
    def digest(self) -> bytes:
        """To tell images apart."""
        told = hashlib.sha256("\0".join(self.folders).encode())
        for path, data in sorted(self.files.items()):
            told.update(f"{path}\0{len(data)}\0".encode() + data)
        return told.digest()

    def write_to(self, folder: Path) -> None:
        """Makes it in a folder that is not there yet."""
        folder.mkdir()
        for path in self.folders:
            (folder / path).mkdir()
        for path, data in self.files.items():
            (folder / path).write_bytes(data)


class Disk:
    """A folder, as it is and as it may be after a power cut.

    Attributes:
        acknowledged: Number of the last mark.
    """

    def __init__(self, folder: Path, before: Path | None = None) -> None:
        """A disk with a copy of `before` at `folder`, all of it safe; without one, empty."""
        self._place = str(folder.resolve())
        self._root = _read(before) if before is not None and before.is_dir() else Folder()
        self.acknowledged = 0

    def take(self, call: Call) -> None:
        """Goes on by one call."""
        if call.kind is Kind.MARK:
            self.acknowledged = call.offset
        elif call.kind is Kind.SYNC:
            self._sync(call)
        elif not call.error:
            self._change(call)

    def crash(self, rng: random.Random) -> Image:
        """One of the images that a power cut now may leave."""
        share = rng.choice((0.0, 0.0, 0.5, 0.9, 1.0))

        def changes_kept(count: int) -> int:
            return rng.choice((0, count, rng.randint(0, count)))

        return self._left(lambda: rng.random() < share, changes_kept)

    def worst(self) -> Image:
        """The image that has nothing but what is safe."""
        return self._left(lambda: False, lambda count: 0)

    # --- what calls do ---------------------------------------------------------------------------

    def _sync(self, call: Call) -> None:
        node = self._node(call.path)
        if isinstance(node, Folder):
            if call.error == 0:
                node.safe, node.pending = dict(node.now), []
        elif isinstance(node, File):
            if call.error == 0:
                node.safe = _applied(node.safe, node.pending)
            node.pending = []

    def _change(self, call: Call) -> None:
        if call.path == self._place:
            return  # the store's own folder: whoever chose it sees to it
        parent, name = self._parent(call.path)
        match call.kind:
            case Kind.CREATE | Kind.MKDIR:
                made: File | Folder = File() if call.kind is Kind.CREATE else Folder()
                parent.change(lambda names: names.update({name: made}))
            case Kind.UNLINK | Kind.RMDIR:
                parent.change(lambda names: names.pop(name, None) and None)
            case Kind.RENAME:
                beside, target = self._parent(call.target)
                if beside is parent:
                    parent.change(lambda names: names.update({target: names.pop(name)}))
                else:  # two changes, of which either may be lost
                    moved = parent.now[name]
                    beside.change(lambda names: names.update({target: moved}))
                    parent.change(lambda names: names.pop(name) and None)
            case Kind.WRITE | Kind.TRUNCATE:
                file = parent.now.get(name)
                if isinstance(file, File):  # and not one that was unlinked while it was open
                    is_write = call.kind is Kind.WRITE
                    file.pending.append((call.offset, call.data) if is_write else call.offset)

    def _node(self, path: str) -> File | Folder | None:
        node: File | Folder | None = self._root
        for name in Path(path).relative_to(self._place).parts:
            node = node.now.get(name) if isinstance(node, Folder) else None
        return node

    def _parent(self, path: str) -> tuple[Folder, str]:
        folder, _, name = path.rpartition("/")
        node = self._node(folder)
        if isinstance(node, Folder):
            return node, name
        raise LookupError(f"{path} is in no folder that was ever made")

    # --- what is left ----------------------------------------------------------------------------

    def _left(self, survives: Callable[[], bool], changes_kept: Callable[[int], int]) -> Image:
        """Asks for each sector whether it survives, for each folder how many changes were kept."""
        folders, files = list[str](), dict[str, bytes]()

        def leave(folder: Folder, path: str) -> None:
            names = dict(folder.safe)
            for change in folder.pending[: changes_kept(len(folder.pending))]:
                change(names)
            for name, node in sorted(names.items()):
                if isinstance(node, Folder):
                    folders.append(path + name)
                    leave(node, f"{path}{name}/")
                else:
                    files[path + name] = _applied(node.safe, _torn(node.pending, survives))

        leave(self._root, "")
        return Image(tuple(folders), files)


def _read(folder: Path) -> Folder:
    made = Folder()
    for path in folder.iterdir():
        made.safe[path.name] = _read(path) if path.is_dir() else File(path.read_bytes())
    made.now = dict(made.safe)
    return made


def _torn(pending: list[Write | int], survives: Callable[[], bool]) -> list[Write | int]:
    """What is left of changes of a file: sector by sector."""
    left: list[Write | int] = []
    for change in pending:
        if isinstance(change, int):
            left += [change] if survives() else []
            continue
        offset, data = change
        start = offset
        while start < offset + len(data):
            stop = min((start // SECTOR + 1) * SECTOR, offset + len(data))
            if survives():
                left.append((start, data[start - offset : stop - offset]))
            start = stop
    return left


def _applied(data: bytes, changes: list[Write | int]) -> bytes:
    """The bytes of a file after changes; what was never written below its end is zero."""
    if not changes:
        return data
    made = bytearray(data)
    for change in changes:
        if isinstance(change, int):
            made = made[:change].ljust(change, b"\0")
            continue
        offset, written = change
        made.extend(bytes(max(0, offset + len(written) - len(made))))
        made[offset : offset + len(written)] = written
    return bytes(made)
