"""Who signs for which role, changed in one step, or signed again before it expires.

    change(folder, {"root": Holder((first, second, third), 2)}, signers, now=now)
    change(folder, {}, signers, renewed=["root", "targets"], now=now)

Devices that ask at any moment, also after a kill between two files, find metadata that they accept:
the timestamp of the change is signed by the keys of before and of after, and only then the root
appears that takes the former ones away. Only where those of before are lost do devices refuse for
that moment, and go on searching.
Source: The Update Framework, specification 1.0, sections 6.1 and 5.3.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import MetaFile, Snapshot, Targets, Timestamp

from pocketlens.errors import ServerError
from pocketlens_server.publishing import metadata
from pocketlens_server.publishing.keys import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Signers
from pocketlens_server.publishing.metadata import DELEGATED, TOP_LEVEL, Holder, expires, newest


def change(
    folder: Path,
    changes: Mapping[str, Holder],
    signers: Signers,
    *,
    now: datetime,
    renewed: Collection[str] = (),
) -> None:
    """Lets other keys sign for some roles, and signs others again.

    Args:
        folder: Of the catalogue, as `signing` has it.
        changes: Who signs from now on, by role.
        signers: Keys at hand, of before and of after.
        now: When it is signed.
        renewed: Roles that are signed again by who signs for them.

    Raises:
        ServerError: Too few keys are at hand, or a threshold cannot be reached; nothing has
            changed.
        StoreFull: The disk has no room; the same change may be made again.
    """
    for role, holder in changes.items():
        _check(role, holder)
    step = _Step(folder, changes, signers, now)
    if changes.keys() & {TARGETS, *DELEGATED} or TARGETS in renewed:
        step.targets()
    for role in DELEGATED:
        if role in changes or role in renewed:
            step.delegated(role)
    if step.versions or changes.keys() & {SNAPSHOT, TIMESTAMP}:
        step.snapshot_and_timestamp()
    if changes.keys() & set(TOP_LEVEL) or ROOT in renewed:
        step.root()
    for role, version, data in step.made:
        metadata.write(folder, role, version, data)


def _check(role: str, holder: Holder) -> None:
    if not 1 <= holder.threshold <= len(holder.keys):
        raise ServerError(
            f"Expected a threshold of 1 to {len(holder.keys)}, as many as the role {role!r} would "
            f"have keys. Received {holder.threshold}. Add a key, or change the threshold first."
        )


class _Step:
    """Files of a change, signed and not written yet.

    Attributes:
        made: Role, version and bytes, in the order in which they are to be written.
        versions: Of roles that the snapshot names, where they are new.
    """

    def __init__(
        self, folder: Path, changes: Mapping[str, Holder], signers: Signers, now: datetime
    ) -> None:
        self._folder, self._signers, self._now = folder, signers, now
        self._before = metadata.holders(folder)
        self._after = self._before | dict(changes)
        self.made: list[tuple[str, int, bytes]] = []
        self.versions: dict[str, int] = {}

    def targets(self) -> None:
        """Targets with the delegations of after."""
        signed = newest(self._folder, TARGETS, Targets)
        signed.delegations = metadata.delegations(self._after)
        self._seal_named(TARGETS, signed)

    def delegated(self, role: str) -> None:
        """A role that targets delegates to, as it is."""
        self._seal_named(role, newest(self._folder, role, Targets))

    def snapshot_and_timestamp(self) -> None:
        """The snapshot that names what is new, and the timestamp that makes it visible."""
        snapshot = newest(self._folder, SNAPSHOT, Snapshot)
        snapshot.meta |= {
            f"{role}.json": MetaFile(version) for role, version in self.versions.items()
        }
        self._seal(SNAPSHOT, snapshot)
        timestamp = newest(self._folder, TIMESTAMP, Timestamp)
        timestamp.snapshot_meta = MetaFile(snapshot.version)
        self._seal(TIMESTAMP, timestamp)

    def root(self) -> None:
        """The next root: signed by who may sign the one before it, and by who signs from now on."""
        root = metadata.newest_root(self._folder)
        root.version += 1
        root.expires = expires(ROOT, self._now)
        metadata.let_root_say(root, self._after)
        must = [self._before[ROOT], self._after[ROOT]]
        data = metadata.sealed(root, ROOT, self._signers[ROOT], must=must)
        self.made.append((ROOT, root.version, data))

    def _seal_named(self, role: str, signed: Targets) -> None:
        self._seal(role, signed)
        self.versions[role] = signed.version

    def _seal(self, role: str, signed: Targets | Snapshot | Timestamp) -> None:
        """Signs the next version by who signs from now on, and so that the root before holds."""
        signed.version += 1
        signed.expires = expires(role, self._now)
        data = metadata.sealed(
            signed,
            role,
            self._signers[role],
            must=[self._after[role]],
            may=[self._before[role]],
        )
        self.made.append((role, signed.version, data))
