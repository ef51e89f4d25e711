"""`pocketlens-server serve` in a process of its own, with limits, and what it costs meanwhile.

with busy_server(folder, client_rate=1_000) as server:
    Load(server.port, seconds=2, rate=100).run()
    server.memory_bytes, server.open_files
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.making.tiles import TileShop

# All load comes from one host and one caller, and is to reach the limits of the whole server.
OPEN = {
    "host_calls": 1_000_000,
    "client_calls": 1_000_000,
    "client_rate": 1_000_000,
    "client_burst": 1_000_000,
}

_PROGRAM = "import sys; from pocketlens_server.cli import main; sys.exit(main())"
_START_SECONDS, _STOP_SECONDS = 60, 30
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class BusyServer:
    """A server that runs.

    Attributes:
        process: Of it.
        log: File of all that it says.
        temporary: Folder that it has for what is to go again.
        port: Of gRPC, on 127.0.0.1.
    """

    process: subprocess.Popen[bytes]
    log: Path
    temporary: Path
    port: int

    @property
    def memory_bytes(self) -> int:
        """Of the process, as it is resident."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def most_memory_bytes(self) -> int:
        """Of the process, the most that was ever resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10

    @property
    def open_files(self) -> int:
        """Descriptors, connections among them."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@contextmanager
def busy_server(folder: Path, **limits: float) -> Iterator[BusyServer]:
    """Serves a shop of tiles, made in `folder` if it is not there, to everybody on the loopback."""
    data = folder / "shop" / "server"
    if not data.exists():
        shop = TileShop(folder / "shop", dict.fromkeys(range(4), 1), now=datetime.now(UTC))
        shop.publish()
    options = {f"POCKETLENS_SERVER_LIMITS_{name.upper()}": str(n) for name, n in limits.items()}
    command = [sys.executable, "-c", _PROGRAM, "serve", "--insecure", "--port", "0"]
    log, temporary = folder / "log", folder / "temporary"
    temporary.mkdir(exist_ok=True)
    environment = os.environ | options | {"TMPDIR": str(temporary)}
    with log.open("wb") as file:
        process = subprocess.Popen([*command, "--data", str(data)], stderr=file, env=environment)
    try:
        until(lambda: b"serving " in log.read_bytes(), _START_SECONDS)
        said = log.read_text()
        line = next(line for line in said.splitlines() if line.startswith("serving "))
        yield BusyServer(process, log, temporary, int(line.rpartition(":")[2]))
        process.send_signal(signal.SIGTERM)
        assert process.wait(_STOP_SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def until(condition: Callable[[], bool], seconds: float) -> float:
    """The seconds until something is so, at most so many."""
    began = time.perf_counter()
    while not condition():
        assert time.perf_counter() - began < seconds
        time.sleep(_LOOK_SECONDS)
    return time.perf_counter() - began
