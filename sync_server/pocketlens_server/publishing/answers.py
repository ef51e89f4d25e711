"""What a device has -> the files that it needs, out of a catalogue's public folder.

    answer = newer(folder, asked)
    answer.files, answer.delta

Only what is visible is read: a publish beside it gives the answer of before or of after. Most
devices of a catalogue ask the same, so that a server remembers what it answered.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
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

_REMEMBERED_BYTES = 16 << 20
_ANSWER_BYTES = 1 << 10  # of an answer without files, with its question
# What changes twice within a tick of the file system's clock, 10 ms at most, looks as it did after
# the first change.
_SETTLED_SECONDS = 0.1


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


class Remembered:
    """Answers to devices, for the many who ask the same until something is published.

    An answer is remembered with what the file system tells of the folder that every change of it
    changes: the folder of metadata, and the file that makes a version visible. One thread uses it.

    Attributes:
        size_bytes: Of what is remembered.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Remembers nothing yet.

        Args:
            clock: Seconds, which do not go back.
        """
        self._clock = clock
        self._moments: dict[Path, Moment] = {}
        self._kept: OrderedDict[tuple[object, ...], tuple[Moment, Answer]] = OrderedDict()
        self.size_bytes = 0

    def find(self, folder: Path, asked: Asked) -> tuple[Answer | None, Moment | None]:
        """What was answered to the same, if it still holds; or when a new answer is read.

        The moment is None where what is read now may change without a trace.

        Raises:
            ServerError: The folder is damaged.
        """
        state, now = _state(folder), self._clock()
        moment = self._moments.get(folder)
        if moment is None or moment.state != state:
            moment = self._moments[folder] = Moment(state, now)
        key = _key(folder, asked)
        then, answer = self._kept.get(key, (None, None))
        if then is not moment:
            return None, moment if now - moment.since > _SETTLED_SECONDS else None
        self._kept.move_to_end(key)
        return answer, moment

    def keep(self, folder: Path, asked: Asked, answer: Answer, moment: Moment) -> None:
        """Remembers an answer that was read after `find` gave the moment."""
        key = _key(folder, asked)
        _, before = self._kept.pop(key, (moment, None))
        self.size_bytes += _size(answer) - (_size(before) if before else 0)
        self._kept[key] = moment, answer
        while self.size_bytes > _REMEMBERED_BYTES:
            _, (_, oldest) = self._kept.popitem(last=False)
            self.size_bytes -= _size(oldest)


@dataclass(frozen=True, slots=True)
class Moment:
    """A folder between two changes.

    Attributes:
        state: What the file system tells of it.
        since: When that was first seen.
    """

    state: tuple[int, ...]
    since: float


def _key(folder: Path, asked: Asked) -> tuple[object, ...]:
    roles = tuple(sorted(asked.metadata.items()))
    return folder, asked.generation, asked.version, roles, asked.without_delta


def _state(folder: Path) -> tuple[int, ...]:
    metadata = folder / "metadata"
    try:
        found = metadata.stat(), (metadata / "timestamp.json").stat()
    except OSError as exc:
        raise _damaged(folder, exc) from exc
    return tuple(each for s in found for each in (s.st_ino, s.st_mtime_ns, s.st_size))


def _size(answer: Answer) -> int:
    return _ANSWER_BYTES + sum(map(len, answer.files.values())) + len(answer.delta)


def newer(folder: Path, asked: Asked) -> Answer:
    """The files that a device needs.

    Raises:
        ServerError: The folder is damaged.
    """
    try:
        return _newer(folder, asked)
    except (OSError, ValueError, KeyError) as exc:
        raise _damaged(folder, exc) from exc


def _damaged(folder: Path, exc: Exception) -> ServerError:
    return ServerError(f"The public files in {folder} are damaged: {exc}.")


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
