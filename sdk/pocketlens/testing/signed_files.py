"""A catalogue's signed metadata (TUF) in memory, by a key that is thrown away.

    signed = SignedFiles(bundle, now=now)
    files = signed.publish({"newest": data, generation.hex(): data}, now=now)

What a device verifies is what a server signs, role by role; only the keys are nobody's: one signs
for every role, and is gone with this object.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from securesystemslib.signer import CryptoSigner
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

from pocketlens.formats.manifest import Blob

AnySigned = TypeVar("AnySigned", Root, Targets, Snapshot, Timestamp)

_LIFETIME = timedelta(days=365)
_TOP_LEVEL = ("root", "targets", "snapshot", "timestamp")
_DELEGATED = {"models": "bundles/*", "publishing": "manifest/*"}


class SignedFiles:
    """Metadata of one catalogue.

    Attributes:
        root: What an app would come with.
    """

    def __init__(self, bundle: Blob, *, now: datetime) -> None:
        """Signs a root, and a bundle.

        Args:
            bundle: That devices shall trust.
            now: Everything is valid for a year from then.
        """
        self._signer = CryptoSigner.generate_ed25519()
        self._publishes = 0
        expires = (now + _LIFETIME).replace(microsecond=0)
        key = self._signer.public_key
        root = Root(version=1, expires=expires, consistent_snapshot=True)
        for role in _TOP_LEVEL:
            root.add_key(key, role)
        delegated = {
            role: DelegatedRole(role, [key.keyid], 1, terminating=True, paths=[paths])
            for role, paths in _DELEGATED.items()
        }
        targets = Targets(version=1, expires=expires)
        targets.delegations = Delegations({key.keyid: key}, delegated)
        path = f"bundles/{bundle.sha256.hex()}"
        model = TargetFile(bundle.size, {"sha256": bundle.sha256.hex()}, path)
        models = Targets(version=1, expires=expires, targets={path: model})
        self.root = self._signed(root)
        self._files = {
            "metadata/1.root.json": self.root,
            "metadata/1.targets.json": self._signed(targets),
            "metadata/1.models.json": self._signed(models),
        }

    def publish(self, manifests: Mapping[str, bytes], *, now: datetime) -> dict[str, bytes]:
        """Signs manifests, and returns all files that a device may ask for.

        Args:
            manifests: Encoded, by what follows "manifest/" in their path.
            now: When they are signed.
        """
        self._publishes += 1
        version, expires = self._publishes, (now + _LIFETIME).replace(microsecond=0)
        publishing = Targets(version=version, expires=expires)
        for name, data in manifests.items():
            path, digest = f"manifest/{name}", hashlib.sha256(data).hexdigest()
            publishing.targets[path] = TargetFile(len(data), {"sha256": digest}, path)
            self._files[f"targets/manifest/{digest}.{name}"] = data
        meta = {
            "targets.json": MetaFile(1),
            "models.json": MetaFile(1),
            "publishing.json": MetaFile(version),
        }
        snapshot = Snapshot(version=version, expires=expires, meta=meta)
        timestamp = Timestamp(version=version, expires=expires, snapshot_meta=MetaFile(version))
        self._files |= {
            f"metadata/{version}.publishing.json": self._signed(publishing),
            f"metadata/{version}.snapshot.json": self._signed(snapshot),
            "metadata/timestamp.json": self._signed(timestamp),
        }
        return dict(self._files)

    def _signed(self, role: AnySigned) -> bytes:
        document = Metadata(role)
        document.sign(self._signer)
        return document.to_bytes()
