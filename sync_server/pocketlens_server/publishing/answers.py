"""What a device has -> the files that it needs, out of a catalogue's public folder.

    answer = newer(folder, asked)
    answer.files, answer.delta

Only what is visible is read: a publish beside it gives the answer of before or of after.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from pocketlens.errors import ServerError
from pocketlens.formats import manifest as manifests
from pocketlens.sync.transports import INLINE_BYTES
from pocketlens_server.publishing.keys import MODELS, PUBLISHING, TARGETS
from pocketlens_server.publishing.signing import NEWEST

MAX_ROOTS = 64  # in one answer; a device that is further behind asks again
MAX_ROOTS_BYTES = 512_000  # of them together: as much as a device takes of one


@dataclass(frozen=True, slots=True)
class Asked:
    """What a device has.

    Attributes:
        generation: Id of the one that its store follows, 32 bytes; empty for the newest.
        version: Of the store; 0 where there is none.
        metadata: Version of each role's metadata that it trusts; 0 where it has none.
        without_delta: Whether no delta is to come with the answer.
    """

    generation: bytes
    version: int
    metadata: Mapping[str, int]
    without_delta: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What it needs.

    Attributes:
        files: By their names below the catalogue's folder.
        delta: Blob of the delta that it will want; empty where that is large, unwanted, or none.
    """

    files: Mapping[str, bytes]
    delta: bytes = b""


def newer(folder: Path, asked: Asked) -> Answer:
    """The files that a device needs.

    Raises:
        ServerError: The folder is damaged.
    """
    try:
        return _newer(folder, asked)
    except (OSError, ValueError, KeyError) as exc:
        raise ServerError(f"The public files in {folder} are damaged: {exc}.") from exc


def _newer(folder: Path, asked: Asked) -> Answer:
    have = asked.metadata
    files, are_all = _roots(folder, have.get("root", 0))
    if not are_all:  # they go alone, by which the device knows that there are more
        return Answer(files)
    data = (folder / "metadata/timestamp.json").read_bytes()
    timestamp = json.loads(data)["signed"]
    if files:
        have = {}  # a newer root may have other keys: what they signed is not told by its version
    if timestamp["version"] != have.get("timestamp"):
        files["metadata/timestamp.json"] = data
    version = timestamp["meta"]["snapshot.json"]["version"]
    snapshot = _metadata(folder, "snapshot", version, have, files)
    roles = {
        role: _metadata(folder, role, snapshot["meta"][f"{role}.json"]["version"], have, files)
        for role in (TARGETS, MODELS, PUBLISHING)
    }
    targets = roles[PUBLISHING]["targets"]
    wanted = f"manifest/{asked.generation.hex()}" if asked.generation else NEWEST
    if wanted not in targets:  # its generation has retired
        wanted = NEWEST
    target = targets.get(wanted)
    if target is None:
        return Answer(files)
    name = f"targets/manifest/{target['hashes']['sha256']}.{wanted.rpartition('/')[2]}"
    data = (folder / name).read_bytes()
    manifest = manifests.decode(data)
    is_signed_again = any(each.endswith(f".{PUBLISHING}.json") for each in files)
    if manifest.version == asked.version and not is_signed_again:
        return Answer(files)
    files[name] = data
    delta = manifest.delta_from(asked.version)
    if delta is None or delta.blob.size > INLINE_BYTES or asked.without_delta:
        return Answer(files)
    return Answer(files, (folder / "blobs" / delta.blob.sha256.hex()).read_bytes())


def _roots(folder: Path, known: int) -> tuple[dict[str, bytes], bool]:
    """Roots after the one that a device knows, the first at least, and whether these are all."""
    files: dict[str, bytes] = {}
    size = 0
    for number in count(known + 1):
        name = f"metadata/{number}.root.json"
        if not (folder / name).exists():
            break
        data = (folder / name).read_bytes()
        size += len(data)
        if files and (len(files) == MAX_ROOTS or size > MAX_ROOTS_BYTES):
            return files, False
        files[name] = data
    return files, True


def _metadata(
    folder: Path, role: str, version: int, have: Mapping[str, int], files: dict[str, bytes]
) -> Mapping[str, Any]:
    """The signed part of a role's metadata, which is added to `files` if the device lacks it."""
    name = f"metadata/{version}.{role}.json"
    data = (folder / name).read_bytes()
    if have.get(role) != version:
        files[name] = data
    found: Mapping[str, Any] = json.loads(data)["signed"]
    return found
