"""The store as a sync finds it: what it has, what it trusts, and whether that is whole."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import logging
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pocketlens.errors import StoreError, StoreLocked, StoreTooNew, SyncError
from pocketlens.formats import manifest as manifests
from pocketlens.formats.manifest import Blob, Manifest
from pocketlens.store import database, installs, marks, trusted, verification
from pocketlens.store.facts import StoreFacts, from_rows
from pocketlens.store.marks import Verified
from pocketlens.store.reader import Reader
from pocketlens.store.trusted import Trusted
from pocketlens.sync import thumbnails
from pocketlens.sync.planner import Have

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Observed:
    """A store that is there, and opens.

    Attributes:
        install: Folder of the install in use.
        facts: Of it.
        trusted: What it trusts.
        manifest: Of its version; None where that is not known.
        is_whole: False where its rows were read and something is wrong with them.
        bundles: SHA-256 of the bundles at hand that are whole.
    """

    install: Path
    facts: StoreFacts
    trusted: Trusted
    manifest: Manifest | None
    is_whole: bool
    bundles: frozenset[bytes]

    @classmethod
    def of(cls, directory: Path, catalogue: str, now: datetime) -> Observed | None:
        """Looks at the store in a folder, inside `installs.writing`.

        It is read whole where that is due: every 30 days, after a writer was cut off, and after
        somebody met damage.

        Returns:
            None where there is none, or one that does not open: it is made anew.

        Raises:
            SyncError: It is of another catalogue.
            StoreTooNew: It was written by a newer PocketLens.
        """
        try:
            install = installs.current(directory)
            path = install / database.FILE_NAME
            with closing(database.open_to_read(path)) as connection, database.errors(path):
                facts = from_rows(connection.execute("SELECT * FROM facts").fetchall())
                believed = trusted.read(connection)
        except (StoreTooNew, StoreLocked):
            raise
        except StoreError as exc:  # missing, damaged, or not to be read
            logger.info("sync.store.unusable error=%s", exc)
            return None
        if facts.catalogue != catalogue:
            of = f"the catalogue {facts.catalogue!r}" if facts.catalogue else "pocketlens index"
            raise SyncError(
                f"Expected a store of the catalogue {catalogue!r} in {directory}. Received one of "
                f"{of}. Choose another folder."
            )
        return cls(
            install,
            facts,
            believed,
            manifests.decode(believed.manifest) if believed.manifest else None,
            _is_whole(directory, install, now),
            _bundles(directory),
        )

    @property
    def is_usable(self) -> bool:
        """Whether a search can go on with it."""
        return self.is_whole and self.facts.bundle_sha256 in self.bundles

    @property
    def path(self) -> Path:
        """Of its database."""
        return self.install / database.FILE_NAME

    @property
    def have(self) -> Have:
        """What a plan begins with."""
        return Have(
            bytes.fromhex(self.facts.generation),
            self.facts.version,
            self.facts.state_hash,
            self.facts.codebook_sha256,
            self.bundles,
        )

    def damaged_bundle(self, offered: Manifest) -> Blob | None:
        """The bundle of the install in use, where its file is not whole and is to be fetched.

        Args:
            offered: Manifest of a server, which names it too if it is of the same generation.
        """
        if self.facts.bundle_sha256 in self.bundles:
            return None
        named = [each.bundle for each in (offered, self.manifest) if each is not None]
        return next((each for each in named if each.sha256 == self.facts.bundle_sha256), None)

    @property
    def signed_at(self) -> datetime | None:
        """The newest time that was signed; None where nothing is trusted."""
        return self.manifest.signed_at if self.manifest else None


def _is_whole(directory: Path, install: Path, now: datetime) -> bool:
    verified = marks.get(install, Verified)
    if verified is not None and not verified.is_due_again(now):
        return True
    try:
        with Reader(directory, install) as reader:
            wrong = list(verification.row_findings(reader))
            thumbnails.drop_damaged(install, reader.facts)
    except StoreError as exc:
        wrong = [str(exc)]
    if wrong:
        first = wrong[0].partition("\n")[0][:200]
        logger.warning("sync.store.damaged findings=%d first=%s", len(wrong), first)
        return False
    marks.put(install, Verified(now.isoformat()))
    return True


def _bundles(directory: Path) -> frozenset[bytes]:
    """Files are hashed, since a bundle that is damaged can be fetched again by itself."""
    found = set()
    for path in (directory / "files").glob("*.tflite"):
        try:
            digest = hashlib.sha256(path.read_bytes())
        except OSError:
            continue
        if digest.hexdigest() == path.stem:
            found.add(digest.digest())
    return frozenset(found)
