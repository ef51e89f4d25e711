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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE

from tests.making.allocated import TELLING, allocated_bytes
from tests.making.certificates import Certificates
from tests.making.decoder_processes import workers
from tests.making.tiles import TileShop

# All load comes from one host and one caller, and is to reach the limits of the whole server.
OPEN = {
    "host_calls": 1_000_000,
    "client_calls": 1_000_000,
    "client_rate": 1_000_000,
    "client_burst": 1_000_000,
}

_PROGRAM = f"import sys; {TELLING}; from pocketlens_server.cli import main; sys.exit(main())"
_START_SECONDS, _STOP_SECONDS = 60, 30
_LOOK_SECONDS = 0.02
_MOMENTS, _MOMENT_SECONDS = 5, 0.1
_FORGET_MOST_MEMORY = "5"  # proc(5), clear_refs
_LISTENS, _NOBODYS = "0A", "0"  # proc(5), /proc/net/tcp: a state; the inode of who has left


@dataclass(frozen=True)
class BusyServer:
    """A server that runs.

    Attributes:
        process: Of it.
        log: File of all that it says.
        temporary: Folder that it has for what is to go again.
        data: Its folder.
        port: Of gRPC, on 127.0.0.1.
    """

    process: subprocess.Popen[bytes]
    log: Path
    temporary: Path
    data: Path
    port: int

    @property
    def memory_bytes(self) -> int:
        """Of the process, as it is resident."""
        return _memory_bytes(self.process.pid)

    @property
    def allocated_bytes(self) -> int:
        """Of the process, what it has allocated and not freed; the least of some moments."""
        found = []
        for _ in range(_MOMENTS):
            found.append(allocated_bytes(self.process))
            time.sleep(_MOMENT_SECONDS)
        return min(found)

    @property
    def most_memory_bytes(self) -> int:
        """Of the process, the most that was resident since `forget_most_memory`, or ever."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10

    def forget_most_memory(self) -> None:
        """Lets the most memory be what is resident now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text(_FORGET_MOST_MEMORY)

    @property
    def decoder_memory_bytes(self) -> int:
        """Of that of the processes that decode for it which has most; 0 where there is none."""
        return max(map(_memory_bytes, workers(self.process.pid)), default=0)

    @property
    def open_files(self) -> int:
        """Descriptors, connections among them, but for those that come with what is done at once.

        Which are a line to each process that decodes, and those of databases whose log is open:
        while one connection is open SQLite keeps the descriptors of those that were closed for the
        next (any that is closed lets go of every POSIX lock of the process). A connection that is
        not closed has the log open as well.
        """
        names = []
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                names.append(str(descriptor.readlink()))
        lines = len(workers(self.process.pid))
        return sum(f"{name}-wal" not in names for name in names) - lines

    @property
    def connections(self) -> int:
        """To its port, that it has not closed."""
        local, found = f":{self.port:04X}", 0
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                is_its = fields[1].endswith(local)
                found += is_its and fields[3] != _LISTENS and fields[9] != _NOBODYS
        return found

    def kill(self) -> None:
        """Ends it in the middle of whatever it does."""
        self.process.kill()
        self.process.wait()


@contextmanager
def busy_server(
    folder: Path,
    *,
    port: int = 0,
    versions: int = 1,
    certificates: Certificates | None = None,
    **limits: float,
) -> Iterator[BusyServer]:
    """Serves a shop of tiles, made in `folder` if it is not there, to everybody on the loopback.

    Args:
        folder: For the shop, the log and what is temporary.
        port: Of gRPC; 0 for a free one.
        versions: That the shop has published when it is made.
        certificates: For TLS.
        limits: Of `[limits]`, by name.
    """
    data = folder / "shop" / "server"
    if not data.exists():
        shop = TileShop(folder / "shop", dict.fromkeys(range(4), 1), now=datetime.now(UTC))
        for stock in range(versions):
            shop.stock[0] = stock + 1
            shop.publish()
    options = {f"POCKETLENS_SERVER_LIMITS_{name.upper()}": str(n) for name, n in limits.items()}
    command = [sys.executable, "-c", _PROGRAM, "serve", "--insecure", "--port", str(port)]
    if certificates is not None:
        command += ["--tls-cert", str(certificates.certificate), "--tls-key", str(certificates.key)]
    log, temporary = folder / "log", folder / "temporary"
    temporary.mkdir(exist_ok=True)
    environment = os.environ | options | {"TMPDIR": str(temporary)}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--data", str(data)], stdin=PIPE, stdout=PIPE, stderr=file, env=environment
        )
    try:
        until(lambda: b"serving " in log.read_bytes(), _START_SECONDS)
        said = log.read_text()
        line = next(line for line in said.splitlines() if line.startswith("serving "))
        yield BusyServer(process, log, temporary, data, int(line.rpartition(":")[2]))
        if process.poll() != -signal.SIGKILL:  # as `kill` leaves it
            process.send_signal(signal.SIGTERM)
            assert process.wait(_STOP_SECONDS) == 0
    finally:
        process.kill()
        process.communicate()


def until(condition: Callable[[], bool], seconds: float) -> float:
    """The seconds until something is so, at most so many."""
    found = waited(condition, seconds)
    assert found is not None
    return found


def waited(condition: Callable[[], bool], seconds: float) -> float | None:
    """The seconds until something is so; None if it is not within so many."""
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began >= seconds:
            return None
        time.sleep(_LOOK_SECONDS)
    return time.perf_counter() - began


def _memory_bytes(process: int) -> int:
    """What is resident of a process; 0 once it has ended."""
    with suppress(OSError):
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0
