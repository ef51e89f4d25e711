"""Processes that take what backends send, whose disks fail on demand, forked from one that has
everything loaded.

with BackendProcesses.started(fault_shim.built(scratch)) as processes:
    ending = processes.carry_out(Session(server, steps, now=now, fault=Fault(KILL, at=17)))
    pid = processes.serve(Serving(server, port, said))
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from pathlib import Path

from tests.making.backend_program import Ending, Reaping, Serving, Session
from tests.making.forking import Forking
from tests.making.planting import ROOT, Defect


class BackendProcesses(Forking):
    """Carries out orders, each in a child of its own."""

    program = "backend_program"

    def carry_out(self, order: Session) -> Ending:
        """Waits for the end of the child."""
        ending: Ending = self.ask(order)
        return ending

    def serve(self, order: Serving) -> int:
        """The process id of a server that begins."""
        return int(self.ask(order))

    def reap(self, pid: int) -> int:
        """The exit code of a server, once it has ended."""
        return int(self.ask(Reaping(pid)))


def planted_server(folder: Path, *defects: Defect) -> Path:
    """A folder to import a copy of the server from that has some defects."""
    ignored = shutil.ignore_patterns("__pycache__")
    source = ROOT / "sync_server" / "pocketlens_server"
    shutil.copytree(source, folder / "pocketlens_server", ignore=ignored)
    for each in defects:
        each.plant(folder / "pocketlens_server")
    return folder
