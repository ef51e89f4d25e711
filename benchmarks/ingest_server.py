"""A real server in a process of its own, and what each of its threads and processes costs.

    with IngestServer(folder) as server:
        before = server.usage()
        ...
        spent = server.usage() - before
        spent.seconds["write"], spent.flushes

Inside the server nothing runs for this but a thread that waits for a line: then it says which
thread is which, and how much of a core each has had so far.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

from pocketlens.closing import Closing

PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); import ingest_server; ingest_server.serve()"
)
HERE = Path(__file__).resolve().parent

_TICKS = os.sysconf("SC_CLK_TCK")
# By the beginning of a thread's name: what it does. Those of gRPC have no name in Python.
_WORK = {
    "MainThread": "loop",
    "write-": "write",
    "embed-": "settle",
    "pocketlens-embed": "embed",
    "keep-": "files",
    "pocketlens-photos": "embed",
    "pocketlens-search": "search",
    "pocketlens-score": "search",
    "pocketlens-decode": "wait",
    "ask-": "ask",
    "asyncio_": "ask",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server has had since it started, or between two looks.

    Attributes:
        at: `perf_counter`, or seconds.
        seconds: Of cores, by what for: "loop" (messages, in Python), "grpc" (in C), "write"
            (operations, in SQLite), "files" (of pictures), "settle" (images that begin to hold),
            "decode" (processes), "wait" (for these, of photos), "embed", "search", "ask", "other".
        flushes: Of the machine's disks, whoever asked for them.
        flush_seconds: That they took.
    """

    at: float
    seconds: Mapping[str, float]
    flushes: int
    flush_seconds: float

    def __sub__(self, before: Usage) -> Usage:
        return Usage(
            self.at - before.at,
            {name: each - before.seconds.get(name, 0) for name, each in self.seconds.items()},
            self.flushes - before.flushes,
            self.flush_seconds - before.flush_seconds,
        )

    @property
    def cores(self) -> float:
        """That were busy for it, in the mean."""
        return sum(self.seconds.values()) / self.at


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes of a server.

    Attributes:
        server_mb: Of its process.
        decoders_mb: Of those that decode pictures for it, what they do not share: some 30 each, of
            which there are as many as were busy at once.
    """

    server_mb: float = 0
    decoders_mb: float = 0

    def or_more(self, other: Memory) -> Memory:
        """The larger of each."""
        return Memory(
            max(self.server_mb, other.server_mb), max(self.decoders_mb, other.decoders_mb)
        )


class IngestServer(Closing):
    """`pocketlens-server serve` on the loopback."""

    def __init__(self, folder: Path, settings: Mapping[str, object] | None = None) -> None:
        """Starts it; `settings` are those of `server.toml`, such as {"QUERY_BATCH": 1}."""
        command = [sys.executable, "-c", PROGRAM, str(HERE), "serve", "--insecure", "--port", "0"]
        given = {f"POCKETLENS_SERVER_{name}": str(each) for name, each in (settings or {}).items()}
        self._process = subprocess.Popen(
            [*command, "--data", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **given},
        )
        assert self._process.stderr is not None
        said = self._process.stderr.readline()
        if "serving" not in said:
            raise SystemExit(f"the server does not start: {said}{self._process.stderr.read()}")
        self.address = f"127.0.0.1:{int(said.rpartition(':')[2])}"
        threading.Thread(target=self._read_on, daemon=True).start()

    def usage(self) -> Usage:
        """What it has had so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        seconds = json.loads(self._process.stdout.readline())
        flushes, flush_seconds = _flushes()
        return Usage(perf_counter(), seconds, flushes, flush_seconds)

    def memory(self) -> Memory:
        """What is in memory now."""
        server = self._process.pid
        pages = int(Path(f"/proc/{server}/statm").read_text().split()[1])
        decoders = [_private_bytes(process) for process, _ in _children(server)]
        return Memory(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, sum(decoders) / 1e6)

    def close(self) -> None:
        """Ends the server."""
        self._process.terminate()
        self._process.wait(60)

    def _read_on(self) -> None:
        """Its log, which would hold it up when the pipe is full."""
        assert self._process.stderr is not None
        for _ in self._process.stderr:
            pass


def serve() -> None:
    """The program of the server's process: its command line, and a thread that answers."""
    from pocketlens_server.cli import main

    threading.Thread(target=_answer, name="watch", daemon=True).start()
    main()


def _answer() -> None:
    for _ in sys.stdin:
        print(json.dumps(_seconds()), flush=True)


def _seconds() -> dict[str, float]:
    """Of this process by the work of its threads; of its children, those that have ended too."""
    names = {each.native_id: each.name for each in threading.enumerate()}
    found: defaultdict[str, float] = defaultdict(float)
    for task in Path("/proc/self/task").iterdir():
        nanoseconds = int((task / "schedstat").read_text().split()[0])
        found[_work(names.get(int(task.name)))] += nanoseconds / 1e9
    found["embed"] += process_time() - sum(found.values())  # threads end with their pictures
    times = os.times()
    running = sum(_ticks(fields) for _, fields in _children(os.getpid())) / _TICKS
    found["decode"] = times.children_user + times.children_system + running
    return found


def _work(name: str | None) -> str:
    """What a thread is for; of gRPC's own Python knows no name."""
    if name is None:
        return "grpc"
    return next((work for begin, work in _WORK.items() if name.startswith(begin)), "other")


def _children(parent: int) -> Iterator[tuple[Path, list[str]]]:
    """Each process that another has started and that runs: its folder, and its state's fields."""
    for process in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            after_name = process.read_text().rpartition(")")[2].split()
            if int(after_name[1]) == parent:
                yield process.parent, after_name


def _ticks(fields: list[str]) -> int:
    return int(fields[11]) + int(fields[12])


def _private_bytes(process: Path) -> int:
    """What a process has in memory and no other has too."""
    with suppress(OSError):  # it has ended
        lines = (process / "smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))
    return 0


def _flushes() -> tuple[int, float]:
    """How many the machine's disks have made, and the seconds that took."""
    count = milliseconds = 0
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if len(fields) >= 20 and not fields[2].startswith(("loop", "ram")):
            count, milliseconds = count + int(fields[18]), milliseconds + int(fields[19])
    return count, milliseconds / 1e3
