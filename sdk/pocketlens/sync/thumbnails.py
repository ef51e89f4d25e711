"""Thumbnails follow their version: packs that are new are fetched behind it, and never hold it up.

    report = bring(directory, transport, manifest, limit_bytes=None)

A pack is a file of the install, named by the hash that the signed list has of it: one that was
fetched is not fetched again after a cut. The store has a list of its own: what it has all of stays
as it came, also where the server has packed it anew since.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from pocketlens.durable_files import translated, write_file
from pocketlens.errors import (
    MeteredRefused,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreTooNew,
    SyncCancelled,
    SyncError,
    TrustError,
)
from pocketlens.formats import manifest as manifests
from pocketlens.formats import pack_list, thumbnail_pack
from pocketlens.formats.manifest import Blob, Manifest
from pocketlens.formats.pack_list import Pack, PackList
from pocketlens.progress import Progress
from pocketlens.store import database, installs, thumbnails, trusted
from pocketlens.store.facts import Origin, StoreFacts, from_rows, to_rows
from pocketlens.store.pieces import received
from pocketlens.store.thumbnails import SUFFIX, pack_path
from pocketlens.sync.reports import ThumbnailReport
from pocketlens.sync.transports import Transport

logger = logging.getLogger(__name__)

_MOST_TIMES = 2  # the bytes of the server's packs that a store's own may have, before they go
_SPARE_BYTES = 4 << 20  # that stay free


@dataclass(frozen=True, slots=True)
class PackPlan:
    """What a store does to have all thumbnails of a list.

    Attributes:
        packs: SHA-256 of what it has afterwards, the oldest first.
        missing: To be fetched.
    """

    packs: tuple[bytes, ...]
    missing: tuple[Pack, ...]

    @property
    def fetch_bytes(self) -> int:
        """Of what is missing."""
        return sum(each.size for each in self.missing)


def planned(facts: StoreFacts | None, at_hand: dict[bytes, int], listed: PackList) -> PackPlan:
    """Which packs to fetch (PURE).

    A pack is needed if it has thumbnails of versions that the store has not all of. A store that
    has lost a pack which the server packed anew, is ahead of the list, or has more than twice its
    bytes begins anew with the list; what is at hand of it is not fetched again.

    Args:
        facts: Of the store; None where there is none yet.
        at_hand: Sizes of packs whose files are there, by their SHA-256.
        listed: What the server has.
    """
    of_list = {each.sha256: each for each in listed.packs}
    own = facts.thumbnail_packs if facts else ()
    has = facts.thumbnail_version if facts else 0
    own_bytes = sum(at_hand.get(each, 0) for each in own)
    total = sum(each.size for each in listed.packs)
    if (
        has > listed.head
        or own_bytes > _MOST_TIMES * total
        or any(each not in at_hand and each not in of_list for each in own)
    ):
        own, has = (), 0
    new = tuple(each.sha256 for each in listed.packs if each.head > has and each.sha256 not in own)
    packs = own + new
    missing = (of_list[each] for each in packs if each not in at_hand)
    return PackPlan(packs, tuple(missing))


def bring(
    directory: Path,
    transport: Transport,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Progress = lambda stage, done, total: None,
    *,
    are_wanted: bool,
    limit_bytes: int | None = None,
    plan_of: Manifest | None = None,
    only_plan: bool = False,
) -> ThumbnailReport:
    """Brings the store's thumbnails to those that the manifest of its version names.

    Args:
        directory: Of the store, inside `installs.writing`.
        transport: To the server.
        cancelled: Asked between packs.
        progress: Called with "thumbnails", done and total.
        are_wanted: Whether there are to be any; if not, those that are there go.
        limit_bytes: That may be fetched; None for no limit.
        plan_of: The manifest that a plan is of; None for that of the store.
        only_plan: Whether the list alone is fetched, and nothing changed.

    Returns:
        What was done. What cannot be fetched, or costs more than it may, is left for the next sync.

    Raises:
        SyncCancelled: `cancelled` said so; what was fetched is kept.
        StoreError: The folder cannot be written.
    """
    has = _Has.of(directory)
    manifest = plan_of or (has.manifest if has else None)
    blob = manifest.thumbnails if manifest and are_wanted else None
    if blob is None or (has and has.is_all_of(blob)):
        if blob is None and has and not only_plan:
            has.settle(PackPlan((), ()), b"", 0)
        return ThumbnailReport()
    report = ThumbnailReport()
    try:
        if limit_bytes is not None and blob.size > limit_bytes:
            raise MeteredRefused(f"Their list has {blob.size:,} bytes, more than is allowed here.")
        listed = pack_list.decode(_fetched(transport, blob, cancelled))
        plan = planned(has.facts if has else None, has.sizes if has else {}, listed)
        report = ThumbnailReport(0, blob.size, plan.fetch_bytes)
        if only_plan or has is None:
            return report
        _check_room(plan, directory, None if limit_bytes is None else limit_bytes - blob.size)
        for pack in plan.missing:
            progress("thumbnails", report.fetched_bytes - blob.size, plan.fetch_bytes)
            data = _fetched(transport, pack.blob, cancelled)
            _check_pack(data)
            write_file(pack_path(has.install, pack.sha256), data, is_private=True)
            report = ThumbnailReport(
                report.packs + 1, report.fetched_bytes + pack.size, report.waiting_bytes - pack.size
            )
    except SyncCancelled:
        raise
    except (SyncError, StoreFull) as exc:
        logger.warning("thumbnails.left error=%s", exc)
        return replace(report, reason=str(exc))
    progress("thumbnails", plan.fetch_bytes, plan.fetch_bytes)
    has.settle(plan, blob.sha256, listed.head)
    return report


def carried(origin: Origin, store: StoreFacts, install: Path, new: Path) -> Origin:
    """Takes the packs of an install over into one that will take its place.

    Args:
        origin: Of the new one.
        store: Facts of the old one.
        install: Its folder.
        new: Folder of the new one.

    Returns:
        The origin, with the packs that are there.
    """
    for sha256 in store.thumbnail_packs:
        source = pack_path(install, sha256)
        try:
            os.link(source, pack_path(new, sha256))
        except FileNotFoundError:
            continue  # it is fetched again
        except OSError:  # the file system has no second names
            try:
                write_file(pack_path(new, sha256), source.read_bytes())
            except OSError as exc:
                raise translated(exc, new) from exc
    return replace(
        origin,
        thumbnail_packs=store.thumbnail_packs,
        thumbnail_list=store.thumbnail_list,
        thumbnail_version=store.thumbnail_version,
    )


def drop_damaged(install: Path, facts: StoreFacts) -> None:
    """Removes packs that are not what they are named by; the next `bring` fetches them."""
    for sha256 in facts.thumbnail_packs:
        if list(thumbnails.findings(install, [sha256])):
            logger.warning("thumbnails.damaged pack=%s", sha256.hex()[:12])
            pack_path(install, sha256).unlink(missing_ok=True)


def _fetched(transport: Transport, blob: Blob, cancelled: Callable[[], bool]) -> bytes:
    """A blob of one piece."""
    if cancelled():
        raise SyncCancelled("The sync was cancelled; what was fetched is kept.")
    if len(blob.pieces) != 1:
        raise TrustError(f"Expected a list of packs of one piece. Received {blob.size:,} bytes.")
    return received(transport.piece(blob, 0), blob.sha256, size=blob.size)


def _check_pack(data: bytes) -> None:
    """Refuses what was signed as a pack, and is none: whatever replaces it is fetched then."""
    try:
        thumbnail_pack.check(data)
    except (StoreCorrupt, StoreTooNew) as exc:
        raise TrustError(str(exc)) from exc


def _check_room(plan: PackPlan, directory: Path, limit_bytes: int | None) -> None:
    if limit_bytes is not None and plan.fetch_bytes > limit_bytes:
        raise MeteredRefused(
            f"They need {plan.fetch_bytes:,} bytes; {limit_bytes:,} are left of what is allowed."
        )
    free = shutil.disk_usage(directory).free
    if plan.missing and free < plan.fetch_bytes + _SPARE_BYTES:
        raise StoreFull(f"They need {plan.fetch_bytes:,} bytes of room, {free:,} are free.")


@dataclass(frozen=True, slots=True)
class _Has:
    """The install in use.

    Attributes:
        install: Its folder.
        facts: Of it.
        manifest: Of its version, as it was trusted; None where that is damaged.
        sizes: Of the packs that are there, by their SHA-256.
    """

    install: Path
    facts: StoreFacts
    manifest: Manifest | None
    sizes: dict[bytes, int]

    @classmethod
    def of(cls, directory: Path) -> _Has | None:
        """None where there is no store, or none that opens."""
        try:
            install = installs.current(directory)
            path = install / database.FILE_NAME
            with closing(database.open_to_read(path)) as connection, database.errors(path):
                facts = from_rows(connection.execute("SELECT * FROM facts").fetchall())
                manifest = trusted.read(connection).manifest
        except StoreError:
            return None
        sizes = {bytes.fromhex(each.stem): each.stat().st_size for each in _packs(install)}
        return cls(install, facts, manifests.decode(manifest) if manifest else None, sizes)

    def is_all_of(self, blob: Blob) -> bool:
        """Whether the store has all packs of a list."""
        is_here = all(each in self.sizes for each in self.facts.thumbnail_packs)
        return is_here and self.facts.thumbnail_list == blob.sha256

    def settle(self, plan: PackPlan, of_list: bytes, version: int) -> None:
        """Lets the store have the packs of a plan, whose files are there, and no others."""
        changed = replace(
            self.facts,
            thumbnail_packs=plan.packs,
            thumbnail_list=of_list,
            thumbnail_version=version,
        )
        if changed.thumbnail_facts != self.facts.thumbnail_facts:
            with database.changing(self.install / database.FILE_NAME) as connection:
                connection.execute("DELETE FROM facts WHERE name LIKE 'thumbnail_%'")
                database.put_rows(connection, "facts", to_rows(changed))
        for path in _packs(self.install):
            if bytes.fromhex(path.stem) not in plan.packs:
                path.unlink(missing_ok=True)


def _packs(install: Path) -> list[Path]:
    return [path for path in install.glob(f"*{SUFFIX}") if len(path.stem) == 64]
