"""What a catalogue's public files must be: those that devices find now, and those they find next.

    visible = read_visible(folder.public)
    visible.files["metadata/timestamp.json"], visible.manifests
    for blob in blobs_of(manifest): ...

Roots are read first, then the timestamp and what it names, so that all of it fits together although
a publish or a change of keys goes on beside it. The tables are never behind: a version is a row
before it is signed.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlens.errors import ServerError, TrustError
from pocketlens.formats import pack_list
from pocketlens.formats.manifest import Blob, Manifest, decode
from pocketlens.formats.pack_list import PackList
from pocketlens_server.publishing.keys import PUBLISHING
from pocketlens_server.publishing.signing import NEWEST


@dataclass(frozen=True, slots=True)
class Visible:
    """Signed files of one moment.

    Attributes:
        files: By name below the catalogue's public folder: metadata and manifests.
        manifests: Encoded, by the id of their generation, in the order of these.
        versions: Of the metadata, by role.
    """

    files: Mapping[str, bytes]
    manifests: Mapping[bytes, bytes]
    versions: Mapping[str, int]

    @property
    def version(self) -> int:
        """The newest that devices find; 0 before the first."""
        decoded = (decode(data) for data in self.manifests.values())
        return max((each.version for each in decoded), default=0)


def read_visible(public: Path) -> Visible:
    """What devices find now.

    Raises:
        ServerError: A file is missing, or no metadata.
    """
    try:
        return _read_visible(public)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ServerError(f"The public files in {public} are damaged: {exc}.") from exc


def _read_visible(public: Path) -> Visible:
    files: dict[str, bytes] = {}
    versions: dict[str, int] = {}

    def signed(role: str, name: str) -> Mapping[str, Any]:
        files[name] = (public / name).read_bytes()
        found: Mapping[str, Any] = json.loads(files[name])["signed"]
        versions[role] = max(int(found["version"]), versions.get(role, 0))
        return found

    for path in sorted((public / "metadata").glob("*.root.json")):
        signed("root", f"metadata/{path.name}")
    timestamp = signed("timestamp", "metadata/timestamp.json")
    number = timestamp["meta"]["snapshot.json"]["version"]
    snapshot = signed("snapshot", f"metadata/{number}.snapshot.json")
    manifests: dict[bytes, bytes] = {}
    for name, meta in snapshot["meta"].items():
        role = str(name).removesuffix(".json")
        targets = signed(role, f"metadata/{meta['version']}.{name}")["targets"]
        if role != PUBLISHING:
            continue
        for target, about in targets.items():
            kind, _, generation = target.rpartition("/")
            place = f"targets/{kind}/{about['hashes']['sha256']}.{generation}"
            files[place] = (public / place).read_bytes()
            if target != NEWEST:
                manifests[bytes.fromhex(generation)] = files[place]
    return Visible(files, manifests, versions)


def blobs_of(manifest: Manifest, public: Path) -> Iterator[Blob]:
    """Yields the files that a manifest names, by way of its list of packs too.

    Args:
        manifest: Of a catalogue.
        public: Its folder; a list that is missing or damaged there names nothing.
    """
    yield manifest.bundle
    yield manifest.codebook
    yield manifest.snapshot.blob
    for changes in (*manifest.deltas, *([manifest.relist] if manifest.relist else [])):
        yield changes.blob
    if manifest.thumbnails is not None:
        yield manifest.thumbnails
        listed = read_packs(public / "blobs", manifest.thumbnails)
        yield from (each.blob for each in (listed.packs if listed else ()))


def read_packs(blobs: Path, blob: Blob) -> PackList | None:
    """The list of packs in a blob; None where that is missing or damaged."""
    try:
        data = (blobs / blob.sha256.hex()).read_bytes()
        return pack_list.decode(data) if Blob.of(data) == blob else None
    except (OSError, TrustError):
        return None
