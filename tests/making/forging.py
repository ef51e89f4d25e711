"""Signed metadata as a thief would make it: by keys that may not, or in ways that must not be.

forged(thief, "models", thief.signers["publishing"])
sign_next(public, "snapshot", snapshot, signers)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from pocketlens_server.publishing import metadata, signing
from pocketlens_server.publishing.keys import MODELS, ROOT, SNAPSHOT, TIMESTAMP
from pocketlens_server.publishing.metadata import Document, newest
from tests.making.repositories import blob
from tests.making.scenes import Scene


def forged(thief: Scene, role: str, signers: Sequence[Signer]) -> None:
    """The next version of a role by some keys, and what names it by those that may."""
    public = thief.public
    if role == ROOT:
        sign_next(public, role, metadata.newest_root(public), signers)
        return
    if role in (SNAPSHOT, TIMESTAMP):
        name_versions(thief, {}, {role: signers})
        return
    signed = newest(public, role, Targets)
    if role == MODELS:
        bundle = blob(b"a program of the thief's")
        path = signing.bundle_path(bundle.sha256)
        signed.targets[path] = TargetFile(bundle.size, {"sha256": bundle.sha256.hex()}, path)
    sign_next(public, role, signed, signers)
    name_versions(thief, {role: signed.version})


def name_versions(
    thief: Scene,
    versions: Mapping[str, int],
    others: Mapping[str, Sequence[Signer]] | None = None,
    *,
    expires: datetime | None = None,
) -> None:
    """A snapshot that names versions of roles, and a timestamp that names it.

    Args:
        thief: Whose keys sign.
        versions: Of roles.
        others: Keys that sign in the place of the thief's, by role.
        expires: When the snapshot does, if it is not to be as it was.
    """
    signers = {**thief.signers, **(others or {})}
    snapshot = newest(thief.public, SNAPSHOT, Snapshot)
    snapshot.meta |= {f"{role}.json": MetaFile(version) for role, version in versions.items()}
    snapshot.expires = expires or snapshot.expires
    sign_next(thief.public, SNAPSHOT, snapshot, signers[SNAPSHOT])
    timestamp = newest(thief.public, TIMESTAMP, Timestamp)
    timestamp.snapshot_meta = MetaFile(snapshot.version)
    sign_next(thief.public, TIMESTAMP, timestamp, signers[TIMESTAMP])


def sign_next(public: Path, role: str, signed: Document, signers: Sequence[Signer]) -> None:
    """Writes the next version of a role, whoever may sign it."""
    signed.version += 1
    document = Metadata(signed)  # type: ignore[type-var]  # one of them, whichever
    for signer in signers:
        document.sign(signer, append=True)
    metadata.write(public, role, signed.version, document.to_bytes())
