"""Signed files of a catalogue: read, told whose they are, sealed and written.

    holders(folder)["root"].threshold
    data = sealed(newest(folder, SNAPSHOT, Snapshot), SNAPSHOT, signers, must=[holder])

What is visible is what `timestamp.json` names, and the newest root. `sealed` and `write` are apart,
so that everything is signed before anything is written.
Source: The Update Framework, specification 1.0.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from securesystemslib.exceptions import Error as SigningError
from securesystemslib.exceptions import StorageError
from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Role,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from pocketlens.durable_files import write_file
from pocketlens.errors import ServerError
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
TOP_LEVEL = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)  # root says who signs them
DELEGATED = {MODELS: "bundles/*", PUBLISHING: "manifest/*"}  # targets says who signs what

Document = Root | Targets | Snapshot | Timestamp
AnySigned = TypeVar("AnySigned", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who signs for a role.

    Attributes:
        keys: That may sign.
        threshold: How many of them must.
    """

    keys: tuple[Key, ...]
    threshold: int = 1

    @property
    def keyids(self) -> list[str]:
        """Of the keys, in order."""
        return [key.keyid for key in self.keys]


def holders(folder: Path) -> dict[str, Holder]:
    """Who signs for each role, as the visible metadata says.

    Raises:
        ServerError: The metadata is damaged.
    """
    root = newest_root(folder)
    found = {
        role: Holder(tuple(root.keys[each] for each in held.keyids), held.threshold)
        for role, held in root.roles.items()
    }
    delegations = newest(folder, TARGETS, Targets).delegations
    for role, held in ((delegations and delegations.roles) or {}).items():
        keys = tuple(delegations.keys[each] for each in held.keyids) if delegations else ()
        found[role] = Holder(keys, held.threshold)
    return {role: found[role] for role in LIFETIMES}


def let_root_say(root: Root, who: Mapping[str, Holder]) -> None:
    """Lets a root name the holders of the top-level roles."""
    root.keys = {key.keyid: key for role in TOP_LEVEL for key in who[role].keys}
    root.roles = {role: Role(who[role].keyids, who[role].threshold) for role in TOP_LEVEL}


def delegations(who: Mapping[str, Holder]) -> Delegations:
    """What targets says of the roles that it delegates to."""
    keys = {key.keyid: key for role in DELEGATED for key in who[role].keys}
    return Delegations(
        keys,
        {
            role: DelegatedRole(
                role, who[role].keyids, who[role].threshold, terminating=True, paths=[paths]
            )
            for role, paths in DELEGATED.items()
        },
    )


def newest_root(folder: Path) -> Root:
    """The signed part of the newest root.

    Raises:
        ServerError: There is none, or it is damaged.
    """
    found = [int(path.name.split(".")[0]) for path in (folder / "metadata").glob("*.root.json")]
    if not found:
        raise ServerError(f"There is no root in {folder / 'metadata'}.")
    return read(folder / "metadata" / f"{max(found)}.root.json", Root)


def newest(folder: Path, role: str, kind: type[AnySigned]) -> AnySigned:
    """The signed part of the metadata of a role, but root, that is visible now.

    Raises:
        ServerError: It is damaged.
    """
    metadata = folder / "metadata"
    timestamp = read(metadata / "timestamp.json", Timestamp)
    if role == TIMESTAMP:
        return timestamp  # type: ignore[return-value]  # of the kind asked for
    version = timestamp.snapshot_meta.version
    if role != SNAPSHOT:
        snapshot = read(metadata / f"{version}.snapshot.json", Snapshot)
        version = snapshot.meta[f"{role}.json"].version
    return read(metadata / f"{version}.{role}.json", kind)


def read(path: Path, kind: type[AnySigned]) -> AnySigned:
    """The signed part of a file.

    Raises:
        ServerError: It is damaged, or of another role.
    """
    try:
        signed = Metadata[kind].from_file(str(path)).signed  # type: ignore[valid-type]
    except (OSError, RepositoryError, StorageError) as exc:
        raise ServerError(f"The metadata {path} cannot be read: {exc}.") from exc
    if not isinstance(signed, kind):
        raise ServerError(f"The metadata {path} is of another role.")
    return signed


def sealed(
    signed: Document,
    role: str,
    signers: Sequence[Signer],
    *,
    must: Collection[Holder],
    may: Collection[Holder] = (),
) -> bytes:
    """The file of a role, signed by all keys at hand that may sign it.

    Args:
        signed: What is signed.
        role: Whose it is.
        signers: Keys at hand.
        must: Whose thresholds must be reached.
        may: Whose keys sign too, if they are at hand.

    Raises:
        ServerError: Too few keys are at hand, or one cannot sign.
    """
    at_hand = {signer.public_key.keyid: signer for signer in signers}
    for holder in must:
        found = [keyid for keyid in holder.keyids if keyid in at_hand]
        if len(found) < holder.threshold:
            wanted = ", ".join(keyid[:12] for keyid in holder.keyids)
            raise ServerError(
                f"Expected {holder.threshold} of the keys of the role {role!r} ({wanted}). "
                f"Received {len(found)}. Bring the folders that hold them."
            )
    document = Metadata(signed)  # type: ignore[type-var]  # one of them, whichever
    try:
        for keyid in {keyid: None for holder in (*may, *must) for keyid in holder.keyids}:
            if keyid in at_hand:
                document.sign(at_hand[keyid], append=True)
    except (RepositoryError, SigningError, ValueError, OSError) as exc:
        raise ServerError(f"A key of the role {role!r} did not sign: {exc}.") from exc
    return document.to_bytes(JSONSerializer(compact=True))


def write(folder: Path, role: str, version: int, data: bytes) -> None:
    """Writes a file that was sealed; that of the timestamp takes the place of the one before."""
    name = f"{role}.json" if role == TIMESTAMP else f"{version}.{role}.json"
    write_file(folder / "metadata" / name, data)


def expires(role: str, now: datetime) -> datetime:
    """When metadata of a role that is signed now expires."""
    return (now + LIFETIMES[role]).replace(microsecond=0)
