"""Files that nothing names any more -> gone, once no device can still be fetching them.

    collect(folder, tables, hours=24, now=clock())

A public file that no manifest or metadata names is noted with the time; one that was noted so many
hours ago is removed. A picture, its embeddings and codes go when no image of kept history shows it,
as many hours after it came: a push keeps pictures before it names them. A process that ends in the
middle leaves files that the next call removes.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pocketlens.durable_files import write_file
from pocketlens.errors import ServerError
from pocketlens.formats.manifest import Blob, Manifest, decode
from pocketlens_server.folders import CatalogueFolder, Tables
from pocketlens_server.publishing import signing
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.storage.history import IMAGE

_NOTES = "unnamed.json"
_LOOKED_AT = "pictures-collected"  # holds when every image was looked at last
_LOOK_EVERY = timedelta(days=1)  # 100,000 images take seconds, which a patch of prices has not


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed.

    Attributes:
        files: That devices could fetch.
        pictures: With embeddings and codes.
    """

    files: int
    pictures: int


def collect(
    folder: CatalogueFolder, tables: Tables, *, hours: int, now: datetime, all_images: bool = False
) -> Collected:
    """Removes what nothing needs any more; pictures once a day.

    Args:
        folder: Of the catalogue.
        tables: Of it, inside a transaction that may write: nothing is named meanwhile.
        hours: Since the last manifest naming a file; less than 24 counts as 24.
        now: The clock.
        all_images: Whether pictures are looked for although they were today.

    Raises:
        ServerError: The public files or the notes are damaged; nothing is removed.
    """
    before = now - timedelta(hours=max(24, hours))
    try:
        files = _collect_files(folder, tables, before, now)
        looked_at = folder.folder / _LOOKED_AT
        is_due = all_images or not looked_at.exists()
        is_due = is_due or now - datetime.fromisoformat(looked_at.read_text()) >= _LOOK_EVERY
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ServerError(f"What {folder.public} no longer needs cannot be told: {exc}.") from exc
    if not is_due:
        return Collected(files, 0)
    pictures = _collect_pictures(folder, tables, before)
    write_file(looked_at, now.isoformat().encode())
    return Collected(files, pictures)


def _collect_files(folder: CatalogueFolder, tables: Tables, before: datetime, now: datetime) -> int:
    notes = folder.folder / _NOTES
    since: dict[str, str] = json.loads(notes.read_text()) if notes.exists() else {}
    named = set(_named(folder.public, tables))
    unnamed, removed = {}, 0
    for path in sorted(folder.public.rglob("*")):
        name = path.relative_to(folder.public).as_posix()
        if name in named or not path.is_file():
            continue
        noted = since.get(name, now.isoformat())
        if datetime.fromisoformat(noted) <= before:
            path.unlink()
            removed += 1
        else:
            unnamed[name] = noted
    if unnamed != since:
        write_file(notes, json.dumps(unnamed, indent=0).encode())
    return removed


def _named(public: Path, tables: Tables) -> Iterator[str]:
    """Files that a device may ask for: what is visible, and what is signed next."""
    yield "metadata/timestamp.json"
    for path in (public / "metadata").glob("*.root.json"):
        yield f"metadata/{path.name}"
    timestamp = _signed(public, "timestamp.json")
    snapshot = f"{timestamp['meta']['snapshot.json']['version']}.snapshot.json"
    yield f"metadata/{snapshot}"
    for role, meta in _signed(public, snapshot)["meta"].items():
        yield f"metadata/{meta['version']}.{role}"
        for target, found in _signed(public, f"{meta['version']}.{role}")["targets"].items():
            place, _, name = target.rpartition("/")
            yield f"targets/{place}/{found['hashes']['sha256']}.{name}"
    manifests = {*signing.visible(public).values(), *tables.vectors.manifests().values()}
    for data in manifests:
        for blob in _blobs(decode(data)):
            yield f"blobs/{blob.sha256.hex()}"
    for sha256 in tables.vectors.bundles().values():
        yield f"blobs/{sha256.hex()}"


def _signed(public: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((public / "metadata" / name).read_bytes())["signed"]
    return found


def _blobs(manifest: Manifest) -> Iterable[Blob]:
    relist = () if manifest.relist is None else (manifest.relist,)
    changes = (manifest.snapshot, *manifest.deltas, *relist)
    return (manifest.bundle, manifest.codebook, *(each.blob for each in changes))


def _collect_pictures(folder: CatalogueFolder, tables: Tables, before: datetime) -> int:
    bundles = {folder.bundle(sha256) for sha256 in tables.vectors.bundles().values()}
    for path in (folder.folder / "bundles").iterdir():
        if path not in bundles and path.stat().st_mtime <= before.timestamp():
            path.unlink()
    for path in (folder.folder / "pictures").glob("**/.*.tmp"):  # of who was killed
        if path.stat().st_mtime <= before.timestamp():
            path.unlink(missing_ok=True)
    shown = {picture_of(value) for value in tables.history.ever(IMAGE)}
    shown |= tables.waiting.kept_pictures()
    kept = {bytes.fromhex(path.name) for path in (folder.folder / "pictures").glob("*/" + "?" * 64)}
    gone = []
    for picture in (tables.vectors.pictures() | kept) - shown:
        path = folder.picture(picture)
        if path.exists() and path.stat().st_mtime > before.timestamp():
            continue  # a push may be about to name it
        path.unlink(missing_ok=True)
        gone.append(picture)
    tables.vectors.forget_pictures(gone)
    return len(gone)
