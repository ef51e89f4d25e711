"""What is noted about installs that a sync made, in small sealed files.

    DIR/installs/<name>/trial       it has not answered yet; which one it took the place of
    DIR/installs/<name>/verified    when it was read whole
    DIR/installs/<name>/starts/     see `pocketlens.store.starts`
    DIR/quarantine                  the version that is held back, and why

Stores that `index` made have none. A damaged mark counts as none: a trial ends early, a store is
read whole once more, a version is tried once more; nothing that is searched hangs on a mark.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from pocketlens.durable_files import write_file
from pocketlens.formats import manifest as manifests
from pocketlens.formats.manifest import Manifest
from pocketlens.store.checksums import checksum

VERIFIED_FOR = timedelta(days=30)  # rot is seldom, and reading 100,000 images takes seconds
QUARANTINE = "quarantine"

Mark = TypeVar("Mark", "Trial", "Verified", "Quarantine")


@dataclass(frozen=True, slots=True)
class Trial:
    """An install took the place of another, and has not answered yet.

    Attributes:
        former: Name of the last install that has answered.
        manifest: SHA-256 of the manifest that it was made of, hex.
        generation: Of that, hex.
        version: Of that.
    """

    former: str
    manifest: str
    generation: str
    version: int

    @classmethod
    def of(cls, manifest: Manifest, former: str) -> Trial:
        """Of an install that a manifest led to."""
        return cls(former, digest(manifest), manifest.generation.hex(), manifest.version)


@dataclass(frozen=True, slots=True)
class Verified:
    """An install was read whole.

    Attributes:
        at: When, ISO 8601.
    """

    at: str

    def is_due_again(self, now: datetime) -> bool:
        """Whether it is to be read again; a time that lies ahead says nothing."""
        age = now - datetime.fromisoformat(self.at)
        return not timedelta(0) <= age < VERIFIED_FOR


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A version was signed, and does not work on this device.

    Attributes:
        manifest: SHA-256 of its manifest, hex.
        generation: Of it, hex.
        version: Of it.
        reason: For people.
    """

    manifest: str
    generation: str
    version: int
    reason: str

    @classmethod
    def of(cls, manifest: Manifest, reason: str) -> Quarantine:
        """Holds a manifest back."""
        return cls(digest(manifest), manifest.generation.hex(), manifest.version, reason)

    def holds(self, manifest: Manifest) -> bool:
        """Whether a manifest is that one, or leads no further: signed again, it has other bytes."""
        return digest(manifest) == self.manifest or (
            manifest.generation.hex() == self.generation and manifest.version <= self.version
        )


def digest(manifest: Manifest) -> str:
    """SHA-256 of a manifest, hex."""
    return hashlib.sha256(manifests.encode(manifest)).hexdigest()


def put(folder: Path, mark: Trial | Verified | Quarantine) -> None:
    """Takes the place of the mark of its kind.

    Args:
        folder: Of the install; of the store for `Quarantine`.
        mark: What to note.

    Raises:
        StoreFull, StoreReadOnly: It cannot be written.
    """
    data = json.dumps(asdict(mark), indent=1).encode()
    write_file(_path(folder, type(mark)), b"%08x\n%s\n" % (checksum(data), data))


def get(folder: Path, kind: type[Mark]) -> Mark | None:
    """The mark of a kind; None where there is none, or a damaged one."""
    try:
        seal, _, data = _path(folder, kind).read_bytes().partition(b"\n")
        data = data.removesuffix(b"\n")
        if int(seal, 16) != checksum(data):
            return None
        return kind(**json.loads(data.decode()))
    except (OSError, ValueError, TypeError):
        return None


def remove(folder: Path, kind: type[Trial | Verified | Quarantine]) -> None:
    """Takes a mark away, if it is there and can be."""
    with suppress(OSError):
        _path(folder, kind).unlink(missing_ok=True)


def _path(folder: Path, kind: type) -> Path:
    return folder / kind.__name__.lower()
