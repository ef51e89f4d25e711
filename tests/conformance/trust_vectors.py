"""vectors/trust.json: what a server publishes, and whether a device may believe it.

The keys are thrown away: their private halves are hashes of the names of the roles.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, Signer
from tests.making.repositories import BEGAN, BUNDLE, blob, manifest

from pocketlens.formats import manifest as manifests
from pocketlens.formats.manifest import Manifest
from pocketlens_server.publishing import signing
from pocketlens_server.publishing.keys import ROLES

Files = Mapping[str, bytes]
DAY = timedelta(days=1)


class _Catalogue:
    """A catalogue that signs with the same keys whenever it is made."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._signers = {role: [_signer(f"{name} {role}")] for role in ROLES}
        self.root = signing.create(folder, self._signers, now=BEGAN)
        signing.add_model(folder, blob(BUNDLE), self._signers, now=BEGAN)

    def published(self, version: Manifest) -> Files:
        """Everything that is served once a version is published, by name."""
        encoded = {version.generation: manifests.encode(version)}
        signing.publish(self._folder, encoded, self._signers, now=BEGAN)
        found = (path for path in self._folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self._folder)): path.read_bytes() for path in found}


def _signer(seed: str) -> Signer:
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())
    return CryptoSigner(private)


def vectors() -> dict[str, Any]:
    """The whole file, as JSON holds it."""
    with tempfile.TemporaryDirectory() as name:
        main, other = (_Catalogue(Path(name) / each, each) for each in ("main", "other"))
        first, second = main.published(manifest(1)), main.published(manifest(2))
        unsigned = main.published(manifest(3, bundle=b"a bundle that no model key signed"))
        cases = _cases(first, second, unsigned, other.published(manifest(2)))
        roots = {"main": main.root.decode(), "other": other.root.decode()}
    shared: dict[str, str] = {}
    return {
        "format": 1,
        "roots": roots,
        "cases": {
            name: case | {"served": _named(case["served"], shared)} for name, case in cases.items()
        },
        "files": shared,
    }


def _cases(
    first: Files, second: Files, unsigned_model: Files, other: Files
) -> list[dict[str, Any]]:
    generation = manifest(1).generation.hex()

    def case(served: Files, **changes: Any) -> dict[str, Any]:
        return {
            "root": "main",
            "trusted": None,
            "served": served,
            "now": _seconds(BEGAN),
            "generation": None,
            "version": None,
            "error": None,
        } | changes

    def refused(served: Files, **changes: Any) -> dict[str, Any]:
        return case(served, **{"error": "trust"} | changes)

    newest = second["metadata/timestamp.json"]
    old_snapshot = first["metadata/3.snapshot.json"]
    mixed = dict(second) | {"metadata/4.snapshot.json": old_snapshot}
    old_publishing = first["metadata/2.publishing.json"]
    return {
        "the first version": case(first, version=1),
        "the next one": case(second, trusted="the first version", version=2),
        "the same again": case(first, trusted="the first version", version=1),
        "a generation by its name": case(second, generation=generation, version=2),
        "a clock that is behind": case(first, now=_seconds(BEGAN - 3650 * DAY), version=1),
        "a generation that has retired": case(second, generation="03" * 32, version=2),
        "rolled back": refused(first, trusted="the next one"),
        "the root of another catalogue": refused(first, root="other"),
        "another catalogue's files": refused(other),
        "a timestamp that has expired": refused(first, now=_seconds(BEGAN + 4 * DAY)),
        "a clock beyond every expiry": refused(
            first, now=_seconds(BEGAN + 4000 * DAY), error="clock"
        ),
        "a snapshot of the version before": refused(mixed),
        "a list of manifests of the version before": refused(
            dict(second) | {"metadata/3.publishing.json": old_publishing},
        ),
        "a bundle that no model key signed": refused(unsigned_model),
        "a timestamp signed with another key": refused(
            dict(second) | {"metadata/timestamp.json": _signed_by_another(newest)},
        ),
        "a timestamp changed after it was signed": refused(
            dict(second)
            | {"metadata/timestamp.json": newest.replace(b'"version":4', b'"version":5', 1)},
        ),
        "a manifest with a changed byte": refused(_with_changed_manifest(second)),
        "no manifest": refused(_without(second, "targets/"), error="transport"),
        "nothing": refused({}, error="transport"),
    }


def _signed_by_another(data: bytes) -> bytes:
    document = json.loads(data)
    (signature,) = document["signatures"]
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"nobody").digest())
    signed = json.dumps(document["signed"], sort_keys=True, separators=(",", ":")).encode()
    signature["sig"] = key.sign(signed).hex()
    return json.dumps(document, separators=(",", ":")).encode()


def _with_changed_manifest(files: Files) -> Files:
    return {
        name: data[:-1] + bytes([data[-1] ^ 1]) if name.startswith("targets/") else data
        for name, data in files.items()
    }


def _without(files: Files, folder: str) -> Files:
    return {name: data for name, data in files.items() if not name.startswith(folder)}


def _seconds(time: datetime) -> int:
    return round(time.timestamp())


def _named(files: Files, shared: dict[str, str]) -> dict[str, str]:
    """Each file by the name that it has among those that cases share; hex, or JSON as it is."""
    found = {}
    for path, data in sorted(files.items()):
        name = hashlib.sha256(data).hexdigest()[:16]
        shared[name] = data.hex() if path.startswith("targets/") else data.decode()
        found[path] = name
    return found
