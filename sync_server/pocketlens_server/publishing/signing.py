"""A catalogue's signed metadata (TUF): made, extended by models and versions, kept fresh.

    root = create(folder, online | offline, now=now)            # what the app is shipped with
    add_model(folder, blob, offline | online, now=now)
    publish(folder, manifests, online, now=now)                 # visible when it returns
    refresh(folder, online, now=now)                            # before the timestamp is old

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
from typing import TypeVar

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from pocketlens.durable_files import write_file
from pocketlens.errors import ServerError
from pocketlens.formats.manifest import Blob
from pocketlens_server.publishing.keys import (
    MODELS,
    PUBLISHING,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
)

LIFETIMES = {
    ROOT: timedelta(days=730),
    TARGETS: timedelta(days=730),
    MODELS: timedelta(days=730),
    PUBLISHING: timedelta(days=30),
    SNAPSHOT: timedelta(days=30),
    TIMESTAMP: timedelta(days=3),
}
NEWEST = "manifest/newest"

Signers = Mapping[str, Signer]
AnySigned = TypeVar("AnySigned", Root, Targets, Snapshot, Timestamp)


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
        signers: Of every role.
        now: From when on it is valid.

    Returns:
        The first root, for apps.

    Raises:
        ServerError: There is metadata already.
    """
    metadata = folder / "metadata"
    if metadata.exists():
        raise ServerError(f"{metadata} exists already. Metadata is never made anew.")
    metadata.mkdir(parents=True)
    root = Root(version=1, expires=_expires(ROOT, now), consistent_snapshot=True)
    for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP):
        root.add_key(signers[role].public_key, role)
    targets = Targets(version=1, expires=_expires(TARGETS, now))
    keys = {signers[role].public_key.keyid: signers[role].public_key for role in _DELEGATED}
    targets.delegations = Delegations(
        keys,
        {
            role: DelegatedRole(
                role, [signers[role].public_key.keyid], 1, terminating=True, paths=[paths]
            )
            for role, paths in _DELEGATED.items()
        },
    )
    files = {"targets.json": MetaFile(1)}
    for role in _DELEGATED:
        _write(metadata, role, Targets(version=1, expires=_expires(role, now)), signers[role])
        files[f"{role}.json"] = MetaFile(1)
    _write(metadata, TARGETS, targets, signers[TARGETS])
    _write(
        metadata,
        SNAPSHOT,
        Snapshot(version=1, expires=_expires(SNAPSHOT, now), meta=files),
        signers[SNAPSHOT],
    )
    _write(metadata, ROOT, root, signers[ROOT])
    _write(
        metadata,
        TIMESTAMP,
        Timestamp(version=1, expires=_expires(TIMESTAMP, now), snapshot_meta=MetaFile(1)),
        signers[TIMESTAMP],
    )
    return (metadata / "1.root.json").read_bytes()


