"""What a device does with what was published: installs, applies, catches up, searches meanwhile."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from pocketlens.formats.delta import DeltaReader
from pocketlens.formats.manifest import Changes
from pocketlens.lens import Lens
from pocketlens.store import database, installs
from pocketlens.store.applying.applier import Applier
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.session import sync
from pocketlens.sync.transports import FolderTransport, Transport

Figures = dict[str, float]

IN_CHILD = """
import json, sys
sys.path.insert(0, sys.argv[1])
import sync_device
print(json.dumps(getattr(sync_device, sys.argv[2])(*sys.argv[3:])))
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """How a delta was applied to a store that is in use.

    Attributes:
        seconds: Until it is committed: hash, write and flush included; the median.
        folded_seconds: The same, and until the log beside the database is empty again.
        written_bytes: Handed to the system to write, log and database together.
    """

    seconds: float
    folded_seconds: float
    written_bytes: int


def synced(
    directory: Path, public: Path, root: bytes, transport: Transport | None = None
) -> SyncReport:
    """A sync from a copy of the public files, or by another way."""
    return sync(
        directory,
        transport or FolderTransport(public),
        catalogue="main",
        root=root,
        now=datetime.now(UTC),
    )


def applied(directory: Path, public: Path, changes: Changes, work: Path, runs: int) -> Applied:
    """Applies a delta again and again, each time to a fresh copy of the store.

    In a process of its own, as on a device: beside a large server, garbage collection counts too.
    """
    source = installs.current(directory) / database.FILE_NAME
    with database.changing(source):
        pass  # it may never have followed anything: WAL is switched on once
    blob = public / "blobs" / changes.blob.sha256.hex()
    found = in_child("applying", source, blob, work, changes.inflated_size, runs)
    return Applied(found["s"], found["folded_s"], int(found["written_bytes"]))


def applying(source: str, blob: str, work: str, inflated_size: str, runs: str) -> Figures:
    """Medians, of a store's file and the bytes of a delta."""
    data, target = Path(blob).read_bytes(), Path(work) / "applied.sqlite"
    seconds, folded, written = [], [], 0
    for _ in range(int(runs)):
        shutil.copy(source, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())  # a device's is on the disk long since, and not flushed here
        before, began = _written(), perf_counter()
        with database.changing(target) as connection:
            reader = DeltaReader([data], int(inflated_size))
            Applier(connection, target).apply(reader.header, reader.blocks())
            connection.execute("COMMIT")
            seconds.append(perf_counter() - began)
            connection.execute("BEGIN")  # which the context ends, and then empties the log
        folded.append(perf_counter() - began)
        written = _written() - before
    for path in Path(work).glob("applied.sqlite*"):
        path.unlink()
    return {"s": median(seconds), "folded_s": median(folded), "written_bytes": written}


def in_child(name: str, *arguments: object) -> Figures:
    """What a function of this module says in a process of its own; it is given text."""
    here = str(Path(__file__).resolve().parent)
    done = subprocess.run(
        [sys.executable, "-c", IN_CHILD, here, name, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    found: Figures = json.loads(done.stdout)
    return found


def installed(directory: str, public: str) -> Figures:
    """Seconds, and the most memory that it took, to make a store where there is none."""
    root = (Path(public) / "metadata" / "1.root.json").read_bytes()
    before = _peak_mb()
    began = perf_counter()
    synced(Path(directory), Path(public), root)
    return {"s": perf_counter() - began, "peak_mb": _peak_mb(), "peak_before_mb": before}


class Searching:
    """A process that searches a store again and again, beside what else happens to it."""

    def __init__(self, directory: Path, queries: np.ndarray, work: Path) -> None:
        self._taken = work / "taken.npy"
        np.save(work / "queries.npy", queries)
        here = str(Path(__file__).resolve().parent)
        paths = [directory, work / "queries.npy", self._taken]
        self._process = subprocess.Popen(
            [sys.executable, "-c", IN_CHILD, here, "searched", *map(str, paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it is warm

    def stop(self) -> np.ndarray:
        """float64 (n, 2): begin (`perf_counter`) and seconds of every search until now."""
        self._process.communicate("stop\n")
        return np.load(self._taken)


def searched(directory: str, queries: str, taken: str) -> Figures:
    """Searches until a line comes in; the store is followed all the while."""
    stopped = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stopped.set()), daemon=True).start()
    rows = np.load(queries)
    found: list[tuple[float, float]] = []
    with Lens.open(Path(directory)) as lens:
        for row in rows:
            lens.search_vector(row, 10)
        print("warm", flush=True)
        while not stopped.is_set():
            for row in rows:
                began = perf_counter()
                lens.search_vector(row, 10)
                found.append((began, perf_counter() - began))
            lens.refresh()
    np.save(taken, found)
    return {"searches": len(found)}


def _written() -> int:
    return _number("/proc/self/io", "wchar")


def _peak_mb() -> float:
    return _number("/proc/self/status", "VmHWM") / 1024


def _number(path: str, name: str) -> int:
    lines = Path(path).read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
