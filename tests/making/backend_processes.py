"""Processes that take what backends send, whose disks fail on demand, forked from one that has
everything loaded.

with BackendProcesses.started(fault_shim.built(scratch)) as processes:
    ending = processes.carry_out(Session(server, steps, now=now, fault=Fault(KILL, at=17)))
    pid = processes.serve(Serving(server, port, said))
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from tests.making import fault_shim
from tests.making.backend_program import Ending, Reaping, Serving, Session
from tests.making.planting import ROOT, Defect


class BackendProcesses:
    """Carries out orders, each in a child of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Takes a process that runs `backend_program`."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._orders = Connection(os.dup(process.stdin.fileno()), readable=False)
        self._endings = Connection(os.dup(process.stdout.fileno()), writable=False)
        process.stdin.close()  # so that the end of the orders is one

    @classmethod
    @contextmanager
    def started(cls, library: Path, *, source: Path | None = None) -> Iterator[BackendProcesses]:
        """Starts it with the shim; `source` is a folder to import another server from."""
        environment = fault_shim.preloaded(library)
        folders = [str(ROOT), environment.get("PYTHONPATH", "")]
        environment["OPENBLAS_NUM_THREADS"] = "1"  # a child would start its threads anew
        environment["PYTHONPATH"] = ":".join([str(source), *folders] if source else folders)
        program = "from tests.making import backend_program as p; p.main()"
        with (
            subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                cwd=ROOT,
            ) as process,
            closing(cls(process)) as made,
        ):
            yield made

    def carry_out(self, order: Session) -> Ending:
        """Waits for the end of the child."""
        self._orders.send(order)
        ending: Ending = self._endings.recv()
        return ending

    def serve(self, order: Serving) -> int:
        """The process id of a server that begins."""
        self._orders.send(order)
        return int(self._endings.recv())

    def reap(self, pid: int) -> int:
        """The exit code of a server, once it has ended."""
        self._orders.send(Reaping(pid))
        return int(self._endings.recv())

    def close(self) -> None:
        """Ends the process."""
        self._orders.close()
        self._endings.close()


def planted_server(folder: Path, *defects: Defect) -> Path:
    """A folder to import a copy of the server from that has some defects."""
    ignored = shutil.ignore_patterns("__pycache__")
    source = ROOT / "sync_server" / "pocketlens_server"
    shutil.copytree(source, folder / "pocketlens_server", ignore=ignored)
    for each in defects:
        each.plant(folder / "pocketlens_server")
    return folder
