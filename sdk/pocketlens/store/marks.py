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
TRIED_AGAIN_AFTER = timedelta(days=1)
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
        as_of: When that was published, ISO 8601.
    """

    former: str
    manifest: str
    generation: str
    version: int
    as_of: str

    @classmethod
    def of(cls, manifest: Manifest, former: str) -> Trial:
        """Of an install that a manifest led to."""
        as_of = manifest.as_of.isoformat()
        return cls(former, digest(manifest), manifest.generation.hex(), manifest.version, as_of)

    def failed(self, reason: str) -> Quarantine:
        """What holds its version back, and leads to the generation before."""
        generation, _, _ = self.former.rpartition("-")
        return Quarantine(
            self.manifest, self.generation, self.version, self.as_of, generation, reason
        )


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
        as_of: When it was published, ISO 8601.
        former: Generation that the device had, hex; "" where it had none.
        reason: For people.
    """

    manifest: str
    generation: str
    version: int
    as_of: str
    former: str
    reason: str

    @classmethod
    def of(cls, manifest: Manifest, former: str, reason: str) -> Quarantine:
        """Holds a manifest back."""
        as_of = manifest.as_of.isoformat()
        generation = manifest.generation.hex()
        return cls(digest(manifest), generation, manifest.version, as_of, former, reason)

    def is_of(self, manifest: Manifest) -> bool:
        """Whether a manifest is that one to the byte."""
        return digest(manifest) == self.manifest

    def holds(self, manifest: Manifest) -> bool:
        """Whether a manifest is that one, or leads no further: signed again, it has other bytes."""
        return self.is_of(manifest) or (
            manifest.generation.hex() == self.generation and manifest.version <= self.version
        )

    def defers(self, manifest: Manifest) -> bool:
        """Whether a manifest is held, or follows so soon that its model will fail as well.

        To try costs a device minutes; shops publish all day.
        """
        soon = datetime.fromisoformat(self.as_of) + TRIED_AGAIN_AFTER
        return self.holds(manifest) or (
            manifest.generation.hex() == self.generation and manifest.as_of < soon
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
