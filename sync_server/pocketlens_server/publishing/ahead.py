"""Devices that have what their server has not: told to the operator, and not obeyed.

    sightings = Sightings(clock)
    sightings.notice(folder, asked, answer)     # after each poll
    seen(folder)                                # Seen(polls=17, versions={12: 16, 10: 1}, ...)

A server that was restored from a backup meets devices that followed the one that is lost. What they
say is the only trace of how far that had come. A device may lie: versions are counted by how many
polls say them, nothing follows from them, and a file of bounded size holds them, which is seldom
written.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pocketlens.durable_files import write_file
from pocketlens.errors import PocketLensError
from pocketlens.formats import manifest as manifests
from pocketlens_server.admission import Buckets
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.publishing.answers import Answer, Asked

logger = logging.getLogger(__name__)

FILE_NAME = "ahead.json"
_VERSIONS = 16  # that are told apart; those that the fewest polls say are forgotten
_NAMED = 3  # in a text
# Polls wait while it is written, and a device can say a higher version each time: so many times at
# once, as when a fleet comes back, and then once a second.
_WRITES, _WRITES_A_SECOND = _VERSIONS, 1.0
_COUNTS_SECONDS = 10.0  # from one writing to the next where only counts grow
_SIGNED = re.compile(r"metadata/(\d+)\.([a-z]+)\.json")


@dataclass(frozen=True, slots=True)
class Seen:
    """What devices said that were ahead.

    Attributes:
        first, last: When.
        polls: How many said so.
        versions: Of the catalogue, above the server's: how many polls had each.
        metadata: Of each role the highest version above the server's.
    """

    first: datetime
    last: datetime
    polls: int
    versions: Mapping[int, int]
    metadata: Mapping[str, int]

    @property
    def text(self) -> str:
        """For people: the highest versions, and that of the most devices."""
        named = {*sorted(self.versions)[-_NAMED:]}
        if self.versions:
            named.add(max(self.versions, key=lambda each: (self.versions[each], each)))
        said = [
            f"version {version} ({self.versions[version]:,} polls)"
            for version in sorted(named, reverse=True)
        ]
        if self.metadata:
            roles = (f"{role} {version}" for role, version in sorted(self.metadata.items()))
            said.append(f"signed metadata of {', '.join(roles)}")
        return f"{'; '.join(said)}; last on {self.last:%Y-%m-%d %H:%M} UTC"


def seen(folder: CatalogueFolder) -> Seen | None:
    """What devices said since the last `forget`; None where none was ahead."""
    try:
        found = json.loads((folder.folder / FILE_NAME).read_text("utf-8"))
        return Seen(
            datetime.fromisoformat(found["first"]),
            datetime.fromisoformat(found["last"]),
            int(found["polls"]),
            {int(version): int(polls) for version, polls in found["versions"].items()},
            {str(role): int(version) for role, version in found["metadata"].items()},
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        logger.warning("ahead.unreadable catalogue=%s error=%s", folder.name, exc)
        return None


def forget(folder: CatalogueFolder) -> None:
    """Forgets what they said, once all of them find something newer."""
    (folder.folder / FILE_NAME).unlink(missing_ok=True)


def beyond(public: Path, asked: Asked, answer: Answer) -> dict[str, int]:
    """What a device has above what it was answered: versions by role, and the "version".

    Args:
        public: Of the catalogue.
        asked: By the device.
        answer: To that; what a device has as it is here is not in it.
    """
    ours = {}
    if data := answer.files.get("metadata/timestamp.json"):
        ours["timestamp"] = int(json.loads(data)["signed"]["version"])
    for name in answer.files:
        if signed := _SIGNED.fullmatch(name):
            ours[signed[2]] = max(ours.get(signed[2], 0), int(signed[1]))
    found = {role: have for role, have in asked.metadata.items() if have > ours.get(role, have)}
    root = asked.metadata.get("root", 0)
    if answer.files and root and not (public / "metadata" / f"{root}.root.json").exists():
        found["root"] = root
    for name, content in answer.files.items():
        if name.startswith("targets/") and asked.version > manifests.decode(content).version:
            found["version"] = asked.version
    return found


@dataclass(slots=True)
class Sightings:
    """Notes of one process; any thread may call.

    Attributes:
        clock: Of the server.
        steady: Seconds, which do not go back.
    """

    clock: Callable[[], datetime]
    steady: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _writes: Buckets = field(default_factory=lambda: Buckets(rate=_WRITES_A_SECOND, burst=_WRITES))
    _written: dict[str, float] = field(default_factory=dict)
    _unwritten: dict[str, Seen] = field(default_factory=dict)

    def notice(self, folder: CatalogueFolder, asked: Asked, answer: Answer) -> bool:
        """Looks at a poll and its answer; whether the device is ahead.

        What cannot be written is logged, and written later.
        """
        found = beyond(folder.public, asked, answer)
        if not found:
            return False
        now, version = self.clock(), found.pop("version", 0)
        with self._lock:
            seconds = self.steady()
            known = seen(folder)  # another process may have written, or published above it
            before = self._unwritten.pop(folder.name, known) if known else None
            after = self._unwritten[folder.name] = _noted(before, version, found, now)
            written = self._written.get(folder.name, -math.inf)
            is_due = _is_more(after, known) or seconds - written >= _COUNTS_SECONDS
            if is_due and self._writes.take(folder.name, seconds) == 0:
                self._written[folder.name] = seconds
                self._write(folder, after)
        return True

    def _write(self, folder: CatalogueFolder, seen: Seen) -> None:
        logger.warning(
            "sync.device.ahead catalogue=%s polls=%d has=%r", folder.name, seen.polls, seen.text
        )
        value = {
            "first": seen.first.isoformat(),
            "last": seen.last.isoformat(),
            "polls": seen.polls,
            "versions": {str(version): polls for version, polls in seen.versions.items()},
            "metadata": dict(seen.metadata),
        }
        try:
            write_file(folder.folder / FILE_NAME, json.dumps(value).encode())
        except (OSError, PocketLensError) as exc:
            logger.warning("ahead.unwritten catalogue=%s error=%s", folder.name, exc)
        else:
            del self._unwritten[folder.name]


def _is_more(seen: Seen, known: Seen | None) -> bool:
    """Whether anything is higher than what is written."""
    if known is None:
        return True
    highest = max(seen.versions, default=0) > max(known.versions, default=0)
    return highest or any(
        each > known.metadata.get(role, 0) for role, each in seen.metadata.items()
    )


def _noted(before: Seen | None, version: int, metadata: Mapping[str, int], now: datetime) -> Seen:
    """With one more poll."""
    versions = dict(before.versions) if before else {}
    highest = dict(before.metadata) if before else {}
    if version:
        versions[version] = versions.get(version, 0) + 1
    if len(versions) > _VERSIONS:
        del versions[min(versions, key=lambda each: (each == version, versions[each], each))]
    for role, each in metadata.items():
        highest[role] = max(each, highest.get(role, 0))
    first, polls = (before.first, before.polls) if before else (now, 0)
    return Seen(first, now, polls + 1, versions, highest)