def add_model(folder: Path, bundle: Blob, signers: Signers, *, now: datetime) -> None:
    """Lets devices trust a bundle; adding it again is no error.

    Args:
        folder: Of the catalogue.
        bundle: Its file, which is among the blobs.
        signers: Of models, snapshot and timestamp.
        now: When it is signed.
    """
    models = _newest(folder, MODELS, Targets)
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
        StoreFull: The disk has no room; devices find what they found before.
    """
    publishing = _newest(folder, PUBLISHING, Targets)
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


def visible(folder: Path) -> dict[bytes, bytes]:
    """Encoded manifests that devices find now, by the id of their generation, oldest first."""
    found = {}
    targets = _newest(folder, PUBLISHING, Targets).targets
    for path, target in targets.items():
        if path == NEWEST:
            continue
        digest, name = target.hashes["sha256"], path.rpartition("/")[2]
        data = (folder / "targets" / "manifest" / f"{digest}.{name}").read_bytes()
        found[bytes.fromhex(name)] = data
    return found


@dataclass(frozen=True, slots=True)
class Signed:
    """Metadata that is visible now.

    Attributes:
        role: Whose.
        version: Of the metadata.
        expires: When it does.
        keyids: Of the keys that may sign it.
    """

    role: str
    version: int
    expires: datetime
    keyids: tuple[str, ...]


def status(folder: Path) -> list[Signed]:
    """What is signed, the longest-lived first.

    Raises:
        ServerError: The metadata is damaged.
    """
    roots = sorted(int(path.name.split(".")[0]) for path in _roots(folder))
    root = _read(folder / "metadata" / f"{roots[-1]}.root.json", Root)
    targets = _newest(folder, TARGETS, Targets)
    delegated = targets.delegations.roles if targets.delegations else None
    newest: dict[str, Root | Targets | Snapshot | Timestamp] = {
        ROOT: root,
        TARGETS: targets,
        MODELS: _newest(folder, MODELS, Targets),
        PUBLISHING: _newest(folder, PUBLISHING, Targets),
        SNAPSHOT: _newest(folder, SNAPSHOT, Snapshot),
        TIMESTAMP: _newest(folder, TIMESTAMP, Timestamp),
    }
    found = []
    for role, signed in newest.items():
        holder = (delegated or {}).get(role) or root.roles[role]
        found.append(Signed(role, signed.version, signed.expires, tuple(holder.keyids)))
    return found


def _roots(folder: Path) -> list[Path]:
    found = list((folder / "metadata").glob("*.root.json"))
    if not found:
        raise ServerError(f"There is no root in {folder / 'metadata'}.")
    return found


def refresh(folder: Path, signers: Signers, *, now: datetime) -> bool:
    """Signs the timestamp again once a third of its life has passed; whether it did.

    Snapshot and publishing, which are signed online too, are renewed when half of theirs has.

    Args:
        folder: Of the catalogue.
        signers: Of publishing, snapshot and timestamp.
        now: When it is signed.
    """
    publishing = _newest(folder, PUBLISHING, Targets)
    if publishing.expires - now < LIFETIMES[PUBLISHING] / 2:
        _extend(folder, PUBLISHING, publishing, signers, now)
        return True
    timestamp = _newest(folder, TIMESTAMP, Timestamp)
    if timestamp.expires - now > LIFETIMES[TIMESTAMP] * 2 / 3:
        return False
    _sign_timestamp(folder, timestamp.snapshot_meta.version, signers, now)
    return True


_DELEGATED = {MODELS: "bundles/*", PUBLISHING: "manifest/*"}


def _extend(folder: Path, role: str, signed: Targets, signers: Signers, now: datetime) -> None:
    """Writes a delegated role, then the snapshot that names it, then the timestamp."""
    metadata = folder / "metadata"
    signed.version += 1
    signed.expires = _expires(role, now)
    _write(metadata, role, signed, signers[role])
    snapshot = _newest(folder, SNAPSHOT, Snapshot)
    snapshot.meta[f"{role}.json"] = MetaFile(signed.version)
    snapshot.version += 1
    snapshot.expires = _expires(SNAPSHOT, now)
    _write(metadata, SNAPSHOT, snapshot, signers[SNAPSHOT])
    _sign_timestamp(folder, snapshot.version, signers, now)


def _sign_timestamp(folder: Path, snapshot: int, signers: Signers, now: datetime) -> None:
    timestamp = _newest(folder, TIMESTAMP, Timestamp)
    timestamp.version += 1
    timestamp.expires = _expires(TIMESTAMP, now)
    timestamp.snapshot_meta = MetaFile(snapshot)
    _write(folder / "metadata", TIMESTAMP, timestamp, signers[TIMESTAMP])


def _newest(folder: Path, role: str, kind: type[AnySigned]) -> AnySigned:
    """The signed part of the metadata of a role that is visible now."""
    metadata = folder / "metadata"
    timestamp = _read(metadata / "timestamp.json", Timestamp)
    if role == TIMESTAMP:
        return timestamp  # type: ignore[return-value]  # of the kind asked for
    version = timestamp.snapshot_meta.version
    if role != SNAPSHOT:
        snapshot = _read(metadata / f"{version}.snapshot.json", Snapshot)
        version = snapshot.meta[f"{role}.json"].version
    return _read(metadata / f"{version}.{role}.json", kind)


def _read(path: Path, kind: type[AnySigned]) -> AnySigned:
    try:
        signed = Metadata[kind].from_file(str(path)).signed  # type: ignore[valid-type]
    except (OSError, RepositoryError) as exc:
        raise ServerError(f"The metadata {path} cannot be read: {exc}.") from exc
    if not isinstance(signed, kind):
        raise ServerError(f"The metadata {path} is of another role.")
    return signed


def _write(metadata: Path, role: str, signed: AnySigned, *signers: Signer) -> None:
    document = Metadata(signed)
    for signer in signers:
        document.sign(signer, append=True)
    name = f"{role}.json" if role == TIMESTAMP else f"{signed.version}.{role}.json"
    write_file(metadata / name, document.to_bytes(JSONSerializer(compact=True)))


def _expires(role: str, now: datetime) -> datetime:
    return (now + LIFETIMES[role]).replace(microsecond=0)
