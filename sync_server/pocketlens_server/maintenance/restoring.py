"""A backup -> a server in a new folder.

    restored = restore(Path("backups"), Path("shop-server"), now=clock())
    restored.findings                           # of fsck, at the end

Every byte is checked against its hash. `server.json` comes last: what was cut off before is no
server, and the same call begins again. Each catalogue is marked, so that it publishes nothing
before its operator has said above which version (`publishing.restored`); devices go on meanwhile.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pocketlens.durable_files import sync_folder, translated, write_file
from pocketlens.errors import ServerError
from pocketlens.progress import Progress
from pocketlens_server import folders
from pocketlens_server.folders import ServerFolder
from pocketlens_server.maintenance import archives, fsck
from pocketlens_server.maintenance.archives import OtherBytes, Source
from pocketlens_server.maintenance.backup_document import Document, Entry, Point
from pocketlens_server.maintenance.findings import Finding
from pocketlens_server.publishing import holdings, restored
from pocketlens_server.publishing.restored import Restored

logger = logging.getLogger(__name__)


_LAST = "server.json"
_UNFINISHED = ".restoring"


@dataclass(frozen=True, slots=True)
class Done:
    """A server that was restored.

    Attributes:
        made_at: When its backup was.
        catalogues: What each is at.
        files, bytes: That were copied.
        findings: What is wrong or worth to know, see `fsck`.
    """

    made_at: datetime
    catalogues: Mapping[str, Point]
    files: int
    bytes: int
    findings: Sequence[Finding]


def restore(
    backup: Path,
    data: Path,
    *,
    offline_keys: Path | None = None,
    seen: Path | None = None,
    now: datetime,
    progress: Progress = lambda stage, done, total: None,
) -> Done:
    """Makes the folder of a server from a backup.

    Args:
        backup: Its folder.
        data: New or empty, or of a restore that was cut off.
        offline_keys: Where they are now; where the server knew them if None.
        seen: A newer copy of the public files, such as a CDN's: of it the operator is told which
            versions devices may have. Nothing else is taken from it.
        now: When it is restored.
        progress: Called with "restoring" and then as by `fsck`, files done and to do.

    Raises:
        ServerError: It is no backup, or damaged, or `data` holds something; nothing is left there.
        StoreFull, StoreReadOnly: It cannot be written; nothing is left there.
    """
    source = Source(backup)
    document = Document.decode(source.document())
    settings = _settings(document, source, data, offline_keys)
    versions = {
        name: holdings.read_visible(seen / name).version if seen else 0
        for name in document.catalogues
    }
    _begin(data)
    try:
        _copy(document, source, data, progress)
        for name, point in document.catalogues.items():
            mark = Restored(now, document.made_at, point.version, versions[name])
            restored.mark(data / "catalogues" / name, mark)
        sync_folder(data)
        write_file(data / _LAST, settings)
    except BaseException as exc:
        _clear(data)
        if isinstance(exc, OSError):
            raise translated(exc, data) from exc
        raise
    (data / _UNFINISHED).unlink()
    logger.info("restore.complete data=%s made_at=%s", data, document.made_at)
    return Done(
        document.made_at,
        document.catalogues,
        len(document.files),
        sum(each.size for each in document.files),
        fsck.examine(ServerFolder(data), now=now, progress=progress),
    )


def _settings(document: Document, source: Source, data: Path, offline_keys: Path | None) -> bytes:
    """What `server.json` will be.

    Raises:
        ServerError: The server is of a newer format, or its offline keys would lie in it.
    """
    if document.server_format > folders.FORMAT:
        raise ServerError(
            f"Expected a server of format {folders.FORMAT}. Received {document.server_format}. "
            "Update PocketLens."
        )
    entries = [each for each in document.files if each.path == _LAST]
    if not entries:
        raise ServerError("The backup is damaged: it has no server.json. Try another.")
    settings = json.loads(b"".join(_chunks(source, entries[0])))
    if offline_keys is not None:
        offline = offline_keys.absolute()
        if offline.is_relative_to(data.absolute()):
            raise ServerError(
                f"Expected a folder for offline keys outside {data}. Received {offline_keys}."
            )
        settings["offline_keys"] = str(offline)
    return (json.dumps(settings, indent=2) + "\n").encode()


def _begin(data: Path) -> None:
    names = {path.name for path in data.iterdir()} if data.is_dir() else set()
    if (data.exists() and not data.is_dir()) or (names and _UNFINISHED not in names):
        raise ServerError(f"Expected a folder that is new or empty. Received {data}.")
    if _LAST in names:
        raise ServerError(f"There is a server in {data} already. Choose another folder.")
    try:
        data.mkdir(parents=True, exist_ok=True)
        _clear(data)
        (data / _UNFINISHED).touch()
    except OSError as exc:
        raise translated(exc, data) from exc


def _clear(data: Path) -> None:
    for path in data.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != _UNFINISHED:
            path.unlink()
    (data / _UNFINISHED).unlink(missing_ok=True)


def _copy(document: Document, source: Source, data: Path, progress: Progress) -> None:
    made = {data}
    for name in document.catalogues:
        for folder in ("pictures", "bundles"):
            (data / "catalogues" / name / folder).mkdir(parents=True)
    for done, entry in enumerate(document.files):
        progress("restoring", done, len(document.files))
        if entry.path == _LAST:
            continue
        path = data / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o600 if entry.is_private else 0o666
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            for chunk in _chunks(source, entry):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        made.update(each for each in path.parents if each.is_relative_to(data))
    for parent in made:
        sync_folder(parent)
    progress("restoring", len(document.files), len(document.files))


def _chunks(source: Source, entry: Entry) -> Iterator[bytes]:
    """Yields a file.

    Raises:
        ServerError: It is missing, or has other bytes.
    """
    try:
        with source.open(entry.sha256) as file:
            yield from archives.checked(archives.chunks_of(file), entry.sha256)
    except OtherBytes as exc:
        raise ServerError(f"The backup is damaged: {entry.path} is another. Try another.") from exc
