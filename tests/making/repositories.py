"""Signed metadata of a catalogue in a folder, served by a function that may lie."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from securesystemslib.signer import Signer

from pocketlens.formats.manifest import Blob, Changes, Manifest, encode
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.publishing import keys, signing
from tests.making.databases import make_database

BEGAN = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
BUNDLE = b"stands for a bundle"


def blob(data: bytes) -> Blob:
    digest = hashlib.sha256(data).digest()
    return Blob(digest, len(data), (digest,))


def manifest(version: int, generation: int = 1, bundle: bytes = BUNDLE) -> Manifest:
    """Of a version of a generation, with blobs that are not there."""
    when = BEGAN + timedelta(minutes=version)
    return Manifest(
        catalogue="main",
        generation=bytes([generation]) * 32,
        version=version,
        as_of=when,
        signed_at=when,
        state_hash=bytes(32),
        images=10,
        products=10,
        scale=np.ones(4, np.float32),
        bundle=blob(bundle),
        codebook=blob(bytes(16)),
        probes=1,
        probes_estimated=False,
        saturated_share=0.0,
        snapshot=Changes(0, version, 100, blob(b"snapshot")),
        deltas=(),
    )


@dataclass
class Repository:
    """Signed metadata in a folder.

    Attributes:
        catalogue: Where its keys and its public files are.
        root: That apps come with.
        lies: What is served in the place of a file, by its name.
        asked: Names of files that were asked for, in order.
        sent: Bytes that were taken, in all.
    """

    catalogue: CatalogueFolder
    root: bytes
    lies: dict[str, Callable[[], Iterator[bytes]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sent: int = 0

    @classmethod
    def make(cls, folder: Path) -> Repository:
        """With keys of its own and a model, and no version yet."""
        catalogue = CatalogueFolder("main", folder, folder / "public", folder / "offline")
        signers = keys.create(catalogue.online_keys, keys.ONLINE)
        signers |= keys.create(catalogue.offline_keys, keys.OFFLINE)
        make_database(catalogue)
        made = cls(catalogue, signing.create(catalogue.public, signers, now=BEGAN))
        made.add_model(BUNDLE)
        return made

    @property
    def folder(self) -> Path:
        """Of the public files."""
        return self.catalogue.public

    @property
    def signers(self) -> dict[str, list[Signer]]:
        """Every key that the folders name now."""
        catalogue = self.catalogue
        return keys.load([catalogue.online_keys, catalogue.offline_keys], keys.ROLES)

    def add_model(self, data: bytes) -> None:
        signing.add_model(self.folder, blob(data), self.signers, now=BEGAN)

    def publish(self, *versions: Manifest, now: datetime = BEGAN) -> None:
        encoded = {each.generation: encode(each) for each in versions}
        signing.publish(self.folder, encoded, self.signers, now=now)

    def fetch(self, name: str) -> Iterator[bytes] | None:
        """A file in pieces, or a lie."""
        self.asked.append(name)
        path = self.folder / name
        if name in self.lies:
            return self._counted(self.lies[name]())
        return self._counted(iter([path.read_bytes()])) if path.is_file() else None

    def files(self) -> dict[str, bytes]:
        """Everything that is served now, by name."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.sent += len(piece)
            yield piece
