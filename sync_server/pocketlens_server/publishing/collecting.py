"""Files that nothing names any more -> gone, once no device can still be fetching them.

    found = unshown(folder, tables, now=clock())            # a view: seconds, once a day
    collect(folder, tables, found, hours=24, now=clock())   # a transaction that may write

A public file that no manifest or metadata names is noted with the time; one that was noted so many
hours ago is removed. A picture, its embeddings and codes go when no image of kept history shows it,
as many hours after it came: a push keeps pictures before it names them. A process that ends in the
middle leaves files that the next call removes.

To a clock that has jumped ahead everything is old. So hours count up to the earlier of two readings
of it, this collection's and that of the one before: what a wrong clock says counts for nothing if
it is set right before the next, and a server that was off for a week collects one publish later.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pocketlens.durable_files import write_file
from pocketlens.errors import BundleError, ServerError, StoreFull
from pocketlens.formats import bundle as bundle_format
from pocketlens.formats import manifest as manifests
from pocketlens_server.catalogue import float_siblings
from pocketlens_server.folders import CatalogueFolder, Tables
from pocketlens_server.publishing import holdings
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.storage.float_embeddings import FloatEmbeddings
from pocketlens_server.storage.history import IMAGE

logger = logging.getLogger(__name__)

_NOTES = "unnamed.json"
_LOOKED_AT = "pictures-collected"  # holds when every image was looked at last
_LOOK_EVERY = timedelta(days=1)  # 100,000 images take seconds, which a patch of prices has not
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)  # before any file


@dataclass(frozen=True, slots=True)
class Unshown:
    """What no image showed at one moment.

    Attributes:
        pictures: That are kept, or embedded.
        halves: Files of pictures that were coming.
        head: The newest version then.
    """

    pictures: Set[bytes]
    halves: Sequence[Path]
    head: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed.

    Attributes:
        files: That devices could fetch.
        pictures: With embeddings and codes.
    """

    files: int
    pictures: int


def unshown(
    folder: CatalogueFolder, tables: Tables, *, now: datetime, all_images: bool = False
) -> Unshown | None:
    """Looks at every image that is or was for pictures that none of them shows.

    Args:
        folder: Of the catalogue.
        tables: Of it, inside one view; others may write meanwhile.
        now: The clock.
        all_images: Whether to look although that was done within a day.

    Returns:
        None where it was, and need not be done again.

    Raises:
        ServerError: When it was cannot be told.
    """
    if not (all_images or _is_due(folder, now)):
        return None
    kept = {bytes.fromhex(path.name) for path in (folder.folder / "pictures").glob("*/" + "?" * 64)}
    shown = {picture_of(value) for value in tables.history.ever(IMAGE)}
    shown |= tables.waiting.kept_pictures()
    return Unshown(
        (tables.vectors.pictures() | kept) - shown,
        tuple((folder.folder / "pictures").glob("**/.*.tmp")),
        tables.history.head,
    )


def collect(
    folder: CatalogueFolder, tables: Tables, found: Unshown | None, *, hours: int, now: datetime
) -> Collected:
    """Removes what nothing needs any more.

    Args:
        folder: Of the catalogue.
        tables: Of it, inside a transaction that may write: nothing is named meanwhile.
        found: Pictures, as they were before it; None where they are not looked for.
        hours: Since the last manifest naming a file; less than 24 counts as 24.
        now: The clock.

    Raises:
        ServerError: The public files or the notes are damaged; nothing is removed.
    """
    notes = _Notes.read(folder.folder / _NOTES)
    before = min(now, notes.at) - timedelta(hours=max(24, hours))
    try:
        files, unnamed = _collect_files(folder, tables, notes, before, now)
    except OSError as exc:
        raise ServerError(f"What {folder.public} no longer needs cannot be told: {exc}.") from exc
    _Notes(now, unnamed).write(folder.folder / _NOTES)
    if found is None:
        return Collected(files, 0)
    pictures = _collect_pictures(folder, tables, found, before)
    write_file(folder.folder / _LOOKED_AT, now.isoformat().encode())
    return Collected(files, pictures)


