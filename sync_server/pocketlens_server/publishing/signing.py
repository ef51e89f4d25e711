"""A catalogue's signed metadata (TUF): made, extended by models and versions, kept fresh.

    root = create(folder, signers, now=now)                     # what the app is shipped with
    add_model(folder, blob, signers, now=now)
    publish(folder, manifests, signers, now=now)                # visible when it returns
    refresh(folder, signers, now=now)                           # before the timestamp is old

`folder` is the catalogue's part of what any web server may serve: files with a number or a hash in
their names never change, `timestamp.json` is replaced last and at once, so that a reader sees one
publish or the next. Roles: root and targets say whom to trust, models signs bundles, publishing
signs manifests.
Source: The Update Framework, specification 1.0.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tuf.api.metadata import MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from pocketlens.durable_files import write_file
from pocketlens.errors import ServerError
from pocketlens.formats.manifest import Blob
from pocketlens_server.publishing import metadata
from pocketlens_server.publishing.keys import (
    MODELS,
    OFFLINE,
    PUBLISHING,
    ROLES,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Signers,
)
from pocketlens_server.publishing.metadata import (
    DELEGATED,
    LIFETIMES,
    Document,
    Holder,
    expires,
    newest,
)

NEWEST = "manifest/newest"


def manifest_path(generation: bytes) -> str:
    """Name of the target that is the manifest of a generation."""
    return f"manifest/{generation.hex()}"


def bundle_path(sha256: bytes) -> str:
    """Name of the target that is a bundle; its bytes are the blob with that hash."""
    return f"bundles/{sha256.hex()}"


def create(folder: Path, signers: Signers, *, now: datetime) -> bytes:
    """Makes the metadata of a catalogue without models and versions.

    Args:
        folder: New or empty; "metadata" and "targets" are made in it.
        signers: Of every role; one key of each must sign.
        now: From when on it is valid.

    Returns:
        The first root, for apps.

    Raises:
        ServerError: There is metadata already.
    """
    place = folder / "metadata"
    if place.exists():
        raise ServerError(f"{place} exists already. Metadata is never made anew.")
    place.mkdir(parents=True)
    who = {role: Holder(tuple(each.public_key for each in signers[role])) for role in ROLES}
    root = Root(version=1, expires=expires(ROOT, now), consistent_snapshot=True)
    metadata.let_root_say(root, who)
    targets = Targets(version=1, expires=expires(TARGETS, now))
    targets.delegations = metadata.delegations(who)
    below = (TARGETS, *DELEGATED)
    files = {f"{role}.json": MetaFile(1) for role in below}
    # The timestamp is last: without it nothing is visible.
    made: dict[str, Document] = {
        **{role: Targets(version=1, expires=expires(role, now)) for role in DELEGATED},
        TARGETS: targets,
        SNAPSHOT: Snapshot(version=1, expires=expires(SNAPSHOT, now), meta=files),
        ROOT: root,
        TIMESTAMP: Timestamp(version=1, expires=expires(TIMESTAMP, now), snapshot_meta=MetaFile(1)),
    }
    for role, signed in made.items():
        data = metadata.sealed(signed, role, signers[role], must=[who[role]])
        metadata.write(folder, role, 1, data)
    return (place / "1.root.json").read_bytes()


def add_model(folder: Path, bundle: Blob, signers: Signers, *, now: datetime) -> None:
    """Lets devices trust a bundle; adding it again is no error.

    Args:
        folder: Of the catalogue.
        bundle: Its file, which is among the blobs.
        signers: Of models, snapshot and timestamp.
        now: When it is signed.

    Raises:
        ServerError: Too few keys are at hand, or the root has expired.
    """
    models = newest(folder, MODELS, Targets)
    path = bundle_path(bundle.sha256)
    models.targets[path] = TargetFile(bundle.size, {"sha256": bundle.sha256.hex()}, path)
    _extend(folder, MODELS, models, signers, now)


def publish(
    folder: Path, manifests: Mapping[bytes, bytes], signers: Signers, *, now: datetime
) -> None:
    """Makes a version visible: its manifests are what devices find from now on.

    Args:
        folder: Of the catalogue.
        manifests: Encoded, by the generation's id, oldest first; the last is the newest.
        signers: Of publishing, snapshot and timestamp.
        now: When it is signed.

    Raises:
        ServerError: Too few keys are at hand, or the root has expired.
        StoreFull: The disk has no room; devices find what they found before.
    """
    publishing = newest(folder, PUBLISHING, Targets)
    named = {manifest_path(generation): data for generation, data in manifests.items()}
    named[NEWEST] = list(manifests.values())[-1]
    publishing.targets = {}
    for path, data in named.items():
        digest = hashlib.sha256(data).hexdigest()
        publishing.targets[path] = TargetFile(len(data), {"sha256": digest}, path)
        place = folder / "targets" / Path(path).parent / f"{digest}.{Path(path).name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        write_file(place, data)
    _extend(folder, PUBLISHING, publishing, signers, now)


def models(folder: Path) -> set[bytes]:
    """SHA-256 of every bundle that devices trust now.

    Raises:
        ServerError: The metadata is damaged.
    """
    targets = newest(folder, MODELS, Targets).targets.values()
    return {bytes.fromhex(target.hashes["sha256"]) for target in targets}


@dataclass(frozen=True, slots=True)
class Signed:
    """Metadata that is visible now.

    Attributes:
        role: Whose.
        version: Of the metadata.
        expires: When it does.
        keyids: Of the keys that may sign it.
        threshold: How many of them must.
    """

    role: str
    version: int
    expires: datetime
    keyids: tuple[str, ...]
    threshold: int


def status(folder: Path) -> list[Signed]:
    """What is signed, the longest-lived first.

    Raises:
        ServerError: The metadata is damaged.
    """
    signed: dict[str, Document] = {
        ROOT: metadata.newest_root(folder),
        TARGETS: newest(folder, TARGETS, Targets),
        MODELS: newest(folder, MODELS, Targets),
        PUBLISHING: newest(folder, PUBLISHING, Targets),
        SNAPSHOT: newest(folder, SNAPSHOT, Snapshot),
        TIMESTAMP: newest(folder, TIMESTAMP, Timestamp),
    }
    return [
        Signed(
            role, signed[role].version, signed[role].expires, tuple(holder.keyids), holder.threshold
        )
        for role, holder in metadata.holders(folder).items()
    ]


def warned_before(role: str) -> timedelta:
    """How long before a role's metadata expires an operator is told.

    60 days where only offline keys can sign again. The server signs the others again when a third
    of a life, or a half, is over: it is late then.
    """
    return timedelta(days=60) if role in OFFLINE else LIFETIMES[role] / 3


def refresh(folder: Path, signers: Signers, *, now: datetime) -> bool:
    """Signs the timestamp again once a third of its life has passed; whether it did.

    Snapshot and publishing, which are signed online too, are renewed when half of theirs has.

    Args:
        folder: Of the catalogue.
        signers: Of publishing, snapshot and timestamp.
        now: When it is signed.

    Raises:
        ServerError: Too few keys are at hand, or the root has expired.
    """
    publishing = newest(folder, PUBLISHING, Targets)
    if publishing.expires - now < LIFETIMES[PUBLISHING] / 2:
        _extend(folder, PUBLISHING, publishing, signers, now)
        return True
    timestamp = newest(folder, TIMESTAMP, Timestamp)
    if timestamp.expires - now > LIFETIMES[TIMESTAMP] * 2 / 3:
        return False
    check_root(folder, now)
    holder = metadata.holders(folder)[TIMESTAMP]
    sealed = _sealed_timestamp(timestamp, timestamp.snapshot_meta.version, holder, signers, now)
    metadata.write(folder, TIMESTAMP, timestamp.version, sealed)
    return True


def check_root(folder: Path, now: datetime) -> None:
    """What no device would accept is not signed, nor what a clock says that is years ahead.

    Devices take the time of a version for the earliest that it can be.

    Raises:
        ServerError: The root has expired, or so says the clock.
    """
    until = metadata.newest_root(folder).expires
    if now >= until:
        raise ServerError(
            f"The root expired on {until:%Y-%m-%d}, and the clock says {now:%Y-%m-%d}. Sign it "
            "again (pocketlens-server keys renew), or set the clock right."
        )


def _extend(folder: Path, role: str, signed: Targets, signers: Signers, now: datetime) -> None:
    """Writes a delegated role, then the snapshot that names it, then the timestamp."""
    check_root(folder, now)
    who = metadata.holders(folder)
    signed.version += 1
    signed.expires = expires(role, now)
    snapshot = newest(folder, SNAPSHOT, Snapshot)
    snapshot.meta[f"{role}.json"] = MetaFile(signed.version)
    snapshot.version += 1
    snapshot.expires = expires(SNAPSHOT, now)
    timestamp = newest(folder, TIMESTAMP, Timestamp)
    sealed = [
        metadata.sealed(signed, role, signers[role], must=[who[role]]),
        metadata.sealed(snapshot, SNAPSHOT, signers[SNAPSHOT], must=[who[SNAPSHOT]]),
        _sealed_timestamp(timestamp, snapshot.version, who[TIMESTAMP], signers, now),
    ]
    metadata.write(folder, role, signed.version, sealed[0])
    metadata.write(folder, SNAPSHOT, snapshot.version, sealed[1])
    metadata.write(folder, TIMESTAMP, timestamp.version, sealed[2])


def _sealed_timestamp(
    timestamp: Timestamp, snapshot: int, holder: Holder, signers: Signers, now: datetime
) -> bytes:
    """The next timestamp, in place of the one given, which names a snapshot."""
    timestamp.version += 1
    timestamp.expires = expires(TIMESTAMP, now)
    timestamp.snapshot_meta = MetaFile(snapshot)
    return metadata.sealed(timestamp, TIMESTAMP, signers[TIMESTAMP], must=[holder])
