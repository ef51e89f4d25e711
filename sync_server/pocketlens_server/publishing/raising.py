"""Metadata of a restored catalogue, signed again with versions above all that was signed before.

    sign_above(folder, signers, now=clock())

Devices refuse metadata whose version is lower than one that they trust, and take an equal one for
the same. How far a server had come that is lost, nobody can tell; but it signed nothing after now,
and never once a second for long. So each version becomes the seconds since 1970: restoring the same
backup twice, or then another, goes up each time.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from tuf.api.metadata import MetaFile, Snapshot, Targets, Timestamp

from pocketlens_server.publishing import metadata, signing
from pocketlens_server.publishing.keys import (
    MODELS,
    PUBLISHING,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Signers,
)
from pocketlens_server.publishing.metadata import Document, expires, newest


def sign_above(folder: Path, signers: Signers, *, now: datetime) -> None:
    """Signs again, as they are, the roles whose keys are at hand.

    Args:
        folder: Of the catalogue, as `signing` has it.
        signers: Of publishing, snapshot and timestamp; of targets and models where devices have
            seen newer ones of those, too.
        now: When it is signed.

    Raises:
        ServerError: Too few keys are at hand, or the root has expired; nothing has changed.
        StoreFull: The disk has no room; the same call may be made again.
    """
    signing.check_root(folder, now)
    who = metadata.holders(folder)
    made: list[tuple[str, int, bytes]] = []

    def sign(role: str, signed: Document) -> None:
        signed.version = max(signed.version + 1, int(now.timestamp()))
        signed.expires = expires(role, now)
        data = metadata.sealed(signed, role, signers[role], must=[who[role]])
        made.append((role, signed.version, data))

    snapshot = newest(folder, SNAPSHOT, Snapshot)
    for role in (TARGETS, MODELS, PUBLISHING):
        if role == PUBLISHING or signers.get(role):
            signed = newest(folder, role, Targets)
            sign(role, signed)
            snapshot.meta[f"{role}.json"] = MetaFile(signed.version)
    sign(SNAPSHOT, snapshot)
    timestamp = newest(folder, TIMESTAMP, Timestamp)
    timestamp.snapshot_meta = MetaFile(snapshot.version)
    sign(TIMESTAMP, timestamp)
    for role, version, data in made:
        metadata.write(folder, role, version, data)