@dataclass(frozen=True, slots=True)
class _Notes:
    """What a collection leaves to the next.

    Attributes:
        at: When it was, by the clock.
        since: When each file that is there was seen first without a name.
    """

    at: datetime
    since: Mapping[str, datetime]

    @classmethod
    def read(cls, path: Path) -> _Notes:
        """Those of the collection before; what a former PocketLens noted says no time of its own.

        Raises:
            ServerError: They are damaged.
        """
        try:
            found = json.loads(path.read_text()) if path.exists() else {}
            at = datetime.fromisoformat(found["at"]) if "at" in found else _LONG_AGO
            since = found.get("since", {}).items()
            return cls(at, {name: datetime.fromisoformat(noted) for name, noted in since})
        except (OSError, ValueError, TypeError, AttributeError) as exc:
            raise ServerError(f"{path} cannot be read: {exc}. Remove it.") from exc

    def write(self, path: Path) -> None:
        since = {name: each.isoformat() for name, each in self.since.items()}
        write_file(path, json.dumps({"at": self.at.isoformat(), "since": since}, indent=0).encode())


def _collect_files(
    folder: CatalogueFolder, tables: Tables, notes: _Notes, before: datetime, now: datetime
) -> tuple[int, dict[str, datetime]]:
    """How many went, and since when others are there without a name."""
    named = set(_named(folder.public, tables))
    removed, unnamed = 0, {}
    for path in sorted(folder.public.rglob("*")):
        name = path.relative_to(folder.public).as_posix()
        if name in named or not path.is_file():
            continue
        since = min(now, notes.since.get(name, now))  # a clock that was ahead may have noted it
        if since <= before:
            path.unlink()
            removed += 1
        else:
            unnamed[name] = since
    return removed, unnamed


def _named(public: Path, tables: Tables) -> Iterator[str]:
    """Files that a device may ask for: what is visible, and what is signed next."""
    visible = holdings.read_visible(public)
    yield from visible.files
    for data in {*visible.manifests.values(), *tables.vectors.manifests().values()}:
        for blob in holdings.blobs_of(manifests.decode(data), public):
            yield f"blobs/{blob.sha256.hex()}"
    for sha256 in tables.vectors.bundles().values():
        yield f"blobs/{sha256.hex()}"


def _is_due(folder: CatalogueFolder, now: datetime) -> bool:
    path = folder.folder / _LOOKED_AT
    try:
        since = now - datetime.fromisoformat(path.read_text()) if path.exists() else _LOOK_EVERY
    except (OSError, ValueError, TypeError) as exc:
        raise ServerError(f"{path} cannot be read: {exc}. Remove it.") from exc
    return not timedelta(0) <= since < _LOOK_EVERY  # a clock that was ahead had looked then


def _collect_pictures(
    folder: CatalogueFolder, tables: Tables, found: Unshown, before: datetime
) -> int:
    bundles = {folder.bundle(sha256) for sha256 in tables.vectors.bundles().values()}
    for path in (folder.folder / "bundles").iterdir():
        if path not in bundles and path.stat().st_mtime <= before.timestamp():
            path.unlink()
    _collect_float_models(folder, bundles, before)
    for path in found.halves:  # of who was killed
        if path.exists() and path.stat().st_mtime <= before.timestamp():
            path.unlink(missing_ok=True)
    shown = {picture_of(value) for value in tables.history.ever_since(IMAGE, found.head)}
    shown |= tables.waiting.kept_pictures()
    gone = []
    for picture in found.pictures - shown:
        path = folder.picture(picture)
        if path.exists() and path.stat().st_mtime > before.timestamp():
            continue  # a push may be about to name it
        path.unlink(missing_ok=True)
        gone.append(picture)
    tables.vectors.forget_pictures(gone)
    _forget_float_embeddings(folder, gone)
    return len(gone)


def _collect_float_models(folder: CatalogueFolder, bundles: Set[Path], before: datetime) -> None:
    if not folder.floats.is_dir():
        return
    try:
        kept = [bundle_format.decode(path.read_bytes()) for path in bundles if path.exists()]
    except BundleError:  # fsck tells of it; which float models it needs cannot be told
        return
    named = set(float_siblings.needed(folder, kept))
    for path in folder.floats.iterdir():
        if path not in named and path.stat().st_mtime <= before.timestamp():
            path.unlink()


def _forget_float_embeddings(folder: CatalogueFolder, gone: Sequence[bytes]) -> None:
    """Nothing that is published depends on them, so neither does a publish."""
    for path in folder.floats.glob("*.sqlite") if gone else ():
        try:
            with FloatEmbeddings.opened(path) as floats:
                floats.forget(gone)
        except (ServerError, StoreFull) as exc:
            logger.warning("collect.floats.failed error=%s", exc)
