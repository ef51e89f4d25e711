"""Signed metadata altered on its way: bytes flipped, old files among new ones, bodies without end.

repository, trusted = with_everything_new(folder)
flips(repository, trusted, step=16).wrong
Shelves(repository, versions=3).accepted(1)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tuf.api.metadata import Metadata

from pocketlens.errors import SyncError
from pocketlens.formats.manifest import encode
from pocketlens.sync.trust import verified
from pocketlens_server.publishing import keys, rekeying
from tests.making.repositories import BEGAN, Repository, manifest

Trusted = Mapping[str, bytes]

# In the order in which a device asks.
MIXED = ("timestamp.json", "snapshot.json", "publishing.json", "newest")


def follow(repository: Repository, trusted: Trusted) -> tuple[int, Trusted]:
    """The version that a device finds, and what it trusts then."""
    found = verified(
        trusted, root=repository.root, fetch=repository.fetch, generation=None, now=BEGAN
    )
    return found.manifest.version, found.metadata


def with_everything_new(folder: Path) -> tuple[Repository, Trusted]:
    """A repository at version 2, all of whose files are new to a device at version 1."""
    repository = Repository.make(folder)
    repository.publish(manifest(1))
    _, trusted = follow(repository, {})
    offline = [repository.catalogue.offline_keys]
    rekeying.rotate(repository.catalogue, keys.ROLES, offline=offline, now=BEGAN)
    repository.publish(manifest(2))
    return repository, trusted


# --- flips ----------------------------------------------------------------------------------------


@dataclass
class Flips:
    """What became of files with one bit changed.

    Attributes:
        refused: How many were.
        equal: How many said the same: what is signed is read as before, the letters of a time or of
            a signature being capital or small, or a signature was one that was not needed.
        wrong: Where a change was believed, or another error came: file, byte, what happened.
        files: Names of the files that were changed.
    """

    refused: int = 0
    equal: int = 0
    wrong: list[tuple[str, int, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def flips(repository: Repository, trusted: Trusted, *, step: int) -> Flips:
    """Changes a bit of every `step`th byte of every file that a device fetches."""
    repository.asked.clear()
    version, expected = follow(repository, trusted)
    files = repository.files()
    found = Flips(files=[name for name in dict.fromkeys(repository.asked) if name in files])
    for name in found.files:
        for at in range(0, len(files[name]), step):
            mutant = bytearray(files[name])
            mutant[at] ^= 1 << at // step % 8
            repository.lies = {name: lambda mutant=bytes(mutant): iter([mutant])}
            try:
                reached, believed = follow(repository, trusted)
            except SyncError:
                found.refused += 1
            except Exception as exc:  # which is what is looked for
                found.wrong.append((name, at, repr(exc)))
            else:
                if reached == version and _signed(believed) == _signed(expected):
                    found.equal += 1
                else:
                    found.wrong.append((name, at, f"version {reached} is believed"))
    repository.lies = {}
    return found


def _signed(trusted: Trusted) -> dict[str, object]:
    """What it says: as it is read, and as it was signed."""
    return {name: Metadata.from_bytes(data).signed.to_dict() for name, data in trusted.items()}


# --- mixes ----------------------------------------------------------------------------------------


class Shelves:
    """Versions of a repository, each with the files that a device fetched of it."""

    def __init__(self, repository: Repository, versions: int) -> None:
        self.repository = repository
        self.files: list[dict[str, bytes]] = []
        self.trusted: list[Trusted] = []
        for version in range(1, versions + 1):
            repository.publish(manifest(version))
            repository.asked.clear()
            self.trusted.append(follow(repository, {})[1])
            every = repository.files()
            asked = [name for name in repository.asked if name in every]
            self.files.append({_kind(name): every[name] for name in asked})

    def accepted(self, at: int) -> dict[tuple[int, ...], int]:
        """What a device at shelf `at` believes of every mix of files, by their shelves."""
        accepted = {}
        for choice in itertools.product(range(len(self.files)), repeat=len(MIXED)):
            mixed = {
                kind: self.files[shelf][kind] for kind, shelf in zip(MIXED, choice, strict=True)
            }

            def fetch(name: str, mixed: dict[str, bytes] = mixed) -> Iterator[bytes] | None:
                offered = mixed.get(_kind(name))
                return self.repository.fetch(name) if offered is None else iter([offered])

            with suppress(SyncError):
                found = verified(
                    self.trusted[at],
                    root=self.repository.root,
                    fetch=fetch,
                    generation=None,
                    now=BEGAN,
                )
                accepted[choice] = found.manifest.version
        return accepted

    def consistent(self, at: int) -> dict[tuple[int, ...], int]:
        """What it should: all of one newer shelf, or nothing new.

        Of the version that is trusted, snapshot and publishing are at hand and not asked for.
        """
        shelves = range(len(self.files))
        at_hand = itertools.product(shelves, shelves)
        same = {(at, snapshot, publishing, at): at + 1 for snapshot, publishing in at_hand}
        return same | {(shelf,) * len(MIXED): shelf + 1 for shelf in shelves if shelf > at}


def _kind(name: str) -> str:
    """What a file is, whatever its version or hash."""
    last = name.rpartition("/")[2]
    return last if last == "timestamp.json" else last.split(".", 1)[-1]


# --- bodies without end ---------------------------------------------------------------------------

# What a device reads of a file at most (docs/sync.md); a manifest has a signed length.
MOST_BYTES = {
    "root": 512_000,
    "timestamp": 16_384,
    "snapshot": 65_536,
    "targets": 1_048_576,
    "models": 1_048_576,
    "publishing": 1_048_576,
    "newest": len(encode(manifest(2))),
}
FRAME = 4_096


def read_of_endless(repository: Repository, trusted: Trusted, kind: str, frame: bytes) -> int:
    """Bytes that a device takes of a file without end; -1 if it believes it.

    Args:
        repository: As `with_everything_new` made it.
        trusted: By the device.
        kind: Of the file: a role, or "newest" for the manifest.
        frame: What comes again and again.
    """
    repository.asked.clear()
    follow(repository, trusted)
    files = repository.files()
    (name,) = {each for each in repository.asked if each in files and _kind(each).startswith(kind)}
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += len(frame)
            yield frame

    repository.lies = {name: endless}
    try:
        follow(repository, trusted)
    except SyncError:
        return taken
    finally:
        repository.lies = {}
    return -1
