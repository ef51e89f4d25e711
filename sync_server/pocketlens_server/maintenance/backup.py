"""A server that goes on serving, and a copy of it that a server can be restored from.

    made = backup(ServerFolder(path), Path("backups"), now=clock())
    made.catalogues["main"].version, made.lacking

Of each catalogue the copy is of one moment. Files that never change are copied first, then signed
metadata and keys are read, then the database is copied in one view, then what came meanwhile:

- what the view names was there before it, or came since, and what came less than a day ago is not
  collected (see `collecting`): nothing can vanish under the copy;
- a version is a row before it is signed, so that devices of the copy are never ahead of its tables.

A backup holds the keys that sign every publish, and the hashes of tokens.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import stat
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pocketlens.errors import ServerError
from pocketlens.formats import manifest as manifests
from pocketlens.progress import Progress
from pocketlens_server import folders
from pocketlens_server.folders import CatalogueFolder, ServerFolder
from pocketlens_server.maintenance import archives
from pocketlens_server.maintenance.archives import OtherBytes, Target
from pocketlens_server.maintenance.backup_document import Document, Entry, Point
from pocketlens_server.publishing import holdings
from pocketlens_server.publishing.holdings import Visible
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.storage import database_errors, migrations
from pocketlens_server.storage.history import IMAGE, History
from pocketlens_server.storage.vectors import Vectors
from pocketlens_server.storage.waiting_images import WaitingImages

logger = logging.getLogger(__name__)


OF_SERVER = ("server.json", "server.toml", "tokens.sqlite")  # beside the catalogues
_SETTINGS = "settings.toml"
_ATTEMPTS = 10  # to read keys and metadata between two changes of keys


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made.

    Attributes:
        catalogues: What each is at.
        files, bytes: That it names.
        copied_bytes: That were not there before.
        lacking: Files that the server names and no backup has had, and that are not there or have
            other bytes.
    """

    catalogues: Mapping[str, Point]
    files: int
    bytes: int
    copied_bytes: int
    lacking: tuple[str, ...]


def backup(
    server: ServerFolder,
    out: Path,
    *,
    now: datetime,
    progress: Progress = lambda stage, done, total: None,
) -> Backup:
    """Copies everything that a server cannot be without.

    Args:
        server: Which may serve, and change, meanwhile.
        out: A folder of backups, of which the newest is kept. Files that are there already, by
            their hash and length, are not read again; every other is compared with its hash.
        now: When it is made.
        progress: Called with "copying", files done and to do.

    Raises:
        ServerError: `out` holds something else, or a catalogue cannot be read.
        StoreFull, StoreReadOnly: It cannot be written; what is in a folder is used the next time.
    """
    logger.debug("backup.started out=%s", out)
    with archives.writing(out) as target:
        copying = _Copying(target, progress)
        catalogues = [server.catalogue(name) for name in server.catalogues()]
        for catalogue in catalogues:
            copying.never_changing(catalogue)
        points = {each.name: copying.point(each) for each in catalogues}
        for name in OF_SERVER:
            if (server.path / name).exists():
                copying.changing(name, server.path / name)
        document = Document(now, folders.FORMAT, points, tuple(copying.entries.values()))
        target.finish(document.encode(), {each.sha256 for each in document.files})
    logger.info("backup.complete out=%s copied_bytes=%d", out, copying.copied_bytes)
    return Backup(
        points,
        len(document.files),
        sum(each.size for each in document.files),
        copying.copied_bytes,
        tuple(copying.lacking),
    )


