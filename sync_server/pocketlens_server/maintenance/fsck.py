"""Looks at everything that a server keeps and says what is wrong, and what to do about it.

    for finding in examine(ServerFolder(path), now=clock()):
        print(finding.check, finding.text, finding.mend)

It only reads, and a server may serve, and change, meanwhile. One damage is one finding: what rests
on something that is wrong is not looked at. What is no damage, and yet to be known, is one too.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from pocketlens.errors import PocketLensError, ServerError, TrustError, UpdateRequired
from pocketlens.formats import manifest as manifests
from pocketlens.formats.manifest import Manifest
from pocketlens.progress import Progress
from pocketlens_server.folders import CatalogueFolder, ServerFolder, Tables
from pocketlens_server.maintenance import file_checks
from pocketlens_server.maintenance.findings import Check, Finding, counted
from pocketlens_server.maintenance.row_checks import row_findings
from pocketlens_server.publishing import ahead, holdings, restored
from pocketlens_server.publishing.holdings import Visible
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.storage import migrations
from pocketlens_server.storage.history import IMAGE

_TOKENS = "tokens.sqlite"
_RESTORE = "Restore the server from a backup: pocketlens-server restore"
_MEND = {
    Check.DATABASE: _RESTORE,
    Check.HISTORY: _RESTORE,
    Check.LINKS: _RESTORE,
    Check.STATE: _RESTORE,
    Check.CODES: _RESTORE,
    Check.EMBEDDINGS: "Push the images again, which embeds what is missing; or restore the server",
    Check.PICTURES: "Push their images again, or copy the files from a backup; until then no new "
    "model can be added",
    Check.BUNDLES: "Copy them from public/NAME/blobs, where they lie by the same hash, or add the "
    "model again: pocketlens-server model add",
    Check.BLOBS: "Copy them from a backup or a copy of the public files, such as a CDN's; devices "
    "that need them fail until then",
    Check.FLOATS: "Add the model again: pocketlens-server model add --float; or remove the file of "
    "embeddings, which is made again. Until then bundles answer photos",
    Check.METADATA: "Copy public/NAME from a backup or a CDN if that is as new; or restore the "
    "server. Devices search on and refuse to sync",
    Check.KEYS: "Bring the keys back from a backup (chmod 600), or let new ones take their place: "
    "pocketlens-server keys rotate",
    Check.BEHIND: "The tables are older than what was published. Restore the newest backup, or: "
    "pocketlens-server publish --above the version that devices find",
    Check.TOKENS: "Move the file away and make new tokens: pocketlens-server tokens make",
    Check.UPGRADE: "Nothing: any command that opens the catalogue does it. Then look again",
    Check.UNSIGNED: "Nothing, if a publish is under way; else: pocketlens-server publish",
    Check.EXPIRED: "pocketlens-server serve signs what the server's keys sign, so does publish; "
    "the others: pocketlens-server keys renew",
    Check.LEFTOVERS: "Nothing: what is a day old goes with the second version from now, or the "
    "second time with: pocketlens-server collect",
    Check.RESTORED: "Say above which version the next is: pocketlens-server publish --above "
    "VERSION, or --above 0 if nothing newer was ever published",
    Check.AHEAD: "They go on with what they have. If this is no lie of a device, versions are lost "
    "here: pocketlens-server publish --above the highest that was ever published",
}


def examine(
    server: ServerFolder,
    names: Collection[str] = (),
    *,
    now: datetime,
    progress: Progress = lambda stage, done, total: None,
) -> list[Finding]:
    """Reads everything, which takes as long as hashing all pictures.

    Args:
        server: The server.
        names: Of catalogues; all if empty.
        now: The clock.
        progress: Called with what is read ("pictures", ...), files done and to do.

    Raises:
        NotFound: There is no catalogue of a name.
    """
    found: list[Finding] = []
    tokens = server.path / _TOKENS
    if tokens.exists() and not names:
        found += _of_tokens(tokens)
    for name in names or server.catalogues():
        examination = _Examination(server.catalogue(name), now, progress)
        found += [
            Finding(name, check, text, _MEND[check].replace("NAME", name))
            for check, text in examination.findings()
        ]
    return found


def _of_tokens(path: Path) -> Iterator[Finding]:
    if wrong := _errors_in(path):
        yield Finding("", Check.TOKENS, counted(wrong, f"errors in {path}"), _MEND[Check.TOKENS])


@dataclass(slots=True)
class _Examination:
    """Of one catalogue.

    Attributes:
        visible: None where what is signed cannot be believed.
        needed: Files by what they are, once they are known.
    """

    folder: CatalogueFolder
    now: datetime
    progress: Progress
    visible: Visible | None = None
    needed: dict[Check, set[Path]] = field(default_factory=dict)

    def findings(self) -> Iterator[tuple[Check, str]]:
        """Yields what is found; what is signed is read first, since tables are never behind it."""
        yield from self._signed()
        try:
            with closing(_read_only(self.folder.database)) as connection:
                connection.execute("BEGIN")
                yield from self._tables(connection)
        except (sqlite3.DatabaseError, PocketLensError, ValueError, KeyError, TypeError) as exc:
            yield Check.DATABASE, f"{self.folder.database} cannot be read: {exc}"
        if self.visible and (texts := list(file_checks.unusable_keys(self.folder))):
            yield Check.KEYS, "; ".join(texts)
        yield from self._float_models()
        yield from self._notes()

    def _signed(self) -> Iterator[tuple[Check, str]]:
        public = self.folder.public
        try:
            visible = holdings.read_visible(public)
            texts = list(file_checks.untrusted(public, visible, self.folder.name))
            if not texts and (roles := file_checks.expired(public, self.now)):
                yield Check.EXPIRED, f"the metadata of {', '.join(roles)} has expired"
        except (ServerError, OSError) as exc:
            texts = [str(exc)]
        if texts:
            yield Check.METADATA, "; ".join(texts)
        else:
            self.visible = visible

    def _tables(self, connection: sqlite3.Connection) -> Iterator[tuple[Check, str]]:
        if wrong := _integrity(connection):
            yield Check.DATABASE, counted(wrong, f"errors in {self.folder.database}")
            return
        if newer := migrations.unknown(connection):
            yield Check.DATABASE, f"it was written by a newer PocketLens, which knows {newer[0]!r}"
            return
        if lacking := migrations.lacking(connection):
            yield Check.UPGRADE, f"the database has not been through {lacking[0]!r} yet"
            return
        yield from row_findings(connection, catalogue=self.folder.name)
        tables = Tables.of(connection)
        self.needed = self._needed(tables)
        for check, paths in self.needed.items():
            progress = partial(self.progress, check.value)
            missing, others = file_checks.unlike_their_names(paths, progress)
            yield from self._unlike_their_names(check, missing, others)
        signed = self.visible.manifests if self.visible else {}
        newest = max((each.version for each in _decoded(signed)), default=0)
        if newest > tables.history.head:
            text = f"devices find version {newest}, and the tables are at {tables.history.head}"
            yield Check.BEHIND, text
        elif self.visible and signed != tables.vectors.manifests():
            yield Check.UNSIGNED, f"version {tables.history.head} is not signed, or not whole"

    def _needed(self, tables: Tables) -> dict[Check, set[Path]]:
        """Files that the tables, and what is signed, name by their hash."""
        folder, blobs = self.folder, self.folder.public / "blobs"
        pictures = {picture_of(value) for value in tables.history.ever(IMAGE)}
        pictures |= tables.waiting.kept_pictures()
        hashes = tables.vectors.bundles().values()
        signed = self.visible.manifests if self.visible else {}
        named = {
            blob.sha256
            for manifest in (*_decoded(signed), *_decoded(tables.vectors.manifests()))
            for blob in holdings.blobs_of(manifest, folder.public)
        }
        return {
            Check.PICTURES: {folder.picture(each) for each in pictures},
            Check.BUNDLES: {folder.bundle(each) for each in hashes},
            Check.BLOBS: {blobs / each.hex() for each in named.union(hashes)},
        }

    def _unlike_their_names(
        self, check: Check, missing: list[Path], others: list[Path]
    ) -> Iterator[tuple[Check, str]]:
        if missing:  # what was collected meanwhile is not needed any more
            with closing(_read_only(self.folder.database)) as connection:
                missing = sorted(self._needed(Tables.of(connection))[check].intersection(missing))
        texts = []
        for paths, what in ((missing, "that are missing"), (others, "with other bytes")):
            if paths:
                texts.append(counted([path.name[:12] for path in paths], f"files {what}"))
        if texts:
            yield check, "; ".join(texts)

    def _float_models(self) -> Iterator[tuple[Check, str]]:
        """Yields what answers photos at full precision, and cannot."""
        floats, progress = self.folder.floats, partial(self.progress, Check.FLOATS.value)
        models = {*floats.glob("*.keras"), *floats.glob("*.tflite")}
        if not models:
            return
        _, others = file_checks.unlike_their_names(models, progress)
        if others:
            yield Check.FLOATS, counted([path.name[:12] for path in others], "with other bytes")
        for path in sorted(floats.glob("*.sqlite")):
            if wrong := _errors_in(path):
                yield Check.FLOATS, counted(wrong, f"errors in the embeddings {path}")

    def _notes(self) -> Iterator[tuple[Check, str]]:
        """Yields what is no damage."""
        if self.visible and self.needed:
            named = {self.folder.public / name for name in self.visible.files}
            named = named.union(*self.needed.values())
            if counts := file_checks.leftovers(self.folder, named):
                text = ", ".join(f"{count:,} files in {place}" for place, count in counts.items())
                yield Check.LEFTOVERS, f"nothing names {text}"
        try:
            origin = restored.mark_of(self.folder)
        except ServerError as exc:
            yield Check.RESTORED, str(exc)
        else:
            if origin is not None:
                yield Check.RESTORED, f"it was {origin.text}, and publishes nothing yet"
        if found := ahead.seen(self.folder):
            yield Check.AHEAD, f"devices said that they have {found.text}"


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)


def _errors_in(path: Path) -> list[str]:
    """Of a database that nothing else is read of."""
    try:
        with closing(_read_only(path)) as connection:
            return _integrity(connection)
    except sqlite3.DatabaseError as exc:
        return [str(exc)]


def _integrity(connection: sqlite3.Connection) -> list[str]:
    return [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]


def _decoded(encoded: Mapping[bytes, bytes]) -> Iterator[Manifest]:
    """Yields manifests; one that cannot be read is another check's finding."""
    for data in encoded.values():
        with suppress(TrustError, UpdateRequired):
            yield manifests.decode(data)