class _Copying:
    """One backup in the making.

    Attributes:
        entries: By their path in the server's folder.
        lacking: Paths that are named, and are not there or have other bytes.
        copied_bytes: So far.
    """

    def __init__(self, target: Target, progress: Progress) -> None:
        self._target, self._progress = target, progress
        self.entries: dict[str, Entry] = {}
        self.lacking: list[str] = []
        self.copied_bytes = 0

    def never_changing(self, catalogue: CatalogueFolder) -> None:
        """Copies files that are named by their hash; which of them are needed is known later."""
        named = _blobs(catalogue, holdings.read_visible(catalogue.public).manifests)
        files = [*_kept_by_hash(catalogue), *(_public_blob(catalogue, each) for each in named)]
        for done, file in enumerate(files):
            self._progress("copying", done, len(files))
            with suppress(FileNotFoundError, OtherBytes):  # what goes meanwhile is not needed
                self._copy(file, file.name.partition(".")[0])
        self._progress("copying", len(files), len(files))

    def point(self, catalogue: CatalogueFolder) -> Point:
        """Everything of a catalogue as of one moment."""
        keys, visible = _settled(catalogue)
        own, public = f"catalogues/{catalogue.name}", f"public/{catalogue.name}"
        for name, data in visible.files.items():
            self._put(f"{public}/{name}", data)
        for file, data in keys.items():
            self._put(f"{own}/keys/{file.name}", data, is_private=_is_private(file))
        settings = catalogue.folder / _SETTINGS
        if settings.exists():
            self.changing(f"{own}/{_SETTINGS}", settings)
        view = self._database(f"{own}/{catalogue.database.name}", catalogue.database)
        with closing(sqlite3.connect(f"{view.as_uri()}?immutable=1", uri=True)) as connection:
            vectors = Vectors(connection)
            of_tables, bundles = vectors.manifests(), vectors.bundles().values()
            pictures = {picture_of(value) for value in History(connection).ever(IMAGE)}
            if migrations.has_table(connection, "waiting_images"):  # or it waits for an upgrade
                pictures |= WaitingImages(connection).kept_pictures()
        view.unlink()
        blobs = {*_blobs(catalogue, visible.manifests), *_blobs(catalogue, of_tables), *bundles}
        named = {
            *map(catalogue.picture, pictures),
            *map(catalogue.bundle, bundles),
            *(_public_blob(catalogue, each) for each in blobs),
        }
        for file in sorted(named.union(_kept_by_hash(catalogue))):  # images may be about to come
            folder = catalogue.public if file.is_relative_to(catalogue.public) else catalogue.folder
            start = public if folder is catalogue.public else own
            path = f"{start}/{file.relative_to(folder).as_posix()}"
            if not self._add(path, file, file.name.partition(".")[0]) and file in named:
                self.lacking.append(path)
        newest = [manifests.decode(data) for data in of_tables.values()]
        return Point(
            newest[-1].version if newest else 0,
            {each.generation.hex(): each.state_hash.hex() for each in newest},
            dict(visible.versions),
        )

    def changing(self, path: str, file: Path) -> None:
        """A file that may be another the next time."""
        if file.suffix == ".sqlite":
            self._database(path, file).unlink()
        else:
            self._put(path, file.read_bytes(), is_private=_is_private(file))

    def _database(self, path: str, file: Path) -> Path:
        """A database as of one moment; its copy, for who reads it and removes it."""
        copy = (self._target.scratch / f"{len(self.entries)}.sqlite").absolute()
        try:
            with (
                closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as source,
                closing(sqlite3.connect(copy)) as made,
            ):
                source.backup(made)  # all pages in one step: one view, and no writer waits
        except sqlite3.Error as exc:
            raise database_errors.error_of(
                exc,
                self._target.scratch,
                if_full=f"No room to copy {file}. Free some space and try again.",
                otherwise=f"The database {file} cannot be copied: {exc}. "
                "pocketlens-server fsck says more.",
            ) from exc
        with copy.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        self._add(path, copy, digest, is_private=_is_private(file))
        return copy

    def _add(self, path: str, file: Path, sha256: str, *, is_private: bool = False) -> bool:
        """Names a file, if it is what its name says, or was when it was copied."""
        with suppress(FileNotFoundError, OtherBytes):
            self._copy(file, sha256, is_private=is_private)
        size = self._target.size(sha256)
        if size is None:
            return False
        self.entries[path] = Entry(path, sha256, size, is_private)
        return True

    def _copy(self, file: Path, sha256: str, *, is_private: bool = False) -> None:
        try:
            content = file.open("rb")
        except PermissionError as exc:
            raise ServerError(f"{file} cannot be read: {exc.strerror}.") from exc
        with content:
            size = os.fstat(content.fileno()).st_size
            if self._target.size(sha256) != size:
                chunks = archives.chunks_of(content)
                self._target.put(sha256, chunks, is_private=is_private)
                self.copied_bytes += size

    def _put(self, path: str, data: bytes, *, is_private: bool = False) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        if self._target.size(sha256) != len(data):
            self._target.put(sha256, [data], is_private=is_private)
            self.copied_bytes += len(data)
        self.entries[path] = Entry(path, sha256, len(data), is_private)


def _settled(catalogue: CatalogueFolder) -> tuple[dict[Path, bytes], Visible]:
    """Keys, and the signed files that name them.

    Raises:
        ServerError: Keys change all the time, or one of the files cannot be read.
    """
    for _ in range(_ATTEMPTS):
        before, visible = _keys(catalogue), holdings.read_visible(catalogue.public)
        if before == _keys(catalogue):
            return before, visible
    raise ServerError(f"The keys of {catalogue.name!r} change all the time. Try again.")


def _keys(catalogue: CatalogueFolder) -> dict[Path, bytes]:
    try:
        return {path: path.read_bytes() for path in sorted(catalogue.online_keys.iterdir())}
    except OSError as exc:
        raise ServerError(f"The keys in {catalogue.online_keys} cannot be read: {exc}.") from exc


def _kept_by_hash(catalogue: CatalogueFolder) -> list[Path]:
    """Pictures and models that are there now."""
    pictures = catalogue.folder.glob("pictures/*/" + "?" * 64)
    models = ("bundles/*.tflite", "floats/*.keras", "floats/*.tflite")
    found = [path for each in models for path in catalogue.folder.glob(each)]
    return [*pictures, *(path for path in found if len(path.stem) == 64)]


def _public_blob(catalogue: CatalogueFolder, sha256: bytes) -> Path:
    return catalogue.public / "blobs" / sha256.hex()


def _blobs(catalogue: CatalogueFolder, encoded: Mapping[bytes, bytes]) -> set[bytes]:
    """SHA-256 of what manifests name."""
    decoded = map(manifests.decode, encoded.values())
    named = (holdings.blobs_of(manifest, catalogue.public) for manifest in decoded)
    return {blob.sha256 for blobs in named for blob in blobs}


def _is_private(file: Path) -> bool:
    return not file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
